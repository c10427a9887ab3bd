"""Files that can steer a test run or the judge without being tested: known by name, mode, or a few lines of a diff.

Each check yields reasons; what is done about them is `integrity`. What code says is `suspicions`.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from cooperbench.patches import SUBMODULE, SYMLINK, FilePatch, added_lines, hunk_lines


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
        for kind, detail in _by_name(path, appears=section.created or path != section.old):
            yield Reason(kind, path, detail)
    yield from _by_mode(section)
    yield from _by_settings(section)


# By name.

_PYTHON = r"conftest\.py|(?:site|user)customize\.py|.*\.pth|.*\.egg-link|\.?pytest\.(?:ini|toml)|tox\.ini|\.coveragerc"
_SCRIPT = (
    r"(?:jest|vitest|vite|babel|playwright|cypress)\.(?:config|setup|workspace)\..+|karma\.conf\..+|setuptests\..+"
    r"|\.(?:babelrc|mocharc|swcrc|npmrc|yarnrc|pnp|pnpmfile)(?:\..+)?"
)
_NAMES = (
    (re.compile(_PYTHON), "steering", "is loaded or read by Python or pytest on its own"),
    (re.compile(_SCRIPT), "steering", "configures how JavaScript is installed, built or tested"),
    (re.compile(r"setup\.py|build\.rs"), "steering", "runs while the project is installed or built"),
    (re.compile(r"go\.work|rust-toolchain(?:\.toml)?"), "steering", "chooses what the tests are built with"),
    (re.compile(r"(?:runner|run_tests)\.sh"), "steering", "is named like the program that runs the tests"),
    (re.compile(r"\.gitattributes|\.gitmodules|\.gitconfig"), "git", "changes how git treats the tree"),
    (
        re.compile(r".*\.(?:so(?:\.\d+)*|pyd|dylib|dll|node|a|o|wasm|py[co]|class|jar|exe)"),
        "compiled",
        "is compiled code, which cannot be read",
    ),
)
_PLACES = (
    (re.compile(r"(?:.*/)?(?:\.git|git~1)(?:/.*)?", re.I | re.S), "git", "lies in git's own directory"),
    (re.compile(r"(?:.*/)?\.(?:husky|githooks)/.*", re.S), "git", "is a git hook"),
    (re.compile(r"(?:.*/)?\.cargo/config(?:\.toml)?", re.S), "steering", "configures cargo"),
    (re.compile(r"vendor/modules\.txt"), "steering", "makes Go build with the vendored modules"),
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
_TOOLS = re.compile(
    r"git|python[\d.]*|pip[\d.]*|pytest|py\.test|tox|uv|sh|bash|dash|ash|env|busybox|timeout|make|node|npm|npx|yarn|pnpm"
    r"|jest|vitest|go|gofmt|cargo|rustc|head|tail|grep|sed|awk|cat|tee"
)
_FRAMEWORKS = re.compile(r"(?:.*/)?(?:pytest|_pytest|pluggy)(?:\.py|/.*\.py)", re.S)
_MODULE = re.compile(r"(?:(?:src|lib|python)/)?([^/]+?)(?:\.py|/__init__\.py)")
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
}
_PLUGIN = re.compile(r"_?(?:pytest|hypothesis)_\w+")
"""Modules that pytest loads by their entry point: one of that name in the tree comes first."""


def _by_name(path: str, appears: bool) -> Iterator[tuple[str, str]]:
    name = posixpath.basename(path)
    for pattern, kind, detail in _NAMES:
        if pattern.fullmatch(name.lower()):
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
        detail = _leads_out(section.path, targets[0]) if targets else "is a link to an unknown place"
        if detail and (targets or section.created):
            yield Reason("link", section.path, detail)


def _leads_out(path: str, target: str) -> str | None:
    if target.startswith("/"):
        return "is a link out of the tree"
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target[:4096]))
    if place == ".." or place.startswith("../"):
        return "is a link out of the tree"
    return "is a link into git's own directory" if ".git" in place.lower().split("/") else None


# By settings, in files that hold more than those.

# Lines are read without blanks and quotes, which TOML allows around keys and their parts.

_INSIGNIFICANT = re.compile(rb"[\s\"']")
_SECTION = re.compile(rb"\[+([^\]]+)\]")
_ESCAPED = re.compile(rb"[^=:]*\\[uUx]")
"""A key written in escapes."""
_PYTHON_SECTION = re.compile(rb"tool[.:]pytest|pytest|tool\.coverage|build-system|.*entry.?points.*pytest")
_PYTHON_SETTING = re.compile(
    rb"(?:[\w.]*\.)?(?:addopts|python_(?:files|classes|functions)|testpaths|norecursedirs|usefixtures|required_plugins"
    rb"|pythonpath|pytest11|build-backend|backend-path|cmdclass)\b|(?:.*\W)?ini_options\b|-[\w-]"
)
_CARGO_SECTION = re.compile(rb"profile\.test|test$|patch|replace|build-dependencies")
_CARGO_SETTING = re.compile(rb"(?:.*[.{,])?(?:harness|autotests|build|test)=")
_NPM_SETTING = re.compile(
    rb"(?:.*[{,])?(?:(?:pre|post)?(?:test|install)(?::[^:]*)?|prepare|jest|vitest|mocha|babel|testEnvironment"
    rb"|setupFiles\w*|transform|moduleNameMapper|testMatch|testRegex|globalSetup|globalTeardown|reporters):"
)
_TYPESCRIPT_SETTING = re.compile(rb"(?:.*[{,])?(?:@jest/.*|jest|vitest|mocha|expect|node:test):")
_GO_SETTING = re.compile(rb".*=>|toolchain")
_NOTHING = re.compile(rb"(?!)")
_LONGEST = 4096
_SETTINGS = {
    "pyproject.toml": (_PYTHON_SECTION, _PYTHON_SETTING),
    "setup.cfg": (_PYTHON_SECTION, _PYTHON_SETTING),
    "Cargo.toml": (_CARGO_SECTION, _CARGO_SETTING),
    "package.json": (_NOTHING, _NPM_SETTING),
    "tsconfig.json": (_NOTHING, _TYPESCRIPT_SETTING),
    "go.mod": (_NOTHING, _GO_SETTING),
}


def _by_settings(section: FilePatch) -> Iterator[Reason]:
    known = next((_SETTINGS[n] for n in map(posixpath.basename, section.names) if n in _SETTINGS), None)
    if known is None:
        return
    sections, settings = known
    inside = False
    for line in hunk_lines(section):
        if line.marker == b"@":
            inside = False
            continue
        text = _INSIGNIFICANT.sub(b"", line.text[:_LONGEST])
        if header := _SECTION.match(text):
            inside = sections.match(header.group(1)) is not None or b"\\" in header.group(1)
        if line.marker in b"+-" and text and (inside or settings.match(text) or _ESCAPED.match(text)):
            yield Reason("steering", section.path, "sets how the project is built or tested", line.number)
            return
