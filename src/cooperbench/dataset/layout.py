"""Reads a dataset's directory into values: the published layout, and the optional `dataset.toml` at its root.

    <root>/dataset.toml                                   image names, network, recipe; every key optional
    <root>/subsets/<name>.json                            read by `selection`
    <root>/<repo>_task/task<ID>/feature<N>/{feature.md, feature.patch, tests.patch}

Files and directories of other names are nobody's business and are passed over; what looks like a part of the
layout and is not (``task_foo``, a feature without its patch) is an error that names the path and the fix.
Nothing but directory entries and `dataset.toml` is read here: patches stay on disk until somebody judges.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from cooperbench.dataset.model import Dataset, Feature, Task
from cooperbench.dataset.naming import suggestion
from cooperbench.errors import DatasetError
from cooperbench.eval.backends.base import Network, Recipe

DEFAULT_ROOT = Path("dataset")
DEFAULT_IMAGE = "cooperbench/{repo}:task{task_id}"
SETTINGS_FILE = "dataset.toml"
FEATURE_FILES = ("feature.md", "feature.patch", "tests.patch")
REPO_SUFFIX = "_task"

_ANSWERS = ("feature[0-9]*", "combined.patch")
"""In a task's directory, what no image may hold: a recipe's script does not get to see it."""

_NUMBER = "(0|[1-9][0-9]*)"
_TASK = re.compile(f"task{_NUMBER}")
_FEATURE = re.compile("feature([1-9][0-9]*)")
_PLACEHOLDERS = ("repo", "slug", "task_id")


@dataclass(frozen=True, slots=True)
class DatasetSettings:
    """What `dataset.toml` says; the defaults are those of a dataset without one."""

    image: str = DEFAULT_IMAGE
    registry: str | None = None
    network: Network | None = None
    recipe_base: str | None = None
    """None: tasks have no recipe."""
    recipe_script: str = "build.sh"
    recipe_network: Network = "none"

    def image_of(self, repo: str, task_id: int) -> str:
        """The image reference of one task."""
        slug = repo.removesuffix(REPO_SUFFIX).replace("_", "-")
        name = self.image.format(repo=repo, slug=slug, task_id=task_id)
        return f"{self.registry}/{name}" if self.registry else name


def load_dataset(root: Path | str | None = None) -> Dataset:
    """Read the dataset in `root` (default: ``./dataset``).

    Raises:
        DatasetError: there is none, or something in it is not as it should be; names the path and the fix.
    """
    directory = DEFAULT_ROOT if root is None else Path(root)
    if not directory.is_dir():
        state = "is not a directory" if directory.exists() else "does not exist"
        raise DatasetError(
            f"no dataset: {directory} {state}; run `cooperbench prepare` or name one with --dataset-dir"
        )
    settings = read_settings(directory / SETTINGS_FILE)
    tasks = {(task.repo, task.task_id): task for task in _tasks(directory, settings)}
    if not tasks:
        raise DatasetError(
            f"no dataset in {directory}: it holds no <repo>_task/task<ID> directory; "
            "run `cooperbench prepare` or name another with --dataset-dir"
        )
    return Dataset(directory, {key: tasks[key] for key in sorted(tasks)})


def _tasks(root: Path, settings: DatasetSettings) -> Iterator[Task]:
    for repo in _directories(root):
        if repo.name.endswith(REPO_SUFFIX):
            for path in _directories(repo):
                yield _read_task(repo.name, path, settings)
        elif any(_TASK.fullmatch(path.name) for path in _directories(repo)):
            raise DatasetError(
                f"{repo} holds tasks but its name does not end in {REPO_SUFFIX}; "
                f"rename it to {repo.name}{REPO_SUFFIX}"
            )


def _read_task(repo: str, path: Path, settings: DatasetSettings) -> Task:
    number = _TASK.fullmatch(path.name)
    if number is None:
        raise DatasetError(
            f"{path}: a task's directory is named task<ID>, as in task12; rename it or move it away"
        )
    task_id = int(number[1])
    features = sorted(_read_features(path), key=lambda feature: feature.number)
    if not features:
        raise DatasetError(f"{path} holds no feature<N> directory; add one or remove the task")
    return Task(
        repo=repo,
        task_id=task_id,
        path=path,
        features={feature.number: feature for feature in features},
        image=settings.image_of(repo, task_id),
        network=settings.network,
        recipe=_recipe(path, settings),
    )


def _read_features(task: Path) -> Iterator[Feature]:
    for path in _directories(task):
        if not path.name.startswith("feature"):
            continue
        number = _FEATURE.fullmatch(path.name)
        if number is None:
            raise DatasetError(
                f"{path}: a feature's directory is named feature<N>, counted from 1; "
                "rename it or move it away"
            )
        for name in FEATURE_FILES:
            _require_file(path / name)
        yield Feature(int(number[1]), path)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing; restore it (`cooperbench prepare --force` fetches the dataset anew)"
        )
    if path.stat().st_size == 0:
        raise DatasetError(
            f"{path} is empty; restore it (`cooperbench prepare --force` fetches the dataset anew)"
        )


def _recipe(task: Path, settings: DatasetSettings) -> Recipe | None:
    if settings.recipe_base is None:
        return None
    if not (task / settings.recipe_script).is_file():
        raise DatasetError(
            f"{task / settings.recipe_script} is missing; "
            f"{SETTINGS_FILE} names it as recipe.script of every task"
        )
    return Recipe(
        settings.recipe_base, task, settings.recipe_script, settings.recipe_network, without=_ANSWERS
    )


def _directories(path: Path) -> list[Path]:
    """The directories in `path` that are not hidden, in one order: of two faults always the same is named."""
    try:
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error


# ---------------------------------------------------------------------------------------------- dataset.toml


def read_settings(path: Path) -> DatasetSettings:
    """The settings in `path`, the defaults when there is no such file.

    Raises:
        DatasetError: unreadable, not TOML, an unknown key or a value that makes no sense.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return DatasetSettings()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid TOML: {error}") from error
    reader = _Table(path, content, "")
    reader.only("image", "registry", "network", "recipe")
    recipe = _Table(path, reader.table("recipe"), "recipe.")
    recipe.only("base", "script", "network")
    if reader.table("recipe") and recipe.text("base") is None:
        raise DatasetError(f'{path}: [recipe] needs base, the image to build on (as in base = "host")')
    return DatasetSettings(
        image=_template(path, reader.text("image") or DEFAULT_IMAGE),
        registry=_registry(path, reader.text("registry")),
        network=reader.network(),
        recipe_base=recipe.text("base"),
        recipe_script=_script(path, recipe.text("script") or "build.sh"),
        recipe_network=recipe.network() or "none",
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """One TOML table, read with errors that name the file and the key."""

    path: Path
    content: Mapping[str, Any]
    prefix: str

    def only(self, *known: str) -> None:
        for key in self.content:
            if key not in known:
                hint = suggestion(key, known)
                raise DatasetError(
                    f"{self.path}: unknown key {self.prefix}{key}{hint}; keys: {', '.join(known)}"
                )

    def text(self, key: str) -> str | None:
        value = self.content.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise DatasetError(f"{self.path}: {self.prefix}{key} must be a non-empty string, not {value!r}")
        return value

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise DatasetError(f"{self.path}: {key} must be a table ([{key}]), not {value!r}")
        return value

    def network(self) -> Network | None:
        value = self.text("network")
        if value is not None and value not in get_args(Network):
            words = ", ".join(get_args(Network))
            raise DatasetError(f"{self.path}: {self.prefix}network is {value!r}; it can be {words}")
        return cast("Network | None", value)


def _template(path: Path, template: str) -> str:
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DatasetError(f"{path}: image template {template!r}: {error}") from error
    for _, name, spec, conversion in pieces:
        if name is not None and (name not in _PLACEHOLDERS or spec or conversion):
            known = ", ".join(f"{{{word}}}" for word in _PLACEHOLDERS)
            raise DatasetError(
                f"{path}: image template {template!r}: unknown placeholder {{{name}}}; known: {known}"
            )
    return template


def _registry(path: Path, registry: str | None) -> str | None:
    if registry is None:
        return None
    if "://" in registry or any(c.isspace() for c in registry):
        raise DatasetError(
            f"{path}: registry is {registry!r}; write host and prefix only, as in mirror.example/prefix"
        )
    return registry.rstrip("/")


def _script(path: Path, script: str) -> str:
    if Path(script).is_absolute() or ".." in Path(script).parts:
        raise DatasetError(
            f"{path}: recipe.script is {script!r}; it names a file inside each task's directory"
        )
    return script
