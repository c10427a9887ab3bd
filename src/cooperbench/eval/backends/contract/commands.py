"""The clauses on one command: its arguments, its streams, its exit code, its time limit."""

from __future__ import annotations

from cooperbench.eval.backends import shell
from cooperbench.eval.backends.contract.frame import (
    CheckFailed,
    Subject,
    clause,
    expect,
    out_of_time,
    running,
    says,
    sh,
    shown,
)

MOST_KEPT = 32 * 1024 * 1024
"""Characters of one stream a backend may hand over: what a command prints must not fill the harness's memory."""


@clause("exit-code")
def _exit_code(subject: Subject) -> None:
    """The exit code of a command is returned, 0 and others."""
    sandbox = subject.sandbox()
    for code in (0, 1, 7, 125, 255):
        expect(f"exit code of `exit {code}`", sh(sandbox, f"exit {code}").returncode, code)


@clause("failure-is-a-value")
def _failure_is_a_value(subject: Subject) -> None:
    """A command that fails is a value with its output, not an exception."""
    done = sh(subject.sandbox(), "echo out; echo err >&2; exit 3")
    seen = (done.returncode, done.stdout_read(), done.stderr_read())
    expect("a failing command", seen, (3, "out\n", "err\n"))


@clause("signal")
def _signal(subject: Subject) -> None:
    """A command killed by signal n has exit code 128+n."""
    sandbox = subject.sandbox()
    for name, number in (("KILL", 9), ("TERM", 15), ("ABRT", 6)):
        expect(f"exit code after SIG{name}", sh(sandbox, f"kill -{name} $$").returncode, 128 + number)


@clause("missing-program")
def _missing_program(subject: Subject) -> None:
    """A program that does not exist is exit code 127."""
    sandbox = subject.sandbox()
    for program in ("no-such-program-anywhere", "/no/such/program"):
        expect(f"exit code of {program}", sandbox.exec(program, "x").returncode, 127)


@clause("streams")
def _streams(subject: Subject) -> None:
    """Standard output and standard error come apart and complete, in whatever order they were filled."""
    script = "i=0; while [ $i -lt 20000 ]; do echo out $i; echo error $i >&2; i=$((i + 1)); done"
    done = sh(subject.sandbox(), script)
    for stream, word, text in (("output", "out", done.stdout_read()), ("error", "error", done.stderr_read())):
        expect(f"standard {stream}", text, "".join(f"{word} {i}\n" for i in range(20_000)))


@clause("output-exact")
def _output_exact(subject: Subject) -> None:
    """Nothing is stripped from output, added to it or translated in it."""
    sandbox = subject.sandbox()
    for text in ("\n\n  a\t\r\nb\r \n\n", "no newline at the end", " ", ""):
        done = sandbox.exec("printf", "%s", text)
        expect("standard output", done.stdout_read(), text)
        expect("the same, read again", done.stdout_read(), text)
    expect("é and ✓ on standard error", sh(sandbox, "printf 'é✓' >&2").stderr_read(), "é✓")


@clause("not-utf8")
def _not_utf8(subject: Subject) -> None:
    """Output that is not UTF-8 arrives, each bad byte as U+FFFD, and what is around it unharmed."""
    done = sh(subject.sandbox(), "printf 'a\\377b\\000c\\303'; printf '\\200z' >&2")
    expect("standard output", done.stdout_read(), "a\ufffdb\0c\ufffd")
    expect("standard error", done.stderr_read(), "\ufffdz")


@clause("big-output")
def _big_output(subject: Subject) -> None:
    """50 MB of output neither block nor fill the harness: the tail is kept, and a line at the head says so."""
    fill = "head -c 1000000 /dev/zero | tr '\\0' e >&2; head -c 50000000 /dev/zero | tr '\\0' o; echo the end"
    done = sh(subject.sandbox(), fill)
    text = done.stdout_read()
    expect("exit code", done.returncode, 0)
    expect("the tail of standard output", text[-1000:], "o" * 992 + "the end\n")
    expect("the tail of standard error", done.stderr_read()[-1000:], "e" * 1000)
    if len(text) > MOST_KEPT:
        raise CheckFailed(f"standard output: expected at most {MOST_KEPT} characters, saw {len(text)}")
    head = text[:1000].partition("\n")[0]
    if "\n" not in text[:1000] or not head.strip("o"):
        raise CheckFailed(f"a cut output: expected a first line that says so, saw {shown(head)}")


