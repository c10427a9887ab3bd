"""A backend's table of settings, as a person wrote it, read into its frozen dataclass; and what such values must keep.

What may be written is what the dataclass says: a field's annotation is its form, so there is no second list. What only
one backend asks of its values it checks itself, in ``__post_init__``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from cooperbench.errors import UsageError
from cooperbench.settings import size

Size = Annotated[int, "size"]
"""A number of bytes, written as one or as text such as ``"512m"``."""

S = TypeVar("S")


def read(kind: Callable[..., S], table: Mapping[str, Any], backend: str) -> S:
    """The settings that `table` says, the others by default; `kind` is the dataclass they are.

    Fields are texts, yes or no, whole numbers, numbers, `Size`, ``tuple[str, ...]`` (a list of texts, or one),
    ``tuple[float, float]`` and ``tuple[int, int]`` (two numbers, or one for both), ``Mapping[str, str]``.

    Raises:
        UsageError: a key that is no field, or a value that is not of its field's form.
    """
    forms = get_type_hints(kind, include_extras=True)
    for name in table:
        if name not in forms:
            raise UsageError(f"{backend} backend: unknown setting {name!r}; there are: {', '.join(forms)}")
    return kind(
        **{name: _value(f"{backend} backend: {name}", each, forms[name]) for name, each in table.items()}
    )


def _value(name: str, value: Any, form: Any) -> Any:
    if form == Size:
        return _size(name, value)
    if get_origin(form) is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise UsageError(f"{name} is a table of texts")
        return dict(value)
    if get_origin(form) is tuple:
        first, second = get_args(form)
        return _texts(name, value) if second is ... else _two(name, value, first)
    if not _is(value, form):
        raise UsageError(f"{name} cannot be {value!r}")
    return value.strip() if isinstance(value, str) else value


def _is(value: Any, form: type) -> bool:
    """Whether it is a text, a truth or a number such as is asked for; what is true or false is no number."""
    if form is float:
        return type(value) in (int, float) and not math.isnan(value)
    return type(value) is form


def _size(name: str, value: Any) -> int:
    found = value if _is(value, int) else size(value) if isinstance(value, str) else None
    if found is None:
        raise UsageError(f"{name} is a size such as 512m or 4g, not {value!r}")
    return int(found)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) and each for each in given):
        raise UsageError(f"{name} is a list of texts, not {value!r}")
    return tuple(given)


def _two(name: str, value: Any, form: type) -> tuple[Any, Any]:
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2 or not all(_is(each, form) and math.isfinite(each) for each in pair):
        raise UsageError(f"{name} is a number or two, as in [1, 4], not {value!r}")
    return pair[0], pair[1]


# -------------------------------------------------------------------------------------------- what values must keep


def positive(settings: Any, backend: str, *names: str) -> None:
    """Refuse settings of these names that are 0 or less."""
    for name in names:
        if getattr(settings, name) <= 0:
            raise UsageError(f"{backend} backend: {name} must be positive, not {getattr(settings, name)}")


def not_negative(settings: Any, backend: str, *names: str) -> None:
    """Refuse settings of these names that are less than 0."""
    for name in names:
        if getattr(settings, name) < 0:
            raise UsageError(f"{backend} backend: {name} must not be negative: {getattr(settings, name)}")


def one_of(settings: Any, backend: str, name: str, choices: Collection[str]) -> None:
    """Refuse a setting that is none of `choices`."""
    if getattr(settings, name) not in choices:
        named = ", ".join(choice or "(empty)" for choice in choices)
        raise UsageError(f"{backend} backend: {name} {getattr(settings, name)!r}: one of {named}")
