"""Delivery of one answer: pace, order and faults, without a network."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ostler.simulate.clock import ScaledClock
from ostler.simulate.exchange import Sender
from ostler.simulate.faults import CallFaults, FaultKind
from ostler.simulate.generation import Delivery, StreamCut, deliver_stream, deliver_whole
from ostler.simulate.reply import Finish, Piece, PieceKind, Reply
from ostler.simulate.timing import Timing


class Recorder:
    """The server's side of a connection: what was sent, and when by the modelled clock."""

    def __init__(self, clock: ScaledClock) -> None:
        self.clock = clock
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.sent_ms: list[int] = []
        self.is_complete = False

    async def __call__(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
            return
        if message["body"]:
            self.sent_ms.append(self.clock.now_ms())
        self.body += message["body"]
        self.is_complete = not message["more_body"]


class Letters:
    """A dialect of single characters: `(` opens, `)` closes, `!` is malformed, `x` has failed."""

    media_type = "text/letters"

    def __init__(self, *, opens: bool = True) -> None:
        self._opens = opens

    def opening(self) -> bytes:
        return b"(" if self._opens else b""

    def piece(self, piece: Piece) -> bytes:
        return piece.text.encode()

    def malformed(self) -> bytes:
        return b"!"

    def failed(self) -> bytes:
        return b"x"

    def closing(self, reply: Reply, timing: Timing) -> bytes:
        return b")"

    def whole(self, reply: Reply, timing: Timing) -> object:
        return reply.content


REPLY = Reply(
    pieces=tuple(Piece(kind=PieceKind.CONTENT, tokens=1, text=letter) for letter in "abcde"), finish=Finish.STOP
)
EMPTY = Reply(pieces=(), finish=Finish.STOP)


def plan(clock: ScaledClock, prefill_ms: int = 0, decode_ms: int = 0) -> Timing:
    now_ms = clock.now_ms()
    return Timing(
        submitted_ms=now_ms, attached_ms=now_ms, started_ms=now_ms, prefill_ms=prefill_ms, decode_ms=decode_ms
    )


def delivery(reply: Reply = REPLY, *, opens: bool = True, **faults: Any) -> Delivery:  # noqa: ANN401
    return Delivery(
        reply=reply, encoder=Letters(opens=opens), faults=CallFaults(**faults), headers={"x-request-id": "r"}
    )


async def stream(what: Delivery) -> Recorder:
    """What is sent at once, a cut included."""
    clock = ScaledClock(1000)
    recorder = Recorder(clock)
    try:
        await deliver_stream(Sender(recorder), what, plan(clock), clock)
    except StreamCut:
        return recorder
    return recorder


async def test_an_answer_is_opened_written_and_closed() -> None:
    """With its headers, in order, to a proper end."""
    sent = await stream(delivery())

    assert (sent.status, sent.body, sent.is_complete) == (200, b"(abcde)", True)
    assert sent.headers == {b"content-type": b"text/letters", b"x-request-id": b"r"}


@pytest.mark.parametrize(
    ("kind", "after", "body", "is_complete"),
    [
        (FaultKind.CUT_STREAM, 0, b"(", False),
        (FaultKind.CUT_STREAM, 2, b"(ab", False),
        (FaultKind.CUT_STREAM, 99, b"(abcde", False),
        (FaultKind.MALFORMED_CHUNK, 0, b"(!abcde)", True),
        (FaultKind.MALFORMED_CHUNK, 3, b"(abc!de)", True),
        (FaultKind.MALFORMED_CHUNK, 99, b"(abcde!)", True),
        (FaultKind.STREAM_ERROR, 0, b"(x", True),
        (FaultKind.STREAM_ERROR, 4, b"(abcdx", True),
        (FaultKind.STREAM_ERROR, 99, b"(abcdex", True),
    ],
)
async def test_a_fault_strikes_after_exactly_so_many_tokens(
    kind: FaultKind, after: int, body: bytes, is_complete: bool
) -> None:
    """One beyond the answer strikes before its end: a stream that is struck is never whole."""
    sent = await stream(delivery(in_stream=((after, kind),)))

    assert (sent.body, sent.is_complete) == (body, is_complete)


async def test_several_faults_strike_in_turn() -> None:
    """Each at its place, until one ends the stream."""
    faults = ((1, FaultKind.MALFORMED_CHUNK), (3, FaultKind.STREAM_ERROR), (4, FaultKind.MALFORMED_CHUNK))

    assert (await stream(delivery(in_stream=faults))).body == b"(a!bcx"


async def test_a_missing_end_is_still_a_proper_end_of_the_body() -> None:
    """Only the dialect's own marker is left out."""
    sent = await stream(delivery(missing_end=True))

    assert (sent.body, sent.is_complete) == (b"(abcde", True)


async def test_an_empty_answer_has_a_beginning_and_an_end() -> None:
    """Faults strike it between the two."""
    assert (await stream(delivery(EMPTY))).body == b"()"
    assert (await stream(delivery(EMPTY, in_stream=((5, FaultKind.CUT_STREAM),)))).body == b"("


@pytest.mark.parametrize("after", [0, 2])
async def test_a_stall_lasts_until_the_connection_ends(after: int) -> None:
    """What came before is there, nothing more comes."""
    clock = ScaledClock(1000)
    recorder = Recorder(clock)
    stalled = asyncio.ensure_future(
        deliver_stream(Sender(recorder), delivery(in_stream=((after, FaultKind.STALL),)), plan(clock), clock)
    )
    for _ in range(50):
        await asyncio.sleep(0)

    assert not stalled.done()
    assert recorder.body == b"(abcde"[: after + 1]
    stalled.cancel()
    await asyncio.gather(stalled, return_exceptions=True)
    assert not recorder.is_complete


@pytest.mark.parametrize(("opens", "first_ms"), [(True, 1000), (False, 1200)])
async def test_tokens_are_sent_when_they_are_due(opens: bool, first_ms: int) -> None:
    """An opening after the prompt, a token each step later, the end with the last; never early."""
    clock = ScaledClock(100)
    recorder, timing = Recorder(clock), plan(clock, prefill_ms=1000, decode_ms=1000)

    await deliver_stream(Sender(recorder), delivery(opens=opens), timing, clock)

    due = [timing.started_ms + first_ms] + [timing.prefilled_ms + 200 * token for token in range(2 - opens, 6)]
    assert len(recorder.sent_ms) == len(due) + 1
    assert all(sent_ms >= due_ms for sent_ms, due_ms in zip(recorder.sent_ms, due, strict=False))
    assert recorder.sent_ms[-1] >= timing.ends_ms


async def whole(what: Delivery, decode_ms: int = 0) -> Recorder:
    clock = ScaledClock(1000)
    recorder = Recorder(clock)
    try:
        await deliver_whole(Sender(recorder), what, plan(clock, decode_ms=decode_ms), clock)
    except StreamCut:
        return recorder
    return recorder


async def test_a_whole_answer_comes_at_its_end() -> None:
    """As one JSON body of the length its header says."""
    sent = await whole(delivery(), decode_ms=5000)

    assert msgspec.json.decode(sent.body) == "abcde"
    assert sent.headers[b"content-length"] == str(len(sent.body)).encode()
    assert (sent.headers[b"content-type"], sent.headers[b"x-request-id"]) == (b"application/json", b"r")


async def test_a_cut_whole_answer_is_shorter_than_promised() -> None:
    """And has no proper end."""
    sent = await whole(delivery(in_stream=((0, FaultKind.CUT_STREAM),)))

    assert len(sent.body) < int(sent.headers[b"content-length"])
    assert not sent.is_complete


async def test_a_malformed_whole_answer_is_complete_and_no_json() -> None:
    """Its length is right."""
    sent = await whole(delivery(in_stream=((0, FaultKind.MALFORMED_CHUNK),)))

    assert len(sent.body) == int(sent.headers[b"content-length"])
    assert sent.is_complete
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(sent.body)


@pytest.mark.parametrize("faults", [{"missing_end": True}, {"in_stream": ((1, FaultKind.STREAM_ERROR),)}])
async def test_faults_of_streams_only_leave_a_whole_answer_alone(faults: dict[str, Any]) -> None:
    """It has no end marker to miss and no half-way."""
    assert msgspec.json.decode((await whole(delivery(**faults))).body) == "abcde"
