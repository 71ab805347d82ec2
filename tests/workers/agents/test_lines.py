"""Bytes to lines to fields: whatever is sent, nothing is lost that is whole, and nothing breaks."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.workers.runners.agents.lines import LineCutter, count, fields_of, inner, items, micro_usd, text


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and b"\r" not in line)), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    """Every whole line comes once, in order; empty ones are dropped."""
    stream, cutter = b"\n".join(lines), LineCutter()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += cutter.feed(stream[begin:end])

    assert [*found, *cutter.end()] == [line for line in lines if line]
    assert cutter.dropped == 0


def test_a_line_that_is_too_long_is_dropped_and_counted() -> None:
    """The next one is read again; memory is bounded while it comes."""
    cutter = LineCutter(limit_bytes=10)

    found = [*cutter.feed(b"short\n" + b"x" * 8), *cutter.feed(b"y" * 8), *cutter.feed(b"z\nnext\r\n")]

    assert found == [b"short", b"next"]
    assert cutter.dropped == 1


@given(st.binary(max_size=60))
def test_any_line_is_an_object_or_nothing(line: bytes) -> None:
    """No input raises."""
    found = fields_of(line)

    assert found is None or isinstance(found, dict)


def test_a_line_that_is_nested_too_deep_is_nothing() -> None:
    """It must not end the worker."""
    assert fields_of(b'{"a":' * 100_000) is None


def test_fields_are_read_without_trust() -> None:
    """What is missing or of the wrong type is empty, zero or unknown; unknown money is not zero."""
    fields = {"text": 7, "count": -1, "flag": True, "cost": "1", "list": [1, {"a": 1}], "object": {"in": {"a": "b"}}}

    assert text(fields, "text") == ""
    assert (count(fields, "count"), count(fields, "flag"), count(fields, "gone"), count({"n": 2.0}, "n")) == (
        0,
        0,
        0,
        2,
    )
    assert (micro_usd(fields, "cost"), micro_usd(fields, "gone"), micro_usd({"c": 0.5}, "c")) == (None, None, 500_000)
    assert items(fields, "list") == [{"a": 1}]
    assert items(fields, "text") == []
    assert inner(fields, "object", "in") == {"a": "b"}
    assert inner(fields, "text", "in") == {}
