"""Simulated endpoints that speak the OpenAI format, many on one port: `python -m bench.crowd.endpoints PORT`.

`/eN/v1` is endpoint N. Its answers come from memory; what a call asks for stands in its prompt: `fail:STATUS` is
refused with that status, `hang` is answered after a minute, anything else at once.
"""

import asyncio
import re
import sys

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FAIL = re.compile(rb"fail:(\d{3})")
MODELS = ("sim-small", "sim-large")
HANG_S = 60.0


def _whole(body: bytes, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_LISTING = _whole(
    b'{"object":"list","data":[%b]}'
    % b",".join(b'{"id":"%b","object":"model","owned_by":"simulated"}' % name.encode() for name in MODELS)
)
_USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}'
_ANSWER = _whole(
    b'{"id":"c","object":"chat.completion","created":1,"model":"sim-small","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"simulated answer"},"finish_reason":"stop"}],%b}' % _USAGE
)
_CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"sim-small",%b}\n\n'
_EVENTS = b"".join(
    _CHUNK % part
    for part in (
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":"simulated"},"finish_reason":null}]',
        b'"choices":[{"index":0,"delta":{"content":" answer"},"finish_reason":null}]',
        b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]',
        b'"choices":[],' + _USAGE,
    )
)
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"%x\r\n%b\r\n" % (len(_EVENTS) + 14, _EVENTS + b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Endpoint(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
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
        if len(self._data) < end + 4 + (int(found[1]) if found else 0):
            return
        request, self._data = self._data, b""
        fault = _FAIL.search(request, end)
        if request.startswith(b"GET"):
            self._write(_LISTING)
        elif fault is not None:
            self._write(_whole(b'{"error":{"message":"simulated failure","type":"server_error"}}', int(fault[1])))
        else:
            answer = _STREAM if b'"stream":true' in request or b'"stream": true' in request else _ANSWER
            delay_s = HANG_S if b'"hang' in request else 0.0
            asyncio.get_running_loop().call_later(delay_s, self._write, answer)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", port, backlog=2_048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
