"""Settings that steer how a project is built or tested, in files that hold more than those: read from a few lines of
a diff. Files that steer as a whole are `steering`'s.

Lines are read without blanks and quotes, which TOML allows around keys and their parts.
"""

from __future__ import annotations

import posixpath
import re

from cooperbench.patches import FilePatch, hunk_lines

TOOLS = (
    r"git|python[\d.]*|pip[\d.]*|pytest|py\.test|tox|uv|sh|bash|dash|ash|env|busybox|timeout|make|node|npm|npx|yarn|pnpm"
    r"|jest|vitest|go|gofmt|cargo|rustc|head|tail|grep|sed|awk|cat|tee"
)
"""Programs that runners call: a pattern for a whole name."""

_INSIGNIFICANT = re.compile(rb"[\s\"']")
_SECTION = re.compile(rb"\[+([^\]]+)\]")
_ESCAPED = re.compile(rb"[^=:]*\\[uUx]")
"""A key written in escapes."""
_REPLACED = (TOOLS + r"|_pytest|pluggy|unittest|iniconfig|coverage").encode()

_PYTHON_SECTION = re.compile(
    rb"tool[.:]pytest|pytest|tool\.coverage|build-system|.*entry.?points.*pytest"
    rb"|tool\.(?:hatch|setuptools|pdm|flit|tox|nox|uv\.sources)\b"
)
_PYTHON_SETTING = re.compile(
    rb"(?:[\w.]*\.)?(?:addopts|python_(?:files|classes|functions)|testpaths|norecursedirs|usefixtures|required_plugins"
    rb"|pythonpath|pytest11|build-backend|backend-path|cmdclass)\b|(?:.*\W)?ini_options\b|-[\w-]"
    # A package, a module or a program of the tools' names that is the tree's own, or taken from it.
    rb"|(?:.*[{,.])?(?:" + _REPLACED + rb")=[A-Za-z_./]"
    rb"|(?:.*[{,])?(?:path|git|develop|editable)=|.*@(?:file:|git\+|\.)|.*\.pth\b"
)
_CARGO_SECTION = re.compile(rb"profile\.test|test$|patch|replace|build-dependencies")
_CARGO_SETTING = re.compile(rb"(?:.*[.{,])?(?:harness|autotests|build|test|path|git)=")
_NPM_SETTING = re.compile(
    rb"(?:.*[{,])?(?:(?:pre|post)?(?:test|install|build)(?::[^:]*)?|prepare|jest|vitest|mocha|babel|testEnvironment\w*"
    rb"|setupFiles\w*|transform|moduleNameMapper|testMatch|testRegex|globalSetup|globalTeardown|reporters|preset|resolver"
    rb"|(?:test)?[rR]unner|modulePaths|moduleDirectories|snapshot\w+|(?:test|module)PathIgnorePatterns|testNamePattern"
    rb"|workspaces|overrides|resolutions|imports):|.*:(?:file|link|portal|npm):"
)
_TYPESCRIPT_SETTING = re.compile(rb"(?:.*[{,])?(?:@jest/.*|jest|vitest|mocha|expect|node:test):")
_GO_SETTING = re.compile(rb".*=>|toolchain")
_REQUIREMENT = re.compile(rb"-|.*@(?:file:|git\+|\.)|[./]|file:")
_NOTHING = re.compile(rb"(?!)")
_LONGEST = 4096

_FILES = (
    (re.compile(r"pyproject\.toml|setup\.cfg"), _PYTHON_SECTION, _PYTHON_SETTING),
    (re.compile(r"Cargo\.toml"), _CARGO_SECTION, _CARGO_SETTING),
    (re.compile(r"package\.json"), _NOTHING, _NPM_SETTING),
    (re.compile(r"[jt]sconfig\b.*\.json"), _NOTHING, _TYPESCRIPT_SETTING),
    (re.compile(r"go\.mod"), _NOTHING, _GO_SETTING),
    (re.compile(r"(?:.*[-_.])?(?:requirements|constraints)\b.*\.(?:txt|in)"), _NOTHING, _REQUIREMENT),
)


def steering_line(section: FilePatch) -> int | None:
    """The number of the first changed line that steers, or None."""
    names = [posixpath.basename(name) for name in section.names]
    known = next(((a, b) for pattern, a, b in _FILES if any(map(pattern.fullmatch, names))), None)
    if known is None:
        return None
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
            return line.number
    return None
