"""A simulated endpoint that speaks the OpenAI format: `python -m bench.hop.upstream PORT ...`. It answers from memory.

It is made to cost little, so that it is never what is measured: raw protocols, answers ready but for the number that is
copied from the request. What it must get right it asserts: a request that was changed on its way ends the connection,
and so the measurement.
"""

import asyncio
import re
import socket
import sys
from collections.abc import Sequence

import uvloop

from bench.hop import payloads

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = (b'"stream":true', b'"stream": true')
_COUNTS = (b'"include_usage":true', b'"include_usage": true')


def _whole(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_ANSWER = payloads.split(_whole(payloads.answer()))
_MODELS = _whole(
    b'{"object":"list","data":[{"id":"bench-chat","object":"model","owned_by":"simulated"},'
    b'{"id":"bench-wide","object":"model","owned_by":"simulated"}]}'
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENTS = {counts: payloads.events(counts=counts) for counts in (False, True)}
_BLANK = payloads.BLANK.encode()


class Endpoint(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone: nothing is sent any more."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one; clients wait for the answer before they send another."""
        self._data = self._data + data if self._data else data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._data, 0, end)
        length = int(found[1]) if found else 0
        if len(self._data) < end + 4 + length:
            return
        request, self._data = self._data, b""
        if request.startswith(b"GET"):
            self._write(_MODELS)
            return
        body = request[end + 4 :]
        number = payloads.number_in(body)
        if any(flag in body for flag in _STREAM):
            self._stream(number, counts=any(flag in body for flag in _COUNTS))
            return
        answer = number.join(_ANSWER)
        wait_s = payloads.wait_s_in(body)
        if wait_s:
            self._loop.call_later(wait_s, self._write, answer)
        else:
            self._write(answer)

    def _stream(self, number: bytes, *, counts: bool) -> None:
        begun = self._loop.time()
        events = [event.replace(_BLANK, number) for event in _EVENTS[counts]]
        frames = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
        frames[0] = _STREAM_HEAD + frames[0]
        frames[-1] += b"0\r\n\r\n"

        def send(at: int) -> None:
            self._write(frames[at])
            if at + 1 < len(frames) and self._transport is not None:
                due = begun + payloads.FIRST_EVENT_S + (at + 1) * payloads.NEXT_EVENT_S
                self._loop.call_at(due, send, at + 1)

        self._loop.call_at(begun + payloads.FIRST_EVENT_S, send, 0)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def serve(ports: Sequence[int]) -> None:
    """Until the process is ended."""
    loop = asyncio.get_running_loop()
    for port in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = await loop.create_server(Endpoint, sock=listener, backlog=2_048)
        await server.start_serving()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve([int(text) for text in sys.argv[1:]]))
