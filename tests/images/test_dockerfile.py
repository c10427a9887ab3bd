"""Dockerfiles on the embedded sandbox: what is read, what is refused by name, what is built, and built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store import dockerfile, gc

DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG BASE=host
FROM ${BASE} AS only

# as the published tasks' are
ENV GREETING="hello there" PLACE=/srv/app
ENV OLD an older way of saying it
WORKDIR $PLACE
ARG VERSION=3
RUN echo "$VERSION $GREETING" >said && \\
    # a comment between
    mkdir -p deep \\
    && touch deep/file
COPY runner.sh /usr/local/bin/
COPY data one.txt ./copied/
COPY ["one.txt", "renamed"]
RUN ["/bin/chmod", "0755", "/usr/local/bin/runner.sh"]
WORKDIR sub
ENTRYPOINT ["/usr/local/bin/runner.sh"]
CMD never
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "runner.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "two.txt").write_text("two")
    (tmp_path / "data" / "link").symlink_to("inner/two.txt")
    return tmp_path


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    backend = LocalBackend(state_dir=tmp_path_factory.mktemp("state"), build_network="none")
    yield backend
    backend.close()


def made(backend: LocalBackend) -> set[str]:
    return {entry.digest for entry in gc.entries(backend.engine().state)}


def test_what_is_built(builder: LocalBackend, context: Path) -> None:
    digest = builder.build_image("built:1", context)
    assert builder.prepare_image("built:1", None) == digest
    sandbox = builder.create_sandbox("built:1", workdir="")
    script = 'pwd; cat /srv/app/said; echo "$OLD"; runner.sh; cd ../copied; cat inner/two.txt link one.txt'
    assert sandbox.exec("sh", "-c", script).stdout_read().splitlines() == [
        "/srv/app/sub",
        "3 hello there",
        "an older way of saying it",
        "ran",
        "twotwoone",
    ]
    look = "cat ../renamed; ls ../deep; stat -c '%u %a' /usr/local/bin/runner.sh; echo ${VERSION-unset}"
    assert sandbox.exec("sh", "-c", look).stdout_read().splitlines() == ["onefile", "0 755", "unset"]
    sandbox.terminate()


def test_arguments(builder: LocalBackend, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG OUTER=o\nARG HIDDEN=h\nFROM host\nARG OUTER\nARG NONE\nARG BOTH=arg\nENV BOTH=env\n"
        "RUN echo ${OUTER-unset} ${HIDDEN-unset} ${NONE-unset} $BOTH >/said\n"
    )
    builder.build_image("arguments:1", tmp_path)
    sandbox = builder.create_sandbox("arguments:1")
    assert sandbox.exec("cat", "/said").stdout == b"o unset unset env\n"
    sandbox.terminate()


def test_steps_are_built_once(builder: LocalBackend, context: Path) -> None:
    first = builder.build_image("once:1", context)
    before = made(builder)
    assert builder.build_image("once:2", context) == first
    assert made(builder) == before
    (context / "one.txt").write_text("another")
    second = builder.build_image("once:1", context)
    # The steps before the COPY are found: three COPY and RUN after it, the WORKDIR and the image are new.
    assert second != first
    assert len(made(builder) - before) == 5


def test_a_step_that_fails_says_so(builder: LocalBackend, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM host\nRUN echo early\nRUN echo it broke >&2; exit 3\n")
    with pytest.raises(SandboxStartError, match=r"Dockerfile:3: RUN ended with exit code 3: it broke"):
        builder.build_image("failing:1", context)
    assert builder.engine().images.digest("failing:1") is None


def test_pruning_takes_the_steps_and_leaves_the_image(builder: LocalBackend, context: Path) -> None:
    digest = builder.build_image("kept:1", context)
    engine = builder.engine()
    gc.prune(engine.state, engine.claims)
    sandbox = builder.create_sandbox("kept:1")
    assert sandbox.exec("runner.sh").stdout == b"ran\n"
    sandbox.terminate()
    assert builder.build_image("kept:1", context) == digest


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("FROM a\nADD x /", "the instruction ADD"),
        ("FROM a\nUSER me", "the instruction USER"),
        ("FROM a\nVOLUME /x", "the instruction VOLUME"),
        ("FROM a AS b\nFROM c", "several stages"),
        ("FROM a\nCOPY --from=b /x /y", "COPY --from"),
        ("FROM a\nCOPY --chown=1 x y", "COPY --chown"),
        ("FROM a\nRUN --mount=type=cache,target=/x true", "RUN --mount"),
        ("FROM --platform=linux/arm64 a", "FROM --platform"),
        ("FROM a\nRUN <<EOF\ntrue\nEOF", "a here-document in RUN"),
        ("FROM a\nCOPY <<-'X' /y\nX", "a here-document in COPY"),
        ("# escape=`\nFROM a", "the directive escape=`"),
        ("FROM scratch", "FROM scratch"),
    ],
)
def test_what_is_refused_is_named(builder: LocalBackend, tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(
        UsageError, match=f"{named}.*: the local backend does not build that; build it with an engine"
    ):
        builder.build_image("refused:1", tmp_path)


def test_a_list_of_files_to_leave_out_is_refused(builder: LocalBackend, context: Path) -> None:
    (context / ".dockerignore").write_text("data")
    with pytest.raises(UsageError, match="dockerignore"):
        builder.build_image("refused:1", context)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no FROM"),
        ("RUN true\nFROM a", "RUN before FROM"),
        ("FROM host\nRUN", "RUN of nothing"),
        ("FROM host\nCOPY ../x /", "outside the context"),
        ("FROM host\nCOPY nothing /", "does not have"),
        ("FROM host\nCOPY nothing*.txt /", "does not have"),
        ("FROM host\nCOPY one.txt", "needs a source"),
        ("FROM host\nCOPY one.txt runner.sh /file", "ends in a slash"),
        ("FROM host\nENV =x", "NAME=value"),
        ("FROM host\nENV A='x", "not closed"),
        ("FROM host extra", "FROM needs an image"),
        ("FROM host\nCOPY out/passwd /", "leads outside"),
    ],
)
def test_mistakes(builder: LocalBackend, context: Path, text: str, problem: str) -> None:
    (context / "out").symlink_to("/etc")
    (context / "Dockerfile").write_text(text)
    with pytest.raises(UsageError, match=problem) as caught:
        builder.build_image("mistaken:1", context)
    assert "Dockerfile" in str(caught.value)


def test_no_dockerfile(builder: LocalBackend, tmp_path: Path) -> None:
    with pytest.raises(SandboxStartError, match="to build it from"):
        builder.build_image("none:1", tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b", ["a", "b"]),
        ("'a b' \"c $X\" '$X'", ["a b", "c 1", "$X"]),
        (r"a\ b \$X \"q\"", ["a b", "$X", '"q"']),
        ("${X} ${N:-d} ${X:+y} ${N:+n}z $N.", ["1", "d", "y", "z", "."]),
        ("''", [""]),
        ("a'b'\"c\"", ["abc"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert dockerfile.words(text, {"X": "1"}) == expected
