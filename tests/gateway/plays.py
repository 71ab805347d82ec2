"""What an upstream can play: good answers and each way to fail, the same names for every format.

A play is called with a request and the upstream's dialect and gives the steps; makers here return plays. Faults inside
a stream have their counterpart for a whole answer: a cut one is shorter than promised, a malformed one is half a JSON
text, a stalled one stops after its head. A missing end marker and an error event exist in streams only.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from tests.gateway.dialects import AnswerDialect, Error, Said
from tests.gateway.upstream import (
    END_OF_CHUNKS,
    Call,
    Ending,
    Frame,
    Held,
    Pause,
    Play,
    Step,
    body_answer,
    head,
    json_answer,
)

GOOD = Said()
SEEN = Pause(0.05)
"""Long enough for what came before a fault to be read and handed on, so that the fault does not come with it."""
RATE_LIMIT = Error(429, "rate_limit", "Rate limit reached for requests (simulated).")
QUOTA = Error(429, "quota", "You exceeded your current quota, please check your plan (simulated).")
SERVER = Error(500, "server", "The server had an error (simulated).")
UNAVAILABLE = Error(503, "server", "Service unavailable (simulated).")
CONTEXT = Error(400, "context", "This model's maximum context length is 4096 tokens, prompt is too long (simulated).")
FILTER = Error(400, "filter", "The prompt was flagged by our content policy (simulated).")
AUTH = Error(401, "auth", "Incorrect API key provided (simulated).")
PREFILL = Error(400, "invalid", "The last message must be from the user, prefill is not supported (simulated).")


def answers(said: Said = GOOD, *, first_s: float = 0.0, between_s: float = 0.0) -> Play:
    """A good answer, the first event after `first_s` and the others `between_s` apart."""

    def good(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        if not dialect.wants_stream(call.json):
            return [Pause(first_s), *json_answer(200, dialect.whole(said))]
        steps: list[Step] = [Pause(first_s), head(200, dialect.stream_type)]
        for frame in dialect.frames(said):
            steps += [Frame(frame), Pause(between_s)] if between_s else [Frame(frame)]
        return [*steps, END_OF_CHUNKS]

    return good


def held(until: threading.Event) -> Play:
    """A good answer that does not begin before somebody says so."""

    def waiting(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        return [Held(until), *answers()(call, dialect)]

    return waiting


def fails(error: Error, **headers: str) -> Play:
    """An error instead of an answer; underscores in names of headers become hyphens."""

    def failure(_call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        status, body = dialect.error(error)
        return json_answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    return failure


def reset(_call: Call, _dialect: AnswerDialect) -> Sequence[Step]:
    """The connection breaks before anything was said."""
    return [Ending.RESET]


def silent(_call: Call, _dialect: AnswerDialect) -> Sequence[Step]:
    """Nothing comes, no head either."""
    return [Ending.HANG]


def headers_only(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """A head that promises an answer, openings of the stream, and nothing of the answer."""
    if not dialect.wants_stream(call.json):
        return [head(200, "application/json"), Ending.HANG]
    opening = dialect.frames(GOOD)[: dialect.opening_frames]
    return [head(200, dialect.stream_type), *map(Frame, opening), Ending.HANG]


def slow_first(seconds: float) -> Play:
    """A good answer whose head comes at once and whose first token comes late."""

    def slow(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        if not dialect.wants_stream(call.json):
            return [Pause(seconds), *json_answer(200, dialect.whole(GOOD))]
        steps = [Frame(frame) for frame in dialect.frames(GOOD)]
        opening = dialect.opening_frames
        return [head(200, dialect.stream_type), *steps[:opening], Pause(seconds), *steps[opening:], END_OF_CHUNKS]

    return slow


def cut(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """The connection closes after two thirds."""
    return [*_part(call, dialect), SEEN, Ending.CLOSE]


def cut_by_reset(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """The connection breaks after two thirds."""
    return [*_part(call, dialect), SEEN, Ending.RESET]


def stall(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """Nothing more comes after two thirds; the connection stays."""
    return [*_part(call, dialect), Ending.HANG]


def malformed(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """One event is half a JSON text, the others follow as if nothing had been; a whole answer is half of one."""
    if not dialect.wants_stream(call.json):
        steps = json_answer(200, dialect.whole(GOOD))
        body = steps[1]
        assert isinstance(body, bytes)
        return body_answer(200, "application/json", body[: len(body) // 2])
    frames = dialect.frames(GOOD)
    middle = len(frames) // 2
    broken = [dialect.malformed_frame(), *frames[middle:]]
    begun: list[Step] = [head(200, dialect.stream_type), *map(Frame, frames[:middle])]
    return [*begun, SEEN, *map(Frame, broken), END_OF_CHUNKS]


def missing_end(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """The stream closes in good order, without the marker that says it is whole."""
    frames = dialect.frames(GOOD)[: -dialect.end_markers]
    return [head(200, dialect.stream_type), *map(Frame, frames), SEEN, END_OF_CHUNKS]


def error_in_stream(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """An error event after two thirds, then a close in good order."""
    return [*_part(call, dialect), SEEN, Frame(dialect.error_frame(SERVER)), END_OF_CHUNKS]


def empty(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """200 and nothing."""
    kind = dialect.stream_type if dialect.wants_stream(call.json) else "application/json"
    return body_answer(200, kind, b"")


def web_page(_call: Call, _dialect: AnswerDialect) -> Sequence[Step]:
    """200 and a page for people: a captive portal or a wrong address."""
    return body_answer(200, "text/html", b"<!doctype html><html><body>Welcome</body></html>")


def no_prefill(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """Refuses a request whose last turn is the assistant's; answers any other."""
    role, _ = dialect.last_turn(call.json)
    return (fails(PREFILL) if role == "assistant" else answers())(call, dialect)


def flapping(bad: Play, rounds: int) -> list[Play]:
    """Bad and good in turn, `rounds` times."""
    return [play for _ in range(rounds) for play in (bad, answers())]


def _part(call: Call, dialect: AnswerDialect) -> list[Step]:
    if not dialect.wants_stream(call.json):
        whole_head, body = json_answer(200, dialect.whole(GOOD))
        assert isinstance(body, bytes)
        return [whole_head, body[: len(body) * 2 // 3]]
    frames = dialect.frames(GOOD)
    return [head(200, dialect.stream_type), *map(Frame, frames[: len(frames) * 2 // 3])]


@dataclass(frozen=True)
class Fault:
    """A named way to fail. `streams_only`: it has no counterpart in a whole answer."""

    name: str
    play: Play
    streams_only: bool = False


FAULTS: tuple[Fault, ...] = (
    Fault("429 with Retry-After", fails(RATE_LIMIT, retry_after="2")),
    Fault("429 without Retry-After", fails(RATE_LIMIT)),
    Fault("quota", fails(QUOTA)),
    Fault("500", fails(SERVER)),
    Fault("503", fails(UNAVAILABLE)),
    Fault("reset", reset),
    Fault("silence", silent),
    Fault("head only", headers_only),
    Fault("cut", cut),
    Fault("cut by reset", cut_by_reset),
    Fault("stall", stall),
    Fault("malformed", malformed),
    Fault("missing end", missing_end, streams_only=True),
    Fault("error in stream", error_in_stream, streams_only=True),
    Fault("empty", empty),
    Fault("web page", web_page),
    Fault("context too long", fails(CONTEXT)),
    Fault("content filter", fails(FILTER)),
    Fault("auth", fails(AUTH)),
)
