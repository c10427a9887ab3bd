"""Patches made up of a few lines, for what reads them."""

from __future__ import annotations

from cooperbench.eval.integrity import scan


def created(path: str, text: str = "x\n", mode: str = "100644") -> bytes:
    lines = text.encode().splitlines(keepends=True)
    header = f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n"
    end = "" if text.endswith("\n") else "\n\\ No newline at end of file\n"
    return (
        f"{header}@@ -0,0 +1,{len(lines)} @@\n".encode()
        + b"".join(b"+" + line for line in lines)
        + end.encode()
    )


def edited(path: str, *lines: str, at: str = "") -> bytes:
    """A hunk of whole lines, each with its marker."""
    before, after = (sum(line[0] != sign for line in lines) for sign in "+-")
    header = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1,{before} +1,{after} @@ {at}\n"
    return (header + "".join(f"{line}\n" for line in lines)).encode()


def kinds(patch: bytes) -> set[str]:
    return {finding.kind for finding in scan(patch, agent="agent1")}
