"""One streamed call over HTTP: send, read, hand out deltas, end in exactly one `Completion` or `CallError`.

The loop is the same for every wire format; the format is in the `AnswerReader`. Two clocks bound it: the first piece of
text must come within `first_token_timeout_ms` of the start (keep-alive comments do not count), after that any byte must
come within `idle_timeout_ms`. The time the consumer takes between two deltas counts for neither.

Closing the iterator, or cancelling the task that waits in it, closes the connection before the close returns.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack

import msgspec

from ostler.domain.calls import CallError, Completion, Delta
from ostler.domain.clock import Clock
from ostler.domain.states import FailureClass
from ostler.fleet.answer import AnswerReader
from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import (
    MAX_ERROR_BODY_BYTES,
    HeldBackError,
    HttpReply,
    HttpRequest,
    HttpStream,
    Transport,
    TransportError,
    always,
    origin,
)
from ostler.wire.allowances import reported
from ostler.wire.classify import classify_problem, redact
from ostler.wire.sse import malformed

HTTP_OK = 200
HELD_BACK = "its worker had lost the right to run it when the connection was there; nothing was sent"
DRAIN_S = 0.05
"""How long to look for the end of the body after the end marker, so that the connection can be used again."""

Adapt = Callable[[HttpRequest, HttpReply], HttpRequest | None]
"""Another form of a request that was refused for its form, or `None`; nothing has been worked on until then."""

Fail = Callable[[HttpReply], CallError]
"""The error for an answer other than success, in words that fit the endpoint."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What every driver talks through."""

    transport: Transport
    clock: Clock
    settings: DriverSettings


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request ready to send, the reader of its answer, and the key that no message may show."""

    request: HttpRequest
    reader: AnswerReader
    fail: Fail
    key: str = ""
    adapt: Adapt = lambda _request, _reply: None


async def stream_answer(
    link: Link, prepare: Callable[[], Exchange], may_send: Callable[[], bool] = always
) -> AsyncGenerator[Delta | Completion, None]:
    """Run one call. `prepare` may raise `CallError` (no key); `may_send`: see `EndpointDriver.chat`."""
    exchange = prepare()
    watch = _Watch(link)
    reader = exchange.reader
    try:
        async with AsyncExitStack() as stack:
            stream = await _open(link, exchange, watch, stack, may_send)
            while not reader.done:
                async with asyncio.timeout_at(watch.deadline()):
                    chunk = await stream.read()
                for delta in reader.feed(chunk) if chunk else reader.end():
                    watch.emitted()
                    yield delta
                if not chunk and not reader.done:
                    raise watch.cut()
            await _drain(stream)
        said = reported(stream.headers, link.clock.now_ms())
        yield msgspec.structs.replace(reader.completion(watch.first_token_ms), allowances=said)
    except CallError as error:
        raise watch.stamped(error, exchange.key) from error.__cause__
    except HeldBackError:
        raise CallError(FailureClass.WORKER_LOST, HELD_BACK) from None
    except TransportError as error:
        fault = classify_problem(error.problem, origin(exchange.request.url), error.detail)
        raise watch.stamped(CallError(fault.kind, fault.message), exchange.key) from error
    except TimeoutError:
        raise watch.stamped(watch.too_late(), exchange.key) from None


async def _open(
    link: Link, exchange: Exchange, watch: "_Watch", stack: AsyncExitStack, may_send: Callable[[], bool]
) -> HttpStream:
    """The stream of a good answer; the connection is closed with `stack`. Raises `CallError` for any other answer."""
    request = exchange.request
    while True:
        async with asyncio.timeout_at(watch.deadline()):
            stream = await stack.enter_async_context(link.transport.stream(request, may_send))
            if stream.status == HTTP_OK:
                _check_type(stream)
                return stream
            body = await stream.read_all(MAX_ERROR_BODY_BYTES)
        reply = HttpReply(status=stream.status, headers=stream.headers, body=body)
        adapted = exchange.adapt(request, reply)
        if adapted is None:
            raise exchange.fail(reply)
        request = adapted


def _check_type(stream: HttpStream) -> None:
    """A web page with status 200 is a login form or a router, never a stream."""
    if stream.headers.get("content-type", "").startswith("text/html"):
        raise malformed("the endpoint answered an HTML page", b"")


async def _drain(stream: HttpStream) -> None:
    with contextlib.suppress(TimeoutError, TransportError):
        async with asyncio.timeout(DRAIN_S):
            while await stream.read():
                pass


class _Watch:
    """The two clocks of a call, and what was seen until it failed."""

    def __init__(self, link: Link) -> None:
        self._clock = link.clock
        self._settings = link.settings
        self._started_us = link.clock.stopwatch_us()
        self._loop = asyncio.get_running_loop()
        self._first_deadline = self._loop.time() + link.settings.first_token_timeout_ms / 1_000
        self.first_token_ms: int | None = None

    def emitted(self) -> None:
        """A delta goes out."""
        if self.first_token_ms is None:
            self.first_token_ms = (self._clock.stopwatch_us() - self._started_us) // 1_000

    def deadline(self) -> float:
        """Loop time by which the next read must have brought something."""
        if self.first_token_ms is None:
            return self._first_deadline
        return self._loop.time() + self._settings.idle_timeout_ms / 1_000

    def too_late(self) -> CallError:
        """The failure for a deadline that passed."""
        if self.first_token_ms is None:
            wait_s = self._settings.first_token_timeout_ms / 1_000
            return CallError(FailureClass.TIMEOUT, f"no token within {wait_s:g} s")
        wait_s = self._settings.idle_timeout_ms / 1_000
        return CallError(FailureClass.STALLED, f"the stream stalled: nothing for {wait_s:g} s")

    def cut(self) -> CallError:
        """The failure for a stream that ends without its end marker."""
        if self.first_token_ms is None:
            return CallError(FailureClass.CUT, "the stream ended before any answer came; see the endpoint's log")
        return CallError(FailureClass.CUT, "the stream ended without its end marker")

    def stamped(self, error: CallError, key: str) -> CallError:
        """The error as the caller gets it: whether output came before it, and without the key."""
        stamped = CallError(
            error.kind,
            redact(error.message, key),
            retry_after_ms=error.retry_after_ms,
            emitted=error.emitted or self.first_token_ms is not None,
        )
        stamped.allowances = error.allowances
        return stamped
