"""Which backends there are, and how a name becomes one. What a backend must do: `base.py`, `checks.py`.

Four kinds of name, looked up in this order: registered with `register_backend`, built in, an entry point in
group ``cooperbench.backends``, and ``"package.module:Class"``. Nothing is imported before it is asked for.

Inside the package backends are always obtained as ``backends.get_backend(...)``, an attribute looked up at
the call, so that a program may put its own function in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from cooperbench.errors import CooperBenchError, MissingExtra, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from cooperbench.eval.backends.base import EvalBackend
    from cooperbench.eval.backends.batch import BatchBackend

__all__ = [
    "choose_backend",
    "default_backend",
    "get_backend",
    "get_batch_evaluator",
    "list_backends",
    "register_backend",
]

ENTRY_POINT_GROUP = "cooperbench.backends"


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """A backend that comes with this release."""

    target: str
    """``module:Class``."""
    extra: str | None = None
    """The pip extra its dependencies are in."""
    probe: str | None = None
    """``module:function`` giving ``(fit to be the default here, why)``; None: always fit."""


# The order is the order of preference for the default.
_BUILT_IN: dict[str, _BuiltIn] = {
    "modal": _BuiltIn(
        "cooperbench.eval.backends.modal:ModalBackend",
        "modal",
        "cooperbench.eval.backends.modal.probe:fit_by_default",
    ),
    "docker": _BuiltIn(
        "cooperbench.eval.backends.docker:DockerBackend",
        "docker",
        "cooperbench.eval.backends.docker.probe:fit_by_default",
    ),
    "local": _BuiltIn("cooperbench.eval.backends.local:LocalBackend"),
    # After one that is always fit: only for who asks for it.
    "gcp": _BuiltIn("cooperbench.eval.backends.gcp:GCPBatchBackend.configured", "gcp"),
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")

_registered: dict[str, Callable[[], Any]] = {}


def get_backend(name: str) -> EvalBackend:
    """The backend called `name`; each call may give a new instance.

    Raises:
        UsageError: no such backend, or what the name leads to is not a backend.
        MissingExtra: it comes with the package, but its optional dependencies are not installed.
    """
    if not isinstance(name, str):
        raise UsageError(f"Unknown backend {name!r}: a backend is named by a string; {_what_exists()}")
    if name in _registered:
        return _made(name, _registered[name])
    if name in _BUILT_IN:
        return _made(name, _load_built_in(name, _BUILT_IN[name]))
    if (entry := _entry_points().get(name)) is not None:
        return _made(name, _load(entry.value, f"entry point {name!r} ({entry.value})"))
    if ":" in name:
        return _made(name, _load(name, f"backend {name!r}"))
    raise UsageError(f"Unknown backend {name!r}: {_what_exists()}")


def register_backend(name: str, factory: Callable[[], EvalBackend], *, override: bool = False) -> None:
    """Make `name` stand for what `factory` returns, in this process.

    Registering one's own name again replaces it; a name of this package's only gives way with `override`.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UsageError(
            f"backend name {name!r} cannot be registered: use a letter, then letters, digits, '_', '.' or '-'"
        )
    if not callable(factory):
        raise UsageError(
            f"backend {name!r} cannot be registered: give a class or function, not {_kind(factory)}"
        )
    if name in _BUILT_IN and not override:
        raise UsageError(f"backend {name!r} is cooperbench's own: choose another name, or pass override=True")
    _registered[name] = factory


def list_backends() -> tuple[str, ...]:
    """Every name `get_backend` knows here, built-in ones first."""
    others = sorted((_registered.keys() | _entry_points().keys()) - _BUILT_IN.keys())
    return (*_BUILT_IN, *others)


def default_backend() -> tuple[str, str]:
    """The backend to use where nobody chose one, and the reason in a few words."""
    refusals: list[str] = []
    for name, row in _BUILT_IN.items():
        if row.probe is None:
            return name, "; ".join(refusals) or "the only backend of this release"
        fit, why = _load(row.probe, f"backend {name!r}")()
        if fit:
            return name, why
        refusals.append(why)
    raise UsageError(f"no backend is usable here ({'; '.join(refusals)}): name one with --backend")


