"""`main`: exit codes, one line for every error, and what a call for help loads."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.cli import exits, program
from cooperbench.errors import AgentError, BackendError, CooperBenchError, SandboxLost, UsageError

HEAVY = (
    "rich",
    "platformdirs",
    "tomllib",
    "email",
    "importlib.metadata",
    "concurrent",
    "subprocess",
    "asyncio",
)
"""Nothing of these may be loaded to print a help text."""


def fresh(*argv: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cooperbench.cli", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_no_verb_prints_the_help_and_is_a_usage_error(cooperbench) -> None:
    outcome = cooperbench()
    assert outcome.code == exits.USAGE
    assert "verbs:" in outcome.out


def test_help_explains_every_verb_and_every_exit_code(cooperbench) -> None:
    text = cooperbench("--help").out
    for verb in program.VERBS:
        assert f"\n    {verb} " in text
    codes = [value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)]
    assert len(codes) == 7
    for code in codes:
        assert f"\n  {code} " in text


@pytest.mark.parametrize("verb", program.VERBS)
def test_every_verb_explains_itself(cooperbench, verb: str) -> None:
    outcome = cooperbench(verb, "--help")
    assert outcome.code == 0
    assert f"usage: cooperbench {verb}" in outcome.out


@pytest.mark.parametrize("argv", [["--help"], *([verb, "--help"] for verb in program.VERBS)], ids=" ".join)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    script = (
        "import sys; before = set(sys.modules); from cooperbench.cli import main; main(sys.argv[1:]);"
        "sys.stderr.write('\\n'.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True)
    loaded = done.stderr.split("\n")
    assert not [name for name in loaded if name.split(".")[0] in HEAVY or name in HEAVY]
    assert len(loaded) < 100, loaded


def test_version(cooperbench) -> None:
    from cooperbench import __version__

    assert cooperbench("--version").out == f"cooperbench {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["rnu"], "there is no verb 'rnu'; did you mean 'run'?"),
        (["run", "--nme", "x"], "unrecognized arguments: --nme"),
        (["run", "-t", "one"], "invalid int value: 'one'"),
        (["run", "-f", "1;2"], "numbers joined by commas, as in 1,2: not '1;2'"),
        (["run", "-c", "0"], "a whole number above 0, not '0'"),
        (["run", "--timeout", "nan"], "a number of seconds above 0, not 'nan'"),
        (["run", "--max-cost", "0"], "an amount of US dollars above 0, not '0'"),
        (["run", "--prompts", "nowhere", "-a", "noop", "--demo"], "nowhere is not a directory"),
        (["run", "--demo", "-a", "noop", "-n", ""], "run name ''"),
        (["eval"], "which run? -n RUN"),
        (["eval", "-n", "nothing"], "no run 'nothing' in logs; there are no runs yet"),
        (["show", "../../etc"], "cannot be a run's name"),
        (["show"], "the following arguments are required: RUN"),
        (["tasks", "--demo", "--dataset-dir", "x"], "give one of them"),
        (["tasks", "--dataset-dir", "nowhere"], "nowhere"),
        (["doctor", "nonesuch"], "Unknown backend 'nonesuch'"),
        (["clean", "--backend", "nonesuch"], "Unknown backend 'nonesuch'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_line_and_code_2(cooperbench, argv: list[str], told: str) -> None:
    outcome = cooperbench(*argv)
    assert outcome.code == exits.USAGE
    assert told in outcome.err
    assert outcome.err.startswith("cooperbench: ")
    assert outcome.err.count("\n") == 1


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the verb `agents` end in this error."""
    from cooperbench import agents

    def fail() -> tuple[str, ...]:
        raise error

    monkeypatch.setattr(agents, "list_agents", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no"), exits.USAGE),
        (SandboxLost("gone"), exits.INFRASTRUCTURE),
        (BackendError("down"), exits.INFRASTRUCTURE),
        (AgentError("crashed"), exits.INFRASTRUCTURE),
        (CooperBenchError("hm"), exits.INFRASTRUCTURE),
        (KeyboardInterrupt(), exits.INTERRUPTED),
        (BrokenPipeError(), exits.BROKEN_PIPE),
        (RuntimeError("a bug"), exits.FAULT),
        (PermissionError(errno.EACCES, "Permission denied", "/usr/x"), exits.USAGE),
        (OSError(errno.ENOSPC, "No space left on device"), exits.INFRASTRUCTURE),
        (OSError(errno.EBADF, "Bad file descriptor"), exits.FAULT),
    ],
)
def test_each_kind_of_error_has_its_code(cooperbench, monkeypatch, error: BaseException, code: int) -> None:
    raising(error, monkeypatch)
    outcome = cooperbench("agents")
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    assert outcome.err.count("\n") == (0 if code == exits.BROKEN_PIPE else 1)


def test_an_error_cannot_steer_the_terminal_or_span_lines(cooperbench, monkeypatch) -> None:
    raising(BackendError("bad\x1b[2J\nname\u202egpj.exe"), monkeypatch)
    assert cooperbench("agents").err == "cooperbench: bad\\x1b[2J name\\u202egpj.exe\n"


def test_a_fault_leaves_its_traceback_in_a_file(cooperbench, monkeypatch, tmp_path: Path) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    raising(RuntimeError("a bug"), monkeypatch)
    told = cooperbench("agents").err
    assert "RuntimeError: a bug" in told
    (file,) = tmp_path.glob("*.traceback")
    assert str(file) in told
    assert "Traceback" in file.read_text()


def test_debug_shows_the_traceback(cooperbench, monkeypatch) -> None:
    raising(RuntimeError("a bug"), monkeypatch)
    assert "Traceback" in cooperbench("agents", "--debug").err
    monkeypatch.setenv("COOPERBENCH_DEBUG", "1")
    assert "Traceback" in cooperbench("agents").err


def test_a_reader_that_leaves_is_no_error() -> None:
    source, sink = os.pipe()
    os.close(source)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cooperbench.cli", "tasks", "--demo"],
            stdout=sink,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(sink)
    assert done.stderr == b""
    assert done.returncode == exits.BROKEN_PIPE


def test_a_log_directory_that_cannot_be_is_a_wrong_request(cooperbench) -> None:
    Path("file").touch()
    outcome = cooperbench("run", "--demo", "-a", "noop", "-t", "0", "--log-dir", "file/logs")
    assert outcome.code == exits.USAGE
    assert outcome.err.splitlines()[-1].startswith("cooperbench: cannot use file/logs")
    outcome = cooperbench("validate", "--demo", "-t", "0", "--merges-only", "--output-dir", "file")
    assert outcome.code == exits.USAGE
    assert outcome.err.splitlines()[-1].startswith("cooperbench: cannot use file")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_fault(closed: str) -> None:
    command = f'exec "$0" -m cooperbench.cli tasks --demo {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (exits.DONE, b"")


def test_a_terminal_that_cannot_show_a_character_is_no_error() -> None:
    done = fresh("--help", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    done = fresh("run", "--help", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0


def test_what_the_package_logs_is_one_harmless_line(cooperbench, monkeypatch) -> None:
    import logging

    from cooperbench import agents

    def warn() -> tuple[str, ...]:
        logging.getLogger("cooperbench.agents").warning("beware of %s", "\x1b[2J\nthis")
        logging.getLogger("cooperbench.agents").info("and of nothing else")
        return ("gold",)

    monkeypatch.setattr(agents, "list_agents", warn)
    outcome = cooperbench("agents")
    assert outcome.code == exits.DONE
    assert outcome.err == "cooperbench: warning: beware of \\x1b[2J\\nthis\n"
