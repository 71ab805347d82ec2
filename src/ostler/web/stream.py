"""Long answers: server-sent events with heartbeats, and stopping work whose client has hung up.

A client that went away is noticed at once when the connection closes, and by the next heartbeat when it only fell
silent. A slow reader holds back its own stream: sending waits for the connection, nothing is buffered here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Send

from ostler.domain.errors import OstlerError
from ostler.domain.event import Event

T = TypeVar("T")

RECONNECT_MS = 2_000
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy in between must not collect events
]


class ClientGoneError(Exception):
    """The client hung up; nobody is left to answer."""


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up (`ClientGoneError`).

    The request's body must have been read before, else its pieces would be lost here.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        await _stop(working, gone)


async def send_events(send: Send, events: AsyncIterator[Event], heartbeat_s: float) -> None:
    """Answer with events as they come; see `send_blocks`."""
    await send_blocks(send, _texts(events), heartbeat_s)


async def send_blocks(send: Send, blocks: AsyncIterator[bytes], heartbeat_s: float) -> None:
    """Answer with blocks of server-sent events as they come, with a comment after `heartbeat_s` seconds of silence.

    The answer begins once the iterator has taken its first step: a client that has seen it misses nothing after it, and
    what is wrong from the start is answered as an error.
    """
    upcoming = asyncio.ensure_future(_next(blocks))
    try:
        await asyncio.sleep(0)
        if upcoming.done():
            upcoming.result()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _send_text(send, f"retry: {RECONNECT_MS}\n\n".encode())
        while True:
            await asyncio.wait({upcoming}, timeout=heartbeat_s)
            if not upcoming.done():
                await _send_text(send, b": still here\n\n")
                continue
            block = _told(upcoming)
            if block is None:
                break
            await _send_text(send, block)
            upcoming = asyncio.ensure_future(_next(blocks))
    finally:
        await _stop(upcoming)
        if isinstance(blocks, AsyncGenerator):
            await blocks.aclose()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _texts(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield event_text(event)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def event_text(event: Event) -> bytes:
    """One server-sent event. JSON never holds a raw line break, so one `data` line is enough."""
    return b"id: %d\ndata: %s\n\n" % (event.seq, msgspec.json.encode(event))


async def _send_text(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _next(blocks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(blocks, None)


def _told(upcoming: asyncio.Future[bytes | None]) -> bytes | None:
    """What comes next. Nothing, when the hub cannot tell any more, as where its database is away: the stream ends, and
    a client that connects again hears why.
    """
    try:
        return upcoming.result()
    except OstlerError:
        return None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel and wait until all are over. What they raised has been taken, or there is nobody left to tell."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # looked at, so that the event loop does not report it
