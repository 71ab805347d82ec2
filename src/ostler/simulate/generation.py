"""Sends one answer at the modelled pace, whole or streamed, in any dialect, with its faults.

A dialect is an `Encoder`: it turns pieces of a reply into bytes. Pacing goes by due times, not by sleeps per token, so
that a high time factor makes tokens come in bursts instead of late.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import msgspec

from ostler.simulate.clock import ScaledClock
from ostler.simulate.exchange import JSON, Sender
from ostler.simulate.faults import CallFaults, FaultKind
from ostler.simulate.reply import Piece, Reply
from ostler.simulate.timing import Timing


class StreamCut(Exception):
    """The answer was broken off on purpose: what is sent is sent, and the call did not succeed."""


class Encoder(Protocol):
    """The bytes of one answer in one dialect."""

    media_type: str

    def opening(self) -> bytes:
        """What comes before the first piece."""
        ...

    def piece(self, piece: Piece) -> bytes:
        """One piece of the reply."""
        ...

    def malformed(self) -> bytes:
        """A frame of this dialect whose content is not valid."""
        ...

    def failed(self) -> bytes:
        """The frame that says the answer failed half-way."""
        ...

    def closing(self, reply: Reply, timing: Timing) -> bytes:
        """Finish reason, usage and end marker."""
        ...

    def whole(self, reply: Reply, timing: Timing) -> object:
        """The answer as one JSON value."""
        ...


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is ready to be sent."""

    reply: Reply
    encoder: Encoder
    faults: CallFaults
    headers: Mapping[str, str] = {}


async def deliver_stream(sender: Sender, delivery: Delivery, timing: Timing, clock: ScaledClock) -> None:
    """Stream the answer. Raises `StreamCut` where a fault ends it; a stall ends only with the connection.

    A fault "after N tokens" strikes before token N + 1; one beyond the answer's length strikes before its end.
    """
    reply, encoder, faults = delivery.reply, delivery.encoder, delivery.faults
    await clock.sleep_until(timing.token_due_ms(0 if encoder.opening() else 1, reply.tokens))
    await sender.start(200, {"content-type": encoder.media_type, **delivery.headers})
    if opening := encoder.opening():
        await sender.write(opening)
    strikes = [(min(after, reply.tokens), kind) for after, kind in faults.in_stream]
    done = 0
    for piece in (*reply.pieces, None):
        while strikes and strikes[0][0] <= done:
            await _strike(strikes.pop(0)[1], sender, encoder)
        if piece is not None:
            done += piece.tokens
            await clock.sleep_until(timing.token_due_ms(done, reply.tokens))
            await sender.write(encoder.piece(piece))
    if not faults.missing_end:
        await sender.write(encoder.closing(reply, timing))
    await sender.end()


async def deliver_whole(sender: Sender, delivery: Delivery, timing: Timing, clock: ScaledClock) -> None:
    """Send the answer as one JSON body when its last token is due.

    The faults of a stream appear as they would to a client that asked for a whole answer: a cut one as a body shorter
    than promised, a malformed one as a body that is not JSON, a stalled one as no answer at all. An error half-way and
    a missing end exist in streams only.
    """
    kinds = {kind for _after, kind in delivery.faults.in_stream}
    await clock.sleep_until(timing.ends_ms)
    if FaultKind.STALL in kinds:
        await _stall()
    body = msgspec.json.encode(delivery.encoder.whole(delivery.reply, timing))
    if FaultKind.MALFORMED_CHUNK in kinds:
        body = body[: len(body) // 2]
    await sender.start(200, {"content-type": JSON, "content-length": str(len(body)), **delivery.headers})
    if FaultKind.CUT_STREAM in kinds:
        await sender.write(body[: len(body) // 2])
        raise StreamCut
    await sender.write(body)
    await sender.end()


async def _strike(kind: FaultKind, sender: Sender, encoder: Encoder) -> None:
    match kind:
        case FaultKind.CUT_STREAM:
            raise StreamCut
        case FaultKind.STALL:
            await _stall()
        case FaultKind.MALFORMED_CHUNK:
            await sender.write(encoder.malformed())
        case FaultKind.STREAM_ERROR:
            await sender.write(encoder.failed())
            await sender.end()
            raise StreamCut
        case _:
            raise ValueError(f"`{kind}` does not strike a stream")


async def _stall() -> None:
    await asyncio.Event().wait()
