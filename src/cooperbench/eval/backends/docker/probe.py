"""Whether an engine would do, for `cooperbench doctor` and for choosing a backend nobody chose."""

from __future__ import annotations

from pathlib import Path

from cooperbench.errors import CooperBenchError
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, connect, places

_GIB = 1 << 30
_PER_PROCESSOR = 4
"""Sandboxes of agents that a processor serves."""


def fit_by_default() -> tuple[bool, str]:
    """Whether an engine answers, and the reason in a few words."""
    from importlib.util import find_spec

    if find_spec("docker") is None:
        return False, "the docker extra is not installed"
    settings = Settings()
    if not any(_may_answer(place.address) for place in places(settings)):
        return False, "no Docker engine"
    try:
        engine = connect(settings)
    except CooperBenchError:
        return False, "no Docker engine answers"
    engine.close()
    return True, f"a Docker engine answers at {engine.place.address}"


def _may_answer(address: str) -> bool:
    return not address.startswith("unix://") or Path(address.removeprefix("unix://")).exists()


def diagnose(engine: Engine) -> list[tuple[bool, str]]:
    """What there is to be said of an engine that answers."""
    facts = engine.facts
    memory = int(facts.get("MemTotal") or 0)
    found = [
        (
            True,
            f"{engine.name} ({engine.place.why}): version {facts.get('ServerVersion')}, "
            f"{facts.get('OperatingSystem')}, {facts.get('Architecture')}",
        )
    ]
    linux = facts.get("OSType") == "linux"
    found.append(
        (linux, "it runs Linux containers" if linux else "it runs no Linux containers: switch it over")
    )
    enough = memory >= 2 * _GIB
    found.append(
        (
            enough,
            f"{facts.get('NCPU')} processors and {memory / _GIB:.1f} GiB of memory"
            + ("" if enough else ": judging wants 2 GiB at least"),
        )
    )
    for key, what in (("MemoryLimit", "memory"), ("PidsLimit", "the number of processes")):
        limited = bool(facts.get(key, True))
        found.append(
            (
                limited,
                f"it {'can' if limited else 'cannot'} limit {what}"
                + ("" if limited else ": check its cgroups"),
            )
        )
    return found


def processors(engine: Engine) -> int:
    """How many the engine's machine has."""
    return max(1, int(engine.facts.get("NCPU") or 1))


def room(engine: Engine, settings: Settings) -> tuple[int, str]:
    """How many sandboxes at once suit the engine's machine, and the reckoning.

    Memory is what a sandbox may take; processors are shared, for an agent's sandbox waits most of its time.
    """
    cores, memory = processors(engine), int(engine.facts.get("MemTotal") or 0)
    said = f"{cores} processors"
    number = cores * _PER_PROCESSOR
    if memory:
        number = min(number, memory // settings.memory)
        said += f", {memory / _GIB:.0f} GiB for sandboxes of {settings.memory / _GIB:g}"
    return max(1, number), said
