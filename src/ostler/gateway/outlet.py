"""The client's side of a call: nothing has left before `start`; what has left is never taken back.

Each write waits until the server has taken it, and the server takes no more than it may hold: a client that does not
read makes us hold one piece, and the endpoint is not read either.
"""

from collections.abc import Mapping

from ostler.gateway.line import Line
from ostler.gateway.watch import Watch
from ostler.server.head import header_lines

SLICE_BYTES = 128 * 1024


class Outlet:
    """Writes one answer."""

    def __init__(self, line: Line, watch: Watch) -> None:
        self._line = line
        self._watch = watch
        self.started = False
        self.finished = False
        self.status = 0

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Commit: the head of an answer in pieces leaves."""
        self._commit(status)
        watch = self._watch
        watch.reading = False
        await self._line.start(status, header_lines(headers.items()))
        watch.reads_on()

    async def write(self, data: bytes) -> None:
        """More of the body."""
        watch = self._watch
        watch.reading = False
        await self._line.write(data)
        watch.reads_on()

    async def finish(self, data: bytes = b"") -> None:
        """The end of the body; large ones leave in slices, so that no more than one is held for a slow reader."""
        while len(data) > SLICE_BYTES:
            await self.write(data[:SLICE_BYTES])
            data = data[SLICE_BYTES:]
        self._let_go()
        await self._line.finish(data)
        self._watch.close()

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer at once."""
        self._commit(status)
        self._let_go()
        await self._line.answer(status, header_lines(headers.items()), body)
        self._watch.close()

    def _commit(self, status: int) -> None:
        self.started = True
        self.status = status

    def _let_go(self) -> None:
        """The time a client takes to read is not the endpoint's, and one that leaves now has all of its answer."""
        self._watch.reading = False
        self._watch.let_go()
        self.finished = True


async def answer_whole(line: Line, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """A whole answer that no call was made for."""
    await line.answer(status, header_lines(headers.items()), body)