@clause("argv")
def _argv(subject: Subject) -> None:
    """Arguments arrive as they were given: never split, joined, expanded or dropped."""
    words = [
        "a b",
        "",
        "'",
        '"',
        "$HOME",
        "`id`",
        "*",
        "a\nb",
        "\\",
        "-n",
        "é",
        "a;b|c>d&",
        "~",
        "#",
        "%s",
        " ",
    ]
    done = subject.sandbox().exec("printf", "[%s]", *words)
    expect("arguments", done.stdout_read(), "".join(f"[{word}]" for word in words))


@clause("stdin-closed")
def _stdin_closed(subject: Subject) -> None:
    """A command that reads standard input sees its end at once."""
    done = subject.sandbox().exec("cat")
    expect("exit code and output of cat", (done.returncode, done.stdout_read()), (0, ""))


@clause("stdin-bytes")
def _stdin_bytes(subject: Subject) -> None:
    """Standard input given with a command arrives byte for byte, then ends."""
    content = bytes(range(256)) * 1024
    done = shell.run(subject.sandbox(), ["cksum"], stdin=content)
    expect("cksum of 256 KiB", done.stdout_read().split(), ["1628753376", str(len(content))])


@clause("environment")
def _environment(subject: Subject) -> None:
    """Variables given with a command arrive as they are, for that command only."""
    sandbox, value = subject.sandbox(), "a 'b' $c\n\"d\" é="
    done = shell.run(sandbox, ["sh", "-c", 'printf %s "$GIVEN"'], env={"GIVEN": value})
    expect("the variable", done.stdout_read(), value)
    expect("the variable in the next command", says(sandbox, 'printf %s "$GIVEN"'), "")


@clause("directory")
def _directory(subject: Subject) -> None:
    """A directory given with a command is where it starts."""
    sandbox = subject.sandbox()
    says(sandbox, 'mkdir -p "/srv/an odd one"')
    expect("pwd", shell.run(sandbox, ["pwd"], cwd="/srv/an odd one").stdout_read(), "/srv/an odd one\n")


@clause("time-limit")
def _time_limit(subject: Subject) -> None:
    """A command out of time is said to be, with exit code 124 and what it had printed."""
    run = "echo so far; echo and here >&2; touch ready; sleep 100; echo never"
    done = out_of_time(subject.sandbox(), run)
    expect("timed_out, exit code", (done.timed_out, done.returncode), (True, shell.TIMED_OUT))
    expect("output", (done.stdout_read(), done.stderr_read()), ("so far\n", "and here\n"))


@clause("time-limit-tree")
def _time_limit_tree(subject: Subject) -> None:
    """A command out of time takes its whole process tree along: children, other sessions, daemons."""
    sandbox = subject.sandbox()
    tree = "sleep 86431 & setsid sleep 86432 & (setsid sh -c 'sleep 86433; true' &); trap '' TERM"
    done = out_of_time(sandbox, f"{tree}; touch ready; sleep 86434; true")
    expect("timed_out", done.timed_out, True)
    expect("processes left", running(sandbox, "slee[p] 8643"), "")


@clause("time-limit-spares")
def _time_limit_spares(subject: Subject) -> None:
    """A time limit not reached changes nothing, and exit code 124 alone does not mean one."""
    sandbox = subject.sandbox()
    for code in (0, 5, 124, 127):
        done = shell.run(sandbox, ["sh", "-c", f"echo said; exit {code}"], timeout=3600)
        expect(
            "a command in time",
            (done.returncode, done.timed_out, done.stdout_read()),
            (code, False, "said\n"),
        )
