"""Lines and events from chunks: the cut between chunks never shows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.wire.framing import LineSplitter, LineTooLongError, SseEvent, SseParser


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in pieces, cut at these positions."""
    marks = sorted({mark % (len(data) + 1) for mark in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


@given(data=st.binary(max_size=200).map(lambda b: b.replace(b"\r", b"\n")), at=st.lists(st.integers(0, 300)))
def test_lines_do_not_depend_on_chunks(data: bytes, at: list[int]) -> None:
    """However the bytes are cut, the same lines come out and nothing is lost."""
    splitter = LineSplitter()
    lines = [line for chunk in cut(data, at) for line in splitter.feed(chunk)]

    assert b"\n".join([*lines, splitter.rest()]) == data


def test_a_line_end_split_between_chunks_is_one_line_end() -> None:
    """CR and LF may arrive in different chunks."""
    splitter = LineSplitter()

    assert splitter.feed(b"one\r") == []
    assert splitter.feed(b"\ntwo\r\n") == [b"one", b"two"]


def test_a_line_of_several_megabytes_is_no_problem() -> None:
    """Long tool calls exceed the line limits of HTTP clients; here they are whole."""
    splitter = LineSplitter()
    for _ in range(64):
        assert splitter.feed(b"x" * 65_536) == []

    assert [len(line) for line in splitter.feed(b"\n")] == [64 * 65_536]


def test_an_open_line_can_be_looked_at_and_stays() -> None:
    """What came of it is shown as long as it is short; nothing is taken away."""
    splitter = LineSplitter()
    splitter.feed(b"one\ntw")
    splitter.feed(b"o")

    assert splitter.pending() == b"two"
    assert splitter.pending(limit_bytes=2) == b""
    assert splitter.feed(b"\n") == [b"two"]
    assert splitter.pending() == b""


def test_a_peer_without_line_ends_is_stopped_at_the_limit() -> None:
    """Memory is bounded even when the stream is not what it claims to be."""
    splitter = LineSplitter(limit_bytes=10)
    splitter.feed(b"12345678\nabcdefgh")

    with pytest.raises(LineTooLongError, match="10 bytes"):
        splitter.feed(b"ijk")


EVENTS = (
    b': comment\r\nevent: delta\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    b"id: 7\ndata:tight\n\n\nevent: lonely\n\ndata: [DONE]\n\n"
)
EXPECTED = [SseEvent("delta", b'{"a":\n1}'), SseEvent("", b"tight"), SseEvent("", b"[DONE]")]


@given(at=st.lists(st.integers(0, 300)))
def test_events_do_not_depend_on_chunks(at: list[int]) -> None:
    """Names, several data lines, comments and empty events are understood at every cut."""
    parser = SseParser()

    assert [event for chunk in cut(EVENTS, at) for event in parser.feed(chunk)] == EXPECTED


def test_a_last_event_without_its_blank_line_is_given_at_the_end() -> None:
    """Some servers close right after the last line."""
    parser = SseParser()
    parser.feed(b"data: x\n\ndata: [DONE]")

    assert parser.end() == SseEvent("", b"[DONE]")
    assert parser.end() is None


def test_a_byte_order_mark_is_not_part_of_the_first_field() -> None:
    """The format allows one at the start of the stream."""
    assert SseParser().feed(b"\xef\xbb\xbfdata: x\n\n") == [SseEvent("", b"x")]
