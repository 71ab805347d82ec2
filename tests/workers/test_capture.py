"""Tests of bounded output."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.workers.capture import Capture

PIECES = st.lists(st.binary(max_size=40), max_size=30)


def captured(*pieces: bytes, limit_bytes: int = 64) -> Capture:
    capture = Capture(limit_bytes)
    for piece in pieces:
        capture.feed(piece)
    return capture


def test_short_output_is_kept_whole() -> None:
    """Output below the limit is returned as it came."""
    capture = captured("grün\n".encode(), b"ok")

    assert capture.text() == "grün\nok"
    assert capture.total_bytes == 8


def test_long_output_keeps_its_beginning_and_its_end() -> None:
    """What does not fit is cut from the middle, and the number of bytes that are missing is said."""
    capture = captured(b"a" * 32, b"b" * 1000, b"c" * 32, limit_bytes=64)

    assert capture.text() == "a" * 32 + "\n[... 1000 bytes cut ...]\n" + "c" * 32
    assert capture.total_bytes == 1064


def test_a_character_is_not_torn_by_the_cut() -> None:
    """Where the cut falls into a character, the whole character is dropped instead of shown as rubbish."""
    capture = captured("é".encode() * 100, limit_bytes=10)

    assert "\ufffd" not in capture.text()
    assert capture.text().startswith("éé\n[")


def test_binary_output_becomes_text() -> None:
    """Bytes that are no text, and NUL which no database stores, are shown as replacement characters."""
    assert captured(b"\xff\x00ok").text() == "\ufffd\ufffdok"


def test_the_newest_characters_are_shown() -> None:
    """The end is the end of what came, also when it lies across the place where keeping changes."""
    assert captured(b"one two ", b"three", limit_bytes=16).end(9) == "two three"
    assert captured(b"x" * 5000 + "fünf".encode(), limit_bytes=64).end(4) == "fünf"
    assert captured(b"abc").end(0) == ""


@given(pieces=PIECES, limit_bytes=st.integers(min_value=0, max_value=100))
def test_memory_is_bounded_and_nothing_is_invented(pieces: list[bytes], limit_bytes: int) -> None:
    """However output comes in pieces: everything is counted, at most the limit is kept, and what is kept is its
    beginning and its end.
    """
    whole = b"".join(pieces)
    capture = captured(*pieces, limit_bytes=limit_bytes)

    head_bytes, tail_bytes = limit_bytes - limit_bytes // 2, limit_bytes // 2
    assert capture.total_bytes == len(whole)
    assert len(capture._head) + len(capture._tail) <= limit_bytes + tail_bytes
    if len(whole) <= limit_bytes:
        assert capture.text() == whole.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    else:
        head, marker, tail = capture.text().partition(f"\n[... {len(whole) - limit_bytes} bytes cut ...]\n")
        assert marker
        assert len(head) <= head_bytes
        assert len(tail) <= tail_bytes


@given(text=st.text(max_size=60), limit_bytes=st.integers(min_value=2, max_value=60), count=st.integers(0, 20))
def test_the_end_is_the_end_of_the_text(text: str, limit_bytes: int, count: int) -> None:
    """The shown end is the end of the whole output, as far as it was kept."""
    end = captured(text.encode(), limit_bytes=limit_bytes).end(count)

    assert len(end) <= count
    assert text.replace("\x00", "\ufffd").endswith(end)


def test_what_nobody_read_is_counted_as_cut() -> None:
    """Bytes of the middle that were gone before they could be read belong to what is missing."""
    capture = captured(b"a" * 32, b"b" * 100, limit_bytes=64)
    capture.skip(900)
    capture.feed(b"c" * 40)

    assert capture.text() == "a" * 32 + "\n[... 1008 bytes cut ...]\n" + "c" * 32
    assert (capture.total_bytes, capture.end(4)) == (1072, "cccc")
