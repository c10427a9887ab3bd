"""Images on their way to the work that needs them, on a backend that does nothing but keep images."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from cooperbench.dataset.model import Task
from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.base import Recipe
from cooperbench.eval.sources import Chosen, hear, keep_images_within, trials_at_once
from cooperbench.eval.supply import Supply
from cooperbench.events import Note, Waiting


class Keeper:
    """Remembers what it was asked for."""

    def __init__(self, budget: int = 0) -> None:
        self.budget = budget
        self.said: list[tuple[str, str]] = []

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        raise NotImplementedError

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        del recipe
        self.said.append(("prepare", image))
        if image == "broken":
            raise SandboxStartError("there is no such image")
        return f"sha256:{image}"

    def keep_within(self, size: int | None) -> int:
        self.budget = self.budget if size is None else size
        return self.budget

    def release_image(self, image: str) -> None:
        self.said.append(("release", image))


class Roomy(Keeper):
    def room(self) -> tuple[int, str]:
        return 7, "7 beds"

    def tell_by(self, listener: Any) -> None:
        listener("image x", "half")
        listener("image x", None)


def task(image: str) -> Task:
    return Task("x_task", 1, Path("nowhere"), {}, image)


def test_all_are_made_ready_first_and_stay() -> None:
    keeper, digests = Keeper(), dict[str, str | None]()
    supply = Supply(keeper, [task("a"), task("b"), task("a")], print, on_ready=digests.__setitem__)
    supply.ready_all()
    assert sorted(keeper.said) == [("prepare", "a"), ("prepare", "b")]
    assert digests == {"a": "sha256:a", "b": "sha256:b"}
    for _ in range(2):
        assert supply.ready(task("a")) == "sha256:a"
        supply.finished(task("a"))
    assert len(keeper.said) == 2


def told_of(images: list[str]) -> list[str]:
    notes: list[Any] = []
    Supply(Missing(), [task(image) for image in images], notes.append).ready_all()
    return [note.text for note in notes]


class Missing(Keeper):
    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        if image.startswith("no"):
            raise SandboxStartError(f"{image}: docker pull it")
        return super().prepare_image(image, recipe)


def test_however_many_images_are_missing_it_is_one_line() -> None:
    assert told_of(["a", "b"]) == []
    assert told_of(["a", "no"]) == ["image no cannot be made ready: no: docker pull it"]
    (line,) = told_of(["a", *(f"no{n}" for n in range(20)), "b"])
    assert re.fullmatch(
        r"20 of 22 images cannot be made ready; the first: (no\d+): \1: docker pull it", line
    ), line
    with pytest.raises(
        SandboxStartError, match=r"^none of 2 images can be made ready; the first: no\d: docker"
    ):
        told_of(["no1", "no2"])
    with pytest.raises(SandboxStartError, match=r"^no: docker"):
        told_of(["no"])


def test_within_a_budget_each_comes_in_its_turn_and_goes_after_the_last_of_its_work() -> None:
    keeper = Keeper(budget=1)
    supply = Supply(keeper, [task("a"), task("b"), task("a")], print)
    supply.ready_all()
    assert keeper.said == []
    for image in ("a", "a", "b"):
        supply.ready(task(image))
        supply.finished(task(image))
    assert keeper.said == [("prepare", "a"), ("release", "a"), ("prepare", "b"), ("release", "b")]


def test_one_that_cannot_be_had_is_asked_for_once_and_told_once() -> None:
    keeper, told = Keeper(), list[Any]()
    supply = Supply(keeper, [task("a"), task("broken")], told.append)
    supply.ready_all()
    for _ in range(2):
        with pytest.raises(SandboxStartError, match="there is no such image"):
            supply.ready(task("broken"))
    assert told == [Note("image broken cannot be made ready: there is no such image")]
    assert keeper.said.count(("prepare", "broken")) == 1
    with pytest.raises(SandboxStartError):
        Supply(keeper, [task("broken")], told.append).ready_all()


def test_once_however_many_threads_ask() -> None:
    keeper = Keeper(budget=1)
    supply = Supply(keeper, [task("a")] * 20, print)
    digests: list[str | None] = []
    threads = [threading.Thread(target=lambda: digests.append(supply.ready(task("a")))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == ["sha256:a"] * 20
    assert keeper.said == [("prepare", "a")]


def test_a_budget_is_for_a_backend_that_keeps_images() -> None:
    keeper = Keeper()
    keep_images_within(Chosen("k", "", keeper), 5)
    assert keeper.budget == 5
    keep_images_within(Chosen("x", "", object()), None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="backend x keeps no images"):
        keep_images_within(Chosen("x", "", object()), 5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="disk_budget is a number of bytes"):
        keep_images_within(Chosen("k", "", keeper), -1)


def test_as_many_trials_at_once_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trials_at_once(None, Roomy(), 2) == (3, "7 beds")
    assert trials_at_once(None, Roomy(), 9) == (1, "7 beds")
    assert trials_at_once(None, Keeper(), 2) == (20, "")
    assert trials_at_once(5, Roomy(), 2) == (5, "")
    monkeypatch.setenv("COOPERBENCH_CONCURRENCY", "4")
    assert trials_at_once(None, Roomy(), 2) == (4, "")


def test_what_a_backend_tells_is_passed_on() -> None:
    told: list[Any] = []
    hear(Roomy(), told.append)
    assert told == [Waiting("image x", "half"), Waiting("image x", None)]
