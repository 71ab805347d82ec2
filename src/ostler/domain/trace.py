"""Where a piece of work stands in a trace: W3C trace context, and ids that are derived instead of kept.

The id of a span follows from what it is about (a task, an attempt, a call), so nothing has to be remembered: a hub that
starts again continues the trace of a task, and a worker on another machine names the right parent. The id of a trace is
that of the caller's `traceparent`, or follows from the task or call.
"""

import hashlib
import re

import msgspec

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace to be part of. `parent_id`: the span that asked for the work; empty = nobody's."""

    trace_id: str
    parent_id: str = ""
    sampled: bool = True


def parse(text: str) -> Trace | None:
    """A `traceparent` header; `None` for one that is broken, which is as good as none.

    >>> parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").parent_id
    'b7ad6b7169203331'
    >>> parse("00-00000000000000000000000000000000-b7ad6b7169203331-01") is None
    True
    """
    match = _PARENT.fullmatch(text.strip())
    if match is None:
        return None
    version, trace_id, parent_id, flags = match.groups()
    exact = version == "00" and len(text.strip()) != len("00--" + trace_id + parent_id + "-00")
    if version == "ff" or exact or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return Trace(trace_id=trace_id, parent_id=parent_id, sampled=bool(int(flags, 16) & _SAMPLED))


def traceparent(trace: Trace, span_id: str) -> str:
    """What is handed on by a span of a trace.

    >>> traceparent(Trace(trace_id="0af7651916cd43dd8448eb211c80319c"), "b7ad6b7169203331")
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    """
    return f"00-{trace.trace_id}-{span_id}-{int(trace.sampled):02x}"


def own_trace(name: str) -> Trace:
    """The trace of work that nobody else traces, from its name."""
    return Trace(trace_id=hashlib.blake2b(f"trace {name}".encode(), digest_size=16).hexdigest())


def span_id(*parts: str | int) -> str:
    """The id of the span about something, from what it is about: the same wherever it is asked."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def task_span(task_id: str) -> str:
    """The span of a task as a whole."""
    return span_id("task", task_id)


def attempt_span(task_id: str, generation: int) -> str:
    """The span of an attempt."""
    return span_id("attempt", task_id, generation)


def call_span(call_id: str) -> str:
    """The span of a live call as a whole."""
    return span_id("call", call_id)


def try_span(call_id: str, number: int) -> str:
    """The span of one attempt of a live call, numbered from 1."""
    return span_id("try", call_id, number)
