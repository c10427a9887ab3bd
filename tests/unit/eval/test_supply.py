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


class Builder:
    """Makes images elsewhere: there is no disk here to keep them on."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        raise NotImplementedError

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        del recipe
        self.said.append(("prepare", image))
        if image.startswith("no"):
            raise SandboxStartError(f"{image}: docker pull it")
        return f"sha256:{image}"


class Slow(Keeper):
    """Fetches an image when its gate is open, and says so when it begins."""

    def __init__(self, *images: str, budget: int = 0, room: bool = True) -> None:
        super().__init__(budget)
        self.begun = {image: threading.Event() for image in images}
        self.gate = {image: threading.Event() for image in images}
        self.room = room

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        self.begun[image].set()
        assert self.gate[image].wait(60)
        return super().prepare_image(image, recipe)

    def fits_another(self) -> bool:
        return self.room

    def open(self, *images: str) -> None:
        for image in images:
            self.gate[image].set()

    @property
    def asked_for(self) -> list[str]:
        return [image for image, begun in self.begun.items() if begun.is_set()]


def settled(supply: Supply, image: str) -> None:
    """Wait until it has come or failed."""
    supply._fetching.begin(image).exception(60)


# -------------------------------------------------------------------------------------------- beforehand


def test_where_they_are_made_elsewhere_all_are_before_any_work() -> None:
    builder, digests = Builder(), dict[str, str | None]()
    supply = Supply(builder, [task("a"), task("b"), task("a")], print, on_ready=digests.__setitem__)
    supply.ready_first()
    assert sorted(builder.said) == [("prepare", "a"), ("prepare", "b")]
    assert digests == {"a": "sha256:a", "b": "sha256:b"}
    for _ in range(2):
        assert supply.ready(task("a")) == "sha256:a"
        supply.finished(task("a"))
    assert len(builder.said) == 2


class Plain:
    """What somebody wrote in ten lines."""

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        raise NotImplementedError


def test_a_recipe_that_nobody_uses_is_told_of_once() -> None:
    recipe = Recipe("host", Path("nowhere"), "build.sh")
    made = [Task("x_task", number, Path("nowhere"), {}, f"i{number}", recipe=recipe) for number in (1, 2)]
    told: list[Any] = []
    with Supply(Plain(), made, told.append) as supply:
        supply.ready_first()
        assert supply.ready(made[0]) is None
    assert told == [
        Note("backend Plain makes no images: it must have i1 and 1 more; their recipe is not used")
    ]
    with Supply(Plain(), [task("a")], told.append) as supply:
        supply.ready_first()
    with Supply(Builder(), made, told.append) as supply:
        supply.ready_first()
    assert len(told) == 1


def told_of(images: list[str]) -> list[str]:
    notes: list[Any] = []
    Supply(Builder(), [task(image) for image in images], notes.append).ready_first()
    return [note.text for note in notes]


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


def test_of_thirty_on_a_disk_only_the_first_is_there_before_any_work() -> None:
    images = [f"i{number:02}" for number in range(30)]
    slow = Slow(*images)
    slow.open("i00")
    with Supply(slow, map(task, images), print) as supply:
        supply.ready_first()
        assert slow.said == [("prepare", "i00")]
        assert slow.asked_for == ["i00"]
        assert supply.ready(task("i00")) == "sha256:i00"
        assert slow.begun["i01"].wait(60)
        assert slow.asked_for == ["i00", "i01"]


def test_the_first_that_can_be_had_will_do() -> None:
    keeper, told = Keeper(), list[Any]()
    with Supply(keeper, map(task, ["broken", "a", "b"]), told.append) as supply:
        supply.ready_first()
        assert keeper.said == [("prepare", "broken"), ("prepare", "a")]
        assert told == [Note("image broken cannot be made ready: there is no such image")]
    with (
        Supply(keeper, map(task, ["broken"]), told.append) as supply,
        pytest.raises(SandboxStartError, match=r"^there is no such image"),
    ):
        supply.ready_first()
    assert len(told) == 1


# -------------------------------------------------------------------------------------------- one ahead


def test_one_comes_while_the_last_is_worked_with_and_no_more() -> None:
    slow = Slow("a", "b", "c", "d")
    slow.open("a", "b", "c")
    with Supply(slow, map(task, "abcd"), print) as supply:
        supply.ready_first()
        for image, ahead in ("a", "b"), ("b", "c"), ("c", "d"):
            assert supply.ready(task(image)) == f"sha256:{image}"
            assert slow.begun[ahead].wait(60)
            assert slow.asked_for[-1] == ahead
    assert [image for _, image in slow.said] == ["a", "b", "c"]


def test_work_goes_first_whose_image_is_there() -> None:
    slow = Slow("a", "b", "c")
    slow.open("a", "c")
    chosen = threading.Event()
    done: list[str] = []

    def do(_: Task, item: str) -> str:
        done.append(item)
        if item == "c2":
            chosen.set()
        return supply.ready(task(item[0])) or ""

    def open_after_c() -> None:
        assert chosen.wait(60), done
        slow.open("b")

    items = [(task(item[0]), item) for item in ("a1", "b1", "b2", "b3", "c1", "c2")]
    opener = threading.Thread(target=open_after_c)
    opener.start()
    with Supply(slow, [each for each, _ in items], print) as supply:
        supply.ready_first()
        results = dict(supply.work_off(items, do, 2))
    opener.join()
    assert sorted(results.items()) == [(item, f"sha256:{item[0]}") for _, item in items]
    assert done.index("c2") < done.index("b1")
    assert sorted(slow.said) == [("prepare", image) for image in "abc"]


def test_one_that_fails_ahead_is_told_before_its_work_begins_and_the_next_comes() -> None:
    class Missing(Slow):
        def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
            if image == "b":
                raise SandboxStartError("b is nowhere")
            return super().prepare_image(image, recipe)

    slow, told = Missing("a", "b", "c"), list[Any]()
    slow.open("a", "c")
    with Supply(slow, map(task, "abc"), told.append) as supply:
        supply.ready_first()
        supply.ready(task("a"))
        assert slow.begun["c"].wait(60)
        assert told == [Note("image b cannot be made ready: b is nowhere")]
        for _ in range(2):
            with pytest.raises(SandboxStartError, match=r"^b is nowhere$"):
                supply.ready(task("b"))
        assert supply.ready(task("c")) == "sha256:c"
    assert len(told) == 1


def test_stopped_nobody_waits_and_nothing_more_is_fetched() -> None:
    slow, digests = Slow("a", "b", "c"), dict[str, str | None]()
    slow.open("a")
    supply = Supply(slow, map(task, "abc"), print, on_ready=digests.__setitem__)
    supply.ready_first()
    raised: list[Exception] = []

    def wait() -> None:
        try:
            supply.ready(task("b"))
        except SandboxStartError as problem:
            raised.append(problem)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert slow.begun["b"].wait(60)
    supply.stop()
    waiting.join(60)
    assert "is being stopped" in str(raised[0])
    slow.open("b", "c")
    with pytest.raises(SandboxStartError, match="is being stopped"):
        supply.ready(task("c"))
    settled(supply, "b")
    assert digests == {"a": "sha256:a"}


# -------------------------------------------------------------------------------------------- within a budget


@pytest.mark.parametrize("room", [True, False])
def test_within_a_budget_one_comes_ahead_only_if_it_fits(room: bool) -> None:
    slow = Slow("a", "b", "c", budget=1, room=room)
    slow.open("a", "b", "c")
    with Supply(slow, map(task, "aab"), print) as supply:
        supply.ready_first()
        supply.ready(task("a"))
        supply.finished(task("a"))
        assert slow.begun["b"].wait(60) if room else slow.asked_for == ["a"]
        slow.room = True  # as it is once the other is released
        supply.finished(task("a"))
        assert slow.begun["b"].wait(60)
        assert ("release", "a") in slow.said
        supply.ready(task("b"))
        supply.finished(task("b"))
    assert [each for each in slow.said if each[0] == "prepare"] == [("prepare", "a"), ("prepare", "b")]
    assert slow.said[-1] == ("release", "b")


def test_within_a_budget_what_cannot_tell_whether_it_fits_waits_for_its_turn() -> None:
    keeper = Keeper(budget=1)
    with Supply(keeper, [task("a"), task("b"), task("a")], print) as supply:
        supply.ready_first()
        for image in ("a", "a", "b"):
            supply.ready(task(image))
            supply.finished(task(image))
    assert keeper.said == [("prepare", "a"), ("release", "a"), ("prepare", "b"), ("release", "b")]


def test_within_a_budget_nothing_is_fetched_ahead_that_may_not_be_needed() -> None:
    slow = Slow("a", "b", "c", "d", budget=1)
    slow.open("a", "b", "c", "d")
    with Supply(slow, map(task, "abcd"), print, sure=[task("d")]) as supply:
        supply.ready_first()
        assert slow.said == []
        supply.ready(task("c"))
        assert slow.begun["d"].wait(60)
        supply.ready(task("d"))
        assert slow.asked_for == ["c", "d"]


def test_one_whose_work_was_done_without_it_is_let_go_when_it_comes() -> None:
    slow = Slow("a", "b", budget=1)
    slow.open("a")
    with Supply(slow, map(task, "ab"), print) as supply:
        supply.ready(task("a"))
        assert slow.begun["b"].wait(60)
        supply.finished(task("b"))
        slow.said.clear()
        slow.open("b")
        supply.ready(task("b"))
    assert slow.said == [("prepare", "b"), ("release", "b")]


def test_one_that_cannot_be_had_is_asked_for_once_and_told_once() -> None:
    keeper, told = Keeper(), list[Any]()
    with Supply(keeper, [task("a"), task("broken")], told.append) as supply:
        supply.ready_all()
        for _ in range(2):
            with pytest.raises(SandboxStartError, match="there is no such image"):
                supply.ready(task("broken"))
    assert told == [Note("image broken cannot be made ready: there is no such image")]
    assert keeper.said.count(("prepare", "broken")) == 1


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
