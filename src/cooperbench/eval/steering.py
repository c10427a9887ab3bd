"""Files that can steer a test run or the judge without being tested: known by name, mode, or a few lines of a diff.

Each check yields reasons; what is done about them is `integrity`. What code says is `suspicions`, what a setting in a
project's own file does is `manifests`.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cooperbench.eval.manifests import TOOLS, steering_line
from cooperbench.patches import SUBMODULE, SYMLINK, FilePatch, added_lines


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a file is one of these."""

    kind: str
    path: str
    detail: str
    line: int | None = None


def reasons(section: FilePatch) -> Iterator[Reason]:
    """Everything about one file's patch that could steer."""
    for path in section.names:
        appears = section.created or path != section.old
        # A link can stand for a directory, and then has its files.
        places = (path, f"{path}/__init__.py", f"{path}/config") if section.mode == SYMLINK else (path,)
        for kind, detail in (found for place in places for found in _by_name(place, appears)):
            yield Reason(kind, path, detail)
    yield from _by_mode(section)
    yield from _by_form(section)
    if (line := steering_line(section)) is not None:
        yield Reason("steering", section.path, "sets how the project is built or tested", line)


# By name.

_PYTHON = (
    r"conftest\.py|(?:site|user)customize\.py|.*\.pth|.*\.egg-link|\.?pytest\.(?:ini|toml)|tox\.(?:ini|toml)|\.coveragerc"
    r"|pip\.conf|\.pydistutils\.cfg|(?:uv|hatch|pixi)\.toml|(?:hatch|pdm)_build\.py|noxfile\.py|\.python-version"
)
_SCRIPT = (
    r"(?:jest|vitest|vite|babel|playwright|cypress|ava|wtr|web-test-runner)\.(?:config|setup|workspace|preset)\..+"
    r"|karma\.conf\..+|(?:jest|vitest|test|tests)[-_.]?(?:setup|preset|environment|resolver|transform(?:er)?|globals?)\..+"
    r"|(?:global[-_.]?)?setup[-_.]?(?:jest|vitest|tests?)\..+|bunfig\.toml|pnpm-workspace\.yaml|deno\.jsonc?"
    r"|\.(?:babelrc|mocharc|swcrc|npmrc|yarnrc|pnp|pnpmfile|taprc|nycrc|c8rc)(?:\..+)?"
)
_SHELL = r"(?:runner|run_tests)\.sh|(?:.*[-_.])?tests?(?:[-_.].*)?\.(?:sh|bash|mk)"
_NAMES = (
    (re.compile(_PYTHON), "steering", "is loaded or read by Python or its tools on its own"),
    (re.compile(_SCRIPT), "steering", "configures how JavaScript is installed, built or tested"),
    (
        re.compile(r"setup\.py|build\.rs|meson\.build"),
        "steering",
        "runs while the project is installed or built",
    ),
    (re.compile(r"(?:gnu)?makefile|justfile|taskfile\.ya?ml"), "steering", "says what make and the like run"),
    (
        re.compile(r"go\.work|rust-toolchain(?:\.toml)?|\.(?:nvmrc|node-version|tool-versions)"),
        "steering",
        "chooses what the tests are built with",
    ),
    (re.compile(_SHELL), "steering", "is named like the program that runs the tests"),
    (
        re.compile(r"\.gitattributes|\.gitmodules|\.gitconfig|\.lfsconfig"),
        "git",
        "changes how git treats the tree",
    ),
    (
        re.compile(r".*\.(?:so(?:\.\d+)*|pyd|dylib|dll|node|a|o|wasm|py[co]|class|jar|exe|whl|egg|pyz)"),
        "compiled",
        "is compiled code, which cannot be read",
    ),
)
_PLACES = (
    (re.compile(r"(?:.*/)?(?:\.git|git~1)(?:/.*)?", re.I | re.S), "git", "lies in git's own directory"),
    (re.compile(r"(?:.*/)?\.(?:husky|githooks)/.*", re.S), "git", "is a git hook"),
    (re.compile(r"(?:.*/)?\.cargo/config(?:\.toml)?", re.S), "steering", "configures cargo"),
    (re.compile(r"vendor/modules\.txt"), "steering", "makes Go build with the vendored modules"),
    (re.compile(r"(?:.*/)?jest/.*\.[cm]?[jt]sx?", re.S), "steering", "configures how JavaScript is tested"),
    (
        re.compile(r"(?:.*/)?(?:vendor/[^/]+\.[^/]+|_vendor)/.*", re.S),
        "shadow",
        "replaces a package that comes with the project",
    ),
    (
        re.compile(r"(?:.*/)?(?:node_modules|site-packages|dist-packages)/.*", re.S),
        "shadow",
        "replaces an installed package",
    ),
    (
        re.compile(r"(?:.*/)?[^/]+\.(?:dist|egg)-info/.*", re.S),
        "shadow",
        "pretends to be an installed package",
    ),
    (re.compile(r"(?:\.\.)?/.*|\.\.", re.S), "outside", "lies outside the tree"),
)
_TOOLS = re.compile(TOOLS)
_FRAMEWORKS = re.compile(r"(?:.*/)?(?:pytest|_pytest|pluggy)(?:\.py|/.*\.py)", re.S)
# Below directories that can be no packages, or are not meant to be: where a search for modules may begin.
_MODULE = re.compile(
    r"(?:(?:src|libs?|python|packages|projects|[^/]*-[^/]*)/)*([^/]+?)(?:\.py|/__init__\.py)"
)
_SHADOWED = sys.stdlib_module_names | {
    "pytest",
    "_pytest",
    "pluggy",
    "iniconfig",
    "py",
    "hypothesis",
    "nose",
    "xdist",
    *("packaging", "pygments", "colorama", "exceptiongroup", "tomli", "attr", "attrs"),
    *("anyio", "coverage", "execnet", "typeguard", "setuptools", "pkg_resources", "pip"),
    *(
        "mock",
        "numpy",
        "pandas",
        "freezegun",
        "time_machine",
        "responses",
        "requests_mock",
        "respx",
        "vcr",
        "trio",
    ),
    *("testfixtures", "dirty_equals", "inline_snapshot", "syrupy", "faker", "parameterized", "ddt", "sybil"),
}
"""Modules that a test run loads before the code under test, or takes what it expects from."""
_PLUGIN = re.compile(r"_?(?:pytest|hypothesis)_\w+")
"""Modules that pytest loads by their entry point: one of that name in the tree comes first."""


