"""The state directory: whose files are whose, and what is collected."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.identity import Ids
from cooperbench.eval.backends.local.state import State, default_directory

ME = Ids("user-single", ((0, os.geteuid(), 1),), ((0, os.getegid(), 1),), "self")


def opened(path: Path) -> State:
    """A harness's hold; the zygote's part of the directory made by hand."""
    state = State(path, ME)
    for name in ("run", "trash", "layers", f"run/{state.owner}"):
        (state.path / name).mkdir(exist_ok=True)
    return state


def test_what_the_living_own_is_left_alone(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    (other.path / other.upper(1)).mkdir()
    assert one.collect() == []
    assert (other.path / other.upper(1)).is_dir()
    other.close()
    one.close()


def test_what_the_dead_left_is_collected(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    (other.path / other.upper(1)).mkdir()
    os.close(other._lock)  # as the kernel does when a process dies
    (line,) = one.collect()
    assert "1 sandbox directories" in line
    assert not (one.path / "run" / other.owner).exists()
    assert len(list((one.path / "trash").iterdir())) == 1
    assert one.collect() == []
    other._release.detach()
    one.close()


def test_discarding_twice_is_fine(tmp_path: Path) -> None:
    state = opened(tmp_path)
    (state.path / state.upper(1)).mkdir()
    state.discard(state.upper(1))
    state.discard(state.upper(1))
    state.close()


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    state, order = opened(tmp_path), []
    started = threading.Event()

    def other() -> None:
        started.set()
        with state.locked("x"):
            order.append("second")

    thread = threading.Thread(target=other)
    with state.locked("x"):
        thread.start()
        started.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    state.close()


def test_a_lock_held_is_seen_and_none_is_left(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    with one.locked("x"), other.unless_locked("x") as free:
        assert not free
    with other.unless_locked("x") as free:
        assert free
    assert list((one.path / "locks").iterdir()) == []
    one.close()
    other.close()


def test_a_lock_is_one_at_a_time_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    state, inside, most = opened(tmp_path), [], []

    def work() -> None:
        for _ in range(200):
            with state.locked("x"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    state.close()


def test_an_unusable_place_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxStartError, match="COOPERBENCH_STATE_DIR"):
        State(tmp_path / "file", ME)


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COOPERBENCH_STATE_DIR", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.delenv("COOPERBENCH_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_directory() == Path("/x/cooperbench/local")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_directory() == Path("/var/lib/cooperbench/local")
