"""What the harness itself costs: synthetic pairs through a backend whose sandboxes do nothing.

    python bench/scale.py [--pairs 10000] [--concurrency 20]

Everything is real but the sandboxes: selection, run directory, agents (noop), patches, plans, verdicts, summaries.
Prints pairs per second, time at a tenth of the pairs and at all of them, and the peak memory. Targets: 500 pairs/s,
250 MB, time linear.
"""

from __future__ import annotations

import argparse
import io
import itertools
import resource
import shutil
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cooperbench import register_backend, run
from cooperbench.eval.backends.base import Completed, Sandbox, SandboxSpec

FEATURES = 21
PAIRS_A_TASK = FEATURES * (FEATURES - 1) // 2
LOG = b"===== test session starts =====\ncollected 1 item\n\na.py .\n\n===== 1 passed in 0.01s =====\n"

PATCH = """diff --git a/pkg/module{n}.py b/pkg/module{n}.py
--- a/pkg/module{n}.py
+++ b/pkg/module{n}.py
@@ -1,3 +1,4 @@
 one
 two
+feature {n}
 three
"""


def archive(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FACTS = archive(
    {
        "base": b"0" * 40 + b"\n",
        "apply.1": b"applied\n",
        "apply.2": b"applied\n",
        "merge": b"clean\n",
        "merge.strategy": b"git\n",
        "feature.patch": PATCH.format(n=1).encode(),
        "tests.1.rc": b"0\n",
        "tests.1.log": LOG,
        "tests.1.time": b"1\n",
        "tests.2.rc": b"0\n",
        "tests.2.log": LOG,
        "tests.2.time": b"1\n",
        "done": b"yes\n",
    }
)
TAKEN = archive({"patch": PATCH.format(n=1).encode(), "nested": b""})


class NullSandbox:
    """Every command succeeds at once; what the harness wants to read is canned."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Say what `repository.sh prepare` says, whatever was asked."""
        del argv, timeout, env, cwd, stdin
        return Completed(0, b"0" * 40 + b"\n.git/objects\n")

    def exec(self, *args: str) -> Completed:
        """As `run`."""
        return self.run(args)

    def put_archive(self, directory: str, archive: bytes) -> None:
        """Nothing."""

    def get_archive(self, directory: str, limit: int) -> bytes:
        """An agent's patch, or a judge's facts."""
        del limit
        return TAKEN if directory.startswith("/tmp/.cooperbench") else FACTS

    def terminate(self) -> None:
        """Nothing."""


class NullBackend:
    """Makes them."""

    def create(self, spec: SandboxSpec) -> Sandbox:
        """One more."""
        del spec
        return NullSandbox()

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Sandbox:
        """One more."""
        del image, timeout, workdir
        return NullSandbox()


def synthetic(root: Path, pairs: int) -> int:
    """A dataset of at least so many pairs, in tasks of `FEATURES` features; gives their number."""
    tasks = -(-pairs // PAIRS_A_TASK)
    for task, feature in itertools.product(range(tasks), range(1, FEATURES + 1)):
        place = root / "synthetic_task" / f"task{task}" / f"feature{feature}"
        place.mkdir(parents=True)
        (place / "feature.md").write_text(f"# Feature {feature}\n\nWrite it.\n")
        (place / "feature.patch").write_text(PATCH.format(n=feature))
        (place / "tests.patch").write_text(PATCH.format(n=feature).replace("pkg/module", "tests/test_module"))
    return tasks * PAIRS_A_TASK


def measured(pairs: int, concurrency: int) -> tuple[int, float]:
    """One whole run: pairs, seconds."""
    root = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        count = synthetic(root / "dataset", pairs)
        begun = time.perf_counter()
        totals = run(
            "scale",
            agent="noop",
            backend="null",
            concurrency=concurrency,
            eval_concurrency=concurrency,
            dataset_dir=root / "dataset",
            logs_dir=root / "logs",
        )
        seconds = time.perf_counter() - begun
        if totals["eval"]["passed"] != count:
            raise SystemExit(f"{totals['eval']} of {count} pairs: the benchmark itself is broken")
        return count, seconds
    finally:
        shutil.rmtree(root, ignore_errors=True)


def peak() -> int:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=20)
    args = parser.parse_args()
    register_backend("null", NullBackend)
    print(f"{'pairs':>8} {'seconds':>9} {'pairs/s':>9} {'peak MB':>8}")
    for pairs in (args.pairs // 10, args.pairs):
        count, seconds = measured(pairs, args.concurrency)
        print(f"{count:>8} {seconds:>9.2f} {count / seconds:>9.0f} {peak():>8}", flush=True)


if __name__ == "__main__":
    main()