@lru_cache(maxsize=512)
def _by_name(path: str, appears: bool) -> tuple[tuple[str, str], ...]:
    """Remembered: the patches of a task touch the same files over and over."""
    return tuple(_kinds(path, appears))


def _kinds(path: str, appears: bool) -> Iterator[tuple[str, str]]:
    name = posixpath.basename(path)
    lower = name.lower()
    for pattern, kind, detail in _NAMES:
        if pattern.fullmatch(lower):
            yield kind, detail
    for pattern, kind, detail in _PLACES:
        if pattern.fullmatch(path):
            yield kind, detail
    if not appears:
        return
    if _TOOLS.fullmatch(name):
        yield "tool", "is named like a program that runs the tests"
    module = _MODULE.fullmatch(path)
    if _FRAMEWORKS.fullmatch(path) or (module and _is_shadow(module.group(1))):
        yield "shadow", "takes the place of a module the tests import"


def _is_shadow(module: str) -> bool:
    return module in _SHADOWED or _PLUGIN.fullmatch(module) is not None


# By mode.


def _by_mode(section: FilePatch) -> Iterator[Reason]:
    if section.new is None:
        return
    if section.mode == SUBMODULE:
        yield Reason("git", section.path, "is a submodule: its contents are not in the patch")
    elif section.mode == SYMLINK:
        targets = [line.text.decode("utf-8", "backslashreplace") for line in added_lines(section)]
        detail = _leads_astray(section.path, targets[0]) if targets else "is a link to an unknown place"
        if detail and (targets or section.created):
            yield Reason("link", section.path, detail)


def _leads_astray(path: str, target: str) -> str | None:
    code = _CODE_NAME.fullmatch(path)
    if code and posixpath.splitext(target)[1] != code.group(1):
        return "is code that lies in a file of another kind"
    return _leads_out(path, target)


def _leads_out(path: str, target: str) -> str | None:
    if target.startswith("/"):
        return "is a link out of the tree"
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target[:4096]))
    if place == ".." or place.startswith("../"):
        return "is a link out of the tree"
    return "is a link into git's own directory" if ".git" in place.lower().split("/") else None


# By form.

_CODE_NAME = re.compile(
    r".*(\.(?:pyi?|pyx|sh|bash|go|rs|c|h|cc|cpp|rb|java|[cm]?[jt]sx?|toml|json|cfg|ini|ya?ml))", re.I | re.S
)
_BINARY = re.compile(rb"^(?:GIT binary patch|Binary files .* differ)\r?$", re.MULTILINE)


def _by_form(section: FilePatch) -> Iterator[Reason]:
    """Some languages take a file with zero bytes in it, and git shows no line of such a one."""
    if section.new is None or section.mode in (SYMLINK, SUBMODULE):
        return
    if _CODE_NAME.fullmatch(section.path) and _BINARY.search(section.raw):
        yield Reason(
            "compiled", section.path, "is code in a file that git holds for binary: it cannot be read"
        )
