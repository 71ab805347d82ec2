"""The client's side of a call: nothing has left before `start`; what has left is never taken back.

Each write waits until the server has taken it, and the server takes no more than it may hold: a client that does not
read makes us hold one piece, and the endpoint is not read either.
"""

from collections.abc import Mapping

from ostler.gateway.inbound import Message, Send
from ostler.gateway.watch import Watch

SLICE_BYTES = 128 * 1024


class Outlet:
    """Writes one answer."""

    def __init__(self, send: Send, watch: Watch) -> None:
        self._send = send
        self._watch = watch
        self.started = False
        self.finished = False
        self.status = 0

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Commit: the head leaves."""
        self.started = True
        self.status = status
        pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._out({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, data: bytes) -> None:
        """More of the body."""
        await self._out({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """The end of the body; large ones leave in slices, so that no more than one is held for a slow reader."""
        while len(data) > SLICE_BYTES:
            await self.write(data[:SLICE_BYTES])
            data = data[SLICE_BYTES:]
        self._watch.let_go()
        self.finished = True
        await self._out({"type": "http.response.body", "body": data})
        self._watch.close()

    async def _out(self, message: Message) -> None:
        """The time a client takes to read is not the endpoint's."""
        watch = self._watch
        watch.reading = False
        await self._send(message)
        watch.reading = True
        watch.touch()

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer at once."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.finish(body)


async def answer_whole(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """A whole answer that no call was made for."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
