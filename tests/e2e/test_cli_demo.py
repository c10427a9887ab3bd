"""The command line as a user has it: a process of its own, the bundled dataset, sandboxes of this machine."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cooperbench.dataset import demo_dataset

EXPECTED = json.loads((demo_dataset() / "expected.json").read_text())
PASSED = sum(outcome["passed"] for outcome in EXPECTED.values())
SUMS = re.compile(r"(\d+) passed \+ (\d+) failed \+ (\d+) errors \+ (\d+) pending = (\d+) trials")

Call = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COOPERBENCH_")}
    kept |= {key: value for key, value in os.environ.items() if key == "COOPERBENCH_STATE_DIR"}
    return {**kept, "XDG_CONFIG_HOME": str(home / "config")}


def call(*argv: str, cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cooperbench.cli", *argv]
    return subprocess.run(
        command, cwd=cwd, env=environment(cwd), capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the demo has run."""
    place = tmp_path_factory.mktemp("demo")
    done = call("demo", cwd=place)
    (place / "demo.out").write_text(done.stdout)
    (place / "demo.err").write_text(done.stderr)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def cooperbench(place: Path) -> Call:
    return lambda *argv: call(*argv, cwd=place)


# ------------------------------------------------------------------------------------ the demo


def test_the_demo_comes_out_as_its_authors_say(place: Path) -> None:
    report = (place / "demo.out").read_text()
    passed, failed, errors, pending, total = map(int, SUMS.search(report).groups())
    assert (passed, errors, pending, total) == (PASSED, 0, 0, len(EXPECTED))
    assert passed + failed == total
    for name, outcome in EXPECTED.items():
        assert re.search(
            rf"{name} +{'passed' if outcome['passed'] else 'FAILED'} +{outcome['merge']}", report
        )


def test_the_demo_shows_messages_and_a_conflict(place: Path) -> None:
    report = (place / "demo.out").read_text()
    assert re.search(r"messages [1-9]", report)
    assert "conflict in " in report


def test_progress_is_not_in_the_results(place: Path) -> None:
    told = (place / "demo.err").read_text()
    assert f"demo: {len(EXPECTED)} trials · backend local" in told
    assert "backend local" not in (place / "demo.out").read_text()
    assert "\x1b" not in told
    assert "Traceback" not in told


def test_show_explains_the_conflict(cooperbench: Call) -> None:
    name = next(name for name, outcome in EXPECTED.items() if outcome["merge"] == "conflicts")
    shown = cooperbench("show", "demo", name)
    assert shown.returncode == 0
    assert "conflict in " in shown.stdout
    assert "Submitted" in shown.stdout


def test_show_explains_tests_that_failed(cooperbench: Call, place: Path) -> None:
    name = next(n for n, outcome in EXPECTED.items() if outcome["merge"] == "clean" and not outcome["passed"])
    shown = cooperbench("show", "demo", name, "--json")
    verdict = json.loads(shown.stdout)["verdict"]
    broken = [v for k, v in verdict.items() if re.fullmatch(r"feature\d", k) and not v["passed"]]
    assert broken
    log = Path(json.loads(shown.stdout)["directory"]) / broken[0]["log"]
    assert (place / log).read_bytes()


def test_runs_and_csv_agree_with_the_report(cooperbench: Call) -> None:
    (run,) = json.loads(cooperbench("runs", "--json").stdout)
    assert (run["run"], run["total"], run["passed"]) == ("demo", len(EXPECTED), PASSED)
    lines = list(csv.DictReader(io.StringIO(cooperbench("show", "demo", "--csv").stdout)))
    assert sum(line["outcome"] == "passed" for line in lines) == PASSED


def test_eval_uses_current_verdicts_again_and_force_makes_them_anew(cooperbench: Call, place: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (place / "logs/demo").rglob("eval.json")}
    assert len(stamps) == len(EXPECTED)
    again = cooperbench("eval", "-n", "demo", "--json", "-q")
    assert again.returncode == 0
    assert again.stderr == ""
    assert json.loads(again.stdout)["passed"] == PASSED
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    name = next(iter(EXPECTED))
    repo, task, features = name.split("/")
    forced = cooperbench("eval", "-n", "demo", "--force", "-r", repo, "-t", task, "-f", features)
    assert forced.returncode == 0
    changed = [path for path in stamps if path.stat().st_mtime_ns != stamps[path]]
    assert len(changed) == 1