def choose_backend(wanted: str | None, recorded: str | None = None) -> tuple[str, str]:
    """The backend to use and why, in one phrase.

    The one asked for, else the settings', else the one `recorded` with what is gone on with, else `default_backend`.
    """
    from cooperbench import settings

    if wanted is not None:
        return wanted, "asked for"
    loaded = settings.load()
    name = loaded.text("backend")
    if name:
        return name, f"set in {loaded.origins['backend']}"
    return (recorded, "as the run was made") if recorded else default_backend()


def get_batch_evaluator(name: str = "gcp", **options: Any) -> BatchBackend:
    """A backend that judges many Jobs as one batch (its `run_jobs`), made with `options`; `evaluate` does so by itself.

    Raises:
        UsageError: no such backend, or one that judges one by one.
        MissingExtra: its optional dependencies are not installed.
    """
    from cooperbench.eval.backends.batch import BatchBackend

    backend = get_backend(name) if name in _BUILT_IN else None
    if options and isinstance(backend, BatchBackend):
        backend = _made(name, type(backend), options)
    if not isinstance(backend, BatchBackend):
        raise UsageError(f"Unknown batch evaluator {name!r}: there is gcp; evaluate() judges on any backend")
    return backend


# ---------------------------------------------------------------------------------------------- loading


def _made(name: str, factory: Callable[..., Any], given: Mapping[str, Any] | None = None) -> EvalBackend:
    """Call `factory` with the settings' table for `name` and what is `given`, and see that a backend came out."""
    if not callable(factory):
        raise UsageError(
            f"backend {name!r} is {_kind(factory)}, not a class or function that makes a backend"
        )
    # Imported here: settings ask this module for the default backend.
    from cooperbench import settings

    options = {**settings.backend_options(name, list_backends()), **(given or {})}
    try:
        backend = factory(**options)
    except CooperBenchError:
        raise
    except (Exception, SystemExit) as problem:  # the factory may be a user's
        told = f" with {', '.join(options)} from [backends.{name}] of the settings" if options else ""
        reason = f"{type(problem).__name__}: {problem}"
        raise UsageError(f"backend {name!r} could not be made{told}: {reason}") from problem
    if not callable(getattr(backend, "create_sandbox", None)):
        raise UsageError(f"backend {name!r} is not a backend: {_kind(backend)} has no create_sandbox()")
    return cast("EvalBackend", backend)


def _load_built_in(name: str, row: _BuiltIn) -> Callable[[], Any]:
    try:
        return _resolve(row.target)
    except ImportError as problem:
        if row.extra is None or isinstance(problem, MissingExtra):
            raise
        raise MissingExtra(f"backend {name!r}", row.extra) from problem


def _load(target: str, what: str) -> Callable[[], Any]:
    """The object a user's ``module:attribute`` names; every way to get it wrong is one clear line."""
    if re.fullmatch(r"[\w.]+:[\w.]+", target) is None:
        raise UsageError(f"{what} is not of the form 'package.module:Class'")
    try:
        return _resolve(target)
    except AttributeError as problem:
        raise UsageError(f"{what}: {problem}") from problem
    except (Exception, SystemExit) as problem:  # a user's module may fail in any way while it is imported
        raise UsageError(f"{what} cannot be imported: {type(problem).__name__}: {problem}") from problem


def _resolve(target: str) -> Callable[[], Any]:
    module, _, path = target.partition(":")
    found: Any = import_module(module)
    for attribute in path.split("."):
        found = getattr(found, attribute)
    return cast("Callable[[], Any]", found)


def _entry_points() -> dict[str, EntryPoint]:
    # Imported here: it costs more than all the rest of this module, and most calls never come this far.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _what_exists() -> str:
    names = ", ".join(list_backends())
    return f"there is {names}, and your own as 'package.module:Class'"


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__} object"
