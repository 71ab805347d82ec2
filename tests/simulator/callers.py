"""Who makes live calls: clients that stay, leave or ask again, and agents with the key of their attempt.

A call goes through the real gateway of whichever hub answers, from the head of its request to the last byte. A client
holds the hub to its word: an answer with a good status that came to its end is whole, and says what the endpoint said.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from tests.simulator.provider import ANSWER
from tests.simulator.story import FAULTS_UNTIL_S, Call

if TYPE_CHECKING:
    from tests.simulator.sites import Site
    from tests.simulator.whole import WholeWorld

AGAIN_S = 4.0
"""Between two tries of a client that was told to come back, or heard nothing."""
ANSWERED_S = FAULTS_UNTIL_S + 200.0
"""By then whoever has not left was answered, or told that there is no money for it."""
PATIENCE_S = 300.0
"""No call is without an answer for longer: the profile's deadline and the drain of a hub are within it."""


class SimulatedLine:
    """One request, and the client behind it."""

    method = "POST"
    path = "/v1/chat/completions"
    query = b""
    client: tuple[str, int] | None = ("127.0.0.1", 1)

    def __init__(self, body: bytes, key: str) -> None:
        self._body = body
        self.fields: Mapping[bytes, bytes] = {b"host": b"127.0.0.1", b"authorization": b"Bearer " + key.encode()}
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.status = 0
        self.whole = False
        self.heard = b""

    async def body(self, limit_bytes: int, limit_s: float) -> bytes:
        """See the port."""
        del limit_bytes, limit_s
        return self._body

    async def answer(self, status: int, lines: bytes, body: bytes = b"") -> None:
        """See the port."""
        del lines
        self.status, self.heard, self.whole = status, body, True

    async def start(self, status: int, lines: bytes) -> None:
        """See the port."""
        del lines
        self.status = status

    async def write(self, data: bytes) -> None:
        """See the port."""
        self.heard += data

    async def finish(self, data: bytes = b"") -> None:
        """See the port."""
        self.heard += data
        self.whole = True

    def leave(self) -> None:
        """Hang up."""
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()

    @property
    def good(self) -> bool:
        """Whether it looks like a good answer to a client that knows its format."""
        ended = b"[DONE]" in self.heard or not self.heard.startswith(b"data:")
        return self.whole and self.status == 200 and b'"error"' not in self.heard and ended


def request(model: str, takes_s: float, *, streams: bool) -> bytes:
    """The body of a call whose answer takes so long."""
    said = [{"role": "user", "content": f"this takes {takes_s}"}]
    return msgspec.json.encode({"model": model, "messages": said, "stream": streams, "max_tokens": 100})


async def ask(site: "Site | None", line: SimulatedLine, leaves_s: float | None = None) -> None:
    """Send a request and wait for its end, however it ends; nothing is heard of a hub that is gone."""
    await asyncio.sleep(0.002)
    if site is None or not site.listens or site.face is None:
        return
    taken = site.face.take(line)
    assert taken is not None
    task = site.begin(_answered(taken))
    leaving = None if leaves_s is None else asyncio.get_running_loop().call_later(leaves_s, line.leave)
    try:
        await asyncio.wait([task], timeout=PATIENCE_S)
        if not task.done() and not site.frozen:
            task.cancel()
            raise TimeoutError(f"no answer after {PATIENCE_S:g} s")
        if task.done() and not task.cancelled() and not site.dead:
            task.result()
    except asyncio.CancelledError:
        line.leave()  # who asked has gone
        raise
    finally:
        if leaving is not None:
            leaving.cancel()


async def _answered(taken: Awaitable[None]) -> None:
    await taken


class Clients:
    """All that call, and what came of it."""

    def __init__(self, world: "WholeWorld") -> None:
        self._world = world
        self.poor_key = ""
        self.answered = 0
        self.calling: list[asyncio.Future[None]] = []
        self.statuses: dict[str, int] = {}

    @property
    def over(self) -> bool:
        """Whether nobody calls any more."""
        return all(task.done() for task in self.calling)

    async def make(self, call: Call) -> None:
        """One client, until it has its answer, has left, or is told that there is no money."""
        world = self._world
        await asyncio.sleep(call.at_s)
        while asyncio.get_running_loop().time() < ANSWERED_S:
            line = SimulatedLine(request(call.model, call.takes_s, streams=call.streams), self._key(call))
            try:
                await ask(world.hub_for("client"), line, call.leaves_s)
            except TimeoutError as error:
                world.floor.say(f"call {call.name}: {error}")
                return
            self.statuses[call.name] = line.status
            if line.good:
                self.answered += 1
                self.check(call.name, line)
                return
            if line.gone or b"budget" in line.heard:
                return
            await asyncio.sleep(AGAIN_S)
        world.floor.say(f"call {call.name} had no answer, at last {line.status}: {line.heard[:200]!r}")

    def check(self, name: str, line: SimulatedLine) -> None:
        """A good answer says what the endpoint said, all of it."""
        said = _said(line.heard)
        if said != ANSWER:
            self._world.floor.say(f"call {name} was told {said!r} as a whole answer")

    def _key(self, call: Call) -> str:
        return self.poor_key if call.poor else "sk-none"


def _said(heard: bytes) -> str:
    if not heard.startswith(b"data:"):
        return str(msgspec.json.decode(heard)["choices"][0]["message"]["content"])
    events = [part[6:] for part in heard.split(b"\n\n") if part.startswith(b"data: {")]
    choices = [choice for event in events for choice in msgspec.json.decode(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