def test_the_demo_can_be_run_again(cooperbench: Call) -> None:
    again = cooperbench("demo", "--json", "-q")
    assert again.returncode == 0
    assert json.loads(again.stdout)["passed"] == PASSED


# ------------------------------------------------------------------------------------ run


@pytest.mark.parametrize("setting", ["coop", "solo"])
def test_gold_runs_go_on_where_they_were(cooperbench: Call, setting: str) -> None:
    selection = ("--demo", "-s", "demo", "-a", "gold", "--setting", setting, "-n", f"gold-{setting}")
    first = cooperbench("run", *selection, "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report["total"] == len(EXPECTED)
    if setting == "solo":
        return
    again = cooperbench("run", *selection)
    assert again.returncode == 0
    assert f"{len(EXPECTED)} already done" in again.stderr


def test_another_experiment_under_a_name_is_refused(cooperbench: Call) -> None:
    refused = cooperbench("run", "--demo", "-s", "demo", "-a", "noop", "-n", "demo")
    assert refused.returncode == 2
    assert "agent_framework was 'script', is now 'noop'" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_agents_that_do_nothing_fail_and_that_is_a_result(cooperbench: Call) -> None:
    done = cooperbench("run", "--demo", "-s", "demo", "-a", "noop", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["run"], report["passed"], report["failed"]) == ("coop-noop-demo", 0, len(EXPECTED))


def test_judging_can_wait(cooperbench: Call) -> None:
    ran = cooperbench(
        "run", "--demo", "-r", "gridline_task", "-f", "1,2", "-a", "gold", "-n", "later", "--no-auto-eval"
    )
    assert ran.returncode == 1
    assert "1 pending = 1 trials" in ran.stdout
    judged = cooperbench("eval", "-n", "later", "--independent")
    assert judged.returncode == 0, judged.stderr
    assert "each patch alone" in cooperbench("show", "later", "1,2").stdout


def test_a_backend_that_fails_is_an_error_not_a_failed_test(place: Path) -> None:
    (place / "broken.py").write_text(
        "from cooperbench.errors import SandboxStartError\n"
        "class Backend:\n"
        "    def create_sandbox(self, image, timeout=600, workdir='/workspace'):\n"
        "        raise SandboxStartError('the engine is\\x1b[31m out of order')\n"
    )
    done = call(
        "run",
        "--demo",
        "-r",
        "gridline_task",
        "-f",
        "1,2",
        "-a",
        "gold",
        "-n",
        "broken",
        "--backend",
        "broken:Backend",
        cwd=place,
    )
    assert done.returncode in (1, 3)
    assert "out of order" in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------ the rest


def test_validate_finds_the_demo_healthy(cooperbench: Call) -> None:
    found = cooperbench("validate", "--demo", "--json", "-q")
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads(found.stdout)
    summary = report["summary"]
    assert summary["conflicts"] + summary["clean_merges"] + summary["errors"] == summary["total_pairs"] == 18
    again = cooperbench("validate", "--demo", "--merges-only")
    assert again.returncode == 0
    assert "= 18 pairs of gold patches" in again.stdout


def test_tasks_counts_what_there_is(cooperbench: Call) -> None:
    assert "3 repositories, 3 tasks, 12 features, 18 pairs" in cooperbench("tasks", "--demo").stdout
    assert json.loads(cooperbench("tasks", "--demo", "-t", "0", "--json").stdout)["pairs"] == 6
    assert cooperbench("tasks", "--demo", "-s", "demo", "--pairs").stdout.split() == sorted(EXPECTED)


def test_doctor_finds_this_machine_fit(cooperbench: Call) -> None:
    found = cooperbench("doctor", "local", "--quick")
    assert found.returncode == 0, found.stdout
    assert found.stdout.endswith("all is well\n")


KILLED = """
import os, signal
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend()
backend.create_sandbox("host").exec("touch", "/left")
os.kill(backend._engine.launcher._process.pid, signal.SIGKILL)  # it would clear up behind us
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory in which no other test's harness is at work."""
    path = Path(tempfile.mkdtemp(prefix="cb-clean-"))
    path.chmod(0o711)  # for those whom root is inside
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_clean_leaves_nothing(tmp_path: Path, state: Path) -> None:
    env = {**environment(tmp_path), "COOPERBENCH_STATE_DIR": str(state)}
    subprocess.run([sys.executable, "-c", KILLED], env=env, check=False, timeout=240)
    command = [sys.executable, "-m", "cooperbench.cli", "clean", "--backend", "local", "--json"]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=240)
    assert [*state.glob("*/run/*/*"), *state.glob("*/trash/*")] == []
    assert json.loads(subprocess.check_output(command, env=env, timeout=240))["removed"] == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["run", "--demo", "-s", "nope", "-a", "gold"], "nope"),
        (["run", "--demo", "-r", "gridlin_task", "-a", "gold"], "gridline_task"),
        (["run", "--demo", "-t", "99", "-a", "gold"], "99"),
        (["run", "--demo", "-f", "1,1", "-a", "gold"], "more than once"),
        (["run", "--demo", "-f", "1", "-a", "gold"], "needs at least 2 features"),
        (["run", "--demo", "-f", "1,77", "-a", "gold"], "77"),
        (["run", "--demo", "-a", "golf"], "golf"),
        (["run", "--demo", "-a", "gold", "--setting", "tram"], "unknown setting 'tram'"),
        (["run", "--demo", "-a", "gold", "--backend", "dokcer"], "Unknown backend 'dokcer'"),
        (["run", "--demo", "-a", "gold", "--backend", ""], "Unknown backend ''"),
        (["run", "--demo", "-a", "gold", "--agent-config", "nowhere"], "nowhere"),
        (["run", "--demo", "-a", "gold", "-n", "../x"], "'../x'"),
        (["run", "--demo", "-a", "gold", "--team-no-mcp"], "mcp is a part of setting 'team'"),
        (["run", "--demo", "-a", "gold", "--redis", "redis://elsewhere:1"], "Redis"),
        (["run", "-a", "gold"], "cooperbench prepare"),
        (["eval", "-n", "nope"], "no run 'nope'"),
        (["eval", "-n", "demo", "-s", "nope"], "nope"),
        (["prepare", "-q", "--from", "nowhere", "--dataset-dir", "d"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_line_and_code_2(cooperbench: Call, argv: list[str], told: str) -> None:
    done = cooperbench(*argv)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert done.stderr.startswith("cooperbench: ")
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_says_how_to_go_on(place: Path, tmp_path: Path, number: signal.Signals) -> None:
    scripts, name = tmp_path / "one-ends", number.name
    (scripts / "almanac_task" / "task12" / "f1_f2").mkdir(parents=True)
    for agent in ("agent1.sh", "agent2.sh"):
        (scripts / "almanac_task" / "task12" / "f1_f2" / agent).write_text("true\n")
        (scripts / agent).write_text("sleep 600\n")  # of every other pair
    options = ["--demo", "-s", "demo", "-a", "script", "--agent-config", str(scripts), "-n", name]
    command = [sys.executable, "-m", "cooperbench.cli", "run", *options]
    process = subprocess.Popen(
        command, cwd=place, env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not list(place.glob(f"logs/{name}/coop/*/*/*/result.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert f"run {name} was interrupted; the same command goes on with it" in err
    assert out == "" or "pending" in out


# ------------------------------------------------------------------------------------ the page on results


def keys_of(value: object) -> set[str]:
    """Every key of an object, and of objects in it, but not of those whose keys are data."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    named = {key for key in value if re.fullmatch(r"[a-z_]+|feature[12]|agent1", key)}
    return named | set().union(*(keys_of(value[key]) for key in named - DATA))


DATA = {"images", "pairs", "inputs", "timings", "dropped", "apply_status", "messages"}


@pytest.mark.parametrize(
    "pattern",
    [
        "config.json",
        "summary.json",
        "eval_summary.json",
        "*/*/*/*/result.json",
        "*/*/*/*/eval.json",
        "*/*/*/*/conversation.json",
        "*/*/*/*/*_traj.json",
    ],
)
def test_the_page_on_results_explains_every_key(place: Path, pattern: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    files = list((place / "logs" / "demo").glob(pattern))
    assert files
    found = set().union(*(keys_of(json.loads(file.read_bytes())) for file in files))
    assert not {key for key in found if f"`{key}`" not in page}


def test_the_page_on_results_explains_every_file(place: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    for path in (place / "logs" / "demo").rglob("*"):
        if path.is_file() and path.name != ".lock":
            name = re.sub(r"agent\d", "agent1", re.sub(r"\.f\d", ".f1", path.name))
            assert name in page, path
