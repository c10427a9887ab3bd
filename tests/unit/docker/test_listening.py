"""Reading a command's output from between its marks, whatever way the bytes come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cooperbench.eval.backends.docker.listening import Capture, Listening, Tail
from cooperbench.eval.backends.docker.stream import Stream

WORD = "0123456789abcdef"


def _pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(content)) for cut in cuts})
    return [content[a:b] for a, b in zip([0, *places], [*places, len(content)], strict=True)]


@given(st.binary(max_size=300), st.binary(max_size=300), st.lists(st.integers(0, 700), max_size=20))
def test_exactly_what_is_between_the_marks(before: bytes, said: bytes, cuts: list[int]) -> None:
    capture = Capture(WORD.encode(), 10_000)
    whole = before + f"{WORD}</proc/1 /proc/7\n".encode() + said + f"{WORD}>3 free\nrest".encode()
    for piece in _pieces(whole, cuts):
        capture.feed(piece)
    assert (capture.opening, capture.closing) == (b"/proc/1 /proc/7", b"3 free")
    assert capture.content() == said
    assert not capture.truncated


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=20))
def test_what_was_said_so_far(said: bytes, cuts: list[int]) -> None:
    capture = Capture(WORD.encode(), 10_000)
    for piece in _pieces(f"{WORD}<\n".encode() + said, cuts):
        capture.feed(piece)
    assert capture.closing is None
    assert capture.content() == said


@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_a_tail_is_the_end_under_a_line_that_says_so(pieces: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for piece in pieces:
        tail.add(piece)
    whole = b"".join(pieces)
    if len(whole) <= limit:
        assert (tail.content(), tail.truncated) == (whole, False)
    else:
        head = b"[cooperbench: %d bytes left out here]\n" % (len(whole) - limit)
        assert (tail.content(), tail.truncated) == (head + whole[-limit:], True)


@given(st.binary(max_size=400))
def test_anything_may_be_said(said: bytes) -> None:
    listening = Listening(WORD, 100)
    listening.feed(1, f"{WORD}<\n{WORD}>".encode() + said + b"\n")
    listening.feed(2, said)
    listening.feed(7, said)
    assert listening.status is None or 0 <= listening.status < 1000
    assert not listening.over or listening.error.closing is not None


class Recorded:
    """A connection on which something was sent; whole or in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def settimeout(self, _: float | None) -> None:
        """Nothing is waited for."""

    def recv(self, _: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=60))),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_frames_come_apart_however_they_are_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    wire = b"".join(
        bytes([channel, 0, 0, 0]) + len(said).to_bytes(4, "big") + said for channel, said in frames
    )
    stream = Stream(Recorded(_pieces(wire, cuts)))
    heard = {1: b"", 2: b""}
    try:
        while True:
            for channel, content in stream.receive(None):
                heard[channel] += content
    except EOFError:
        pass
    for channel in heard:
        assert heard[channel] == b"".join(said for by, said in frames if by == channel)
