"""Trace context: what is taken from others, what is handed on, ids that need no memory."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain import trace
from ostler.domain.trace import (
    Trace,
    attempt_span,
    call_span,
    own_trace,
    parse,
    span_id,
    task_span,
    traceparent,
    try_span,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEX = st.text("0123456789abcdef", min_size=16, max_size=16).filter(lambda text: int(text, 16) > 0)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f" 00-{TRACE}-{SPAN}-01 ", True),
        (f"01-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_header_of_the_standard_is_understood(text: str, sampled: bool) -> None:
    """Later versions too, as far as this one knows them."""
    assert parse(text) == Trace(trace_id=TRACE, parent_id=SPAN, sampled=sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_a_broken_header_is_as_good_as_none(text: str) -> None:
    """The standard asks for a new trace then, not for an error."""
    assert parse(text) is None


@given(HEX, HEX, st.booleans())
def test_what_is_handed_on_is_understood(half: str, span: str, sampled: bool) -> None:
    """Written and read it is the same trace, with the span as the parent."""
    one = Trace(trace_id=half + half, sampled=sampled)

    assert parse(traceparent(one, span)) == Trace(trace_id=half + half, parent_id=span, sampled=sampled)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 50))
def test_ids_follow_from_what_they_are_about(one: str, other: str, number: int) -> None:
    """Equal things have equal ids on every machine, different things different ones, and none is zero."""
    made = {
        task_span(one),
        attempt_span(one, number),
        attempt_span(one, number + 1),
        call_span(one),
        try_span(one, number),
    }
    assert len(made) == 5
    assert all(len(text) == 16 and int(text, 16) for text in made)
    assert (task_span(one) == task_span(other)) is (one == other)
    assert own_trace(one) == own_trace(one)
    assert (own_trace(one).trace_id == own_trace(other).trace_id) is (one == other)


def test_parts_of_a_name_do_not_run_together() -> None:
    """`a` and `bc` is another thing than `ab` and `c`."""
    assert span_id("a", "bc") != span_id("ab", "c")


def test_the_examples_of_the_docs_hold() -> None:
    """Doctests of the module."""
    assert doctest.testmod(trace).failed == 0
