"""Keeping open pages up to date: what changed of a page is sent as server-sent events, or told to who asks.

One follower of the hub's events serves all open pages (`Pulse`). A page is looked at again when something happened, at
most once a second, and at the latest after its own time: memory and money change without an event. The browser names
what it shows (region and hash), so that after a lost connection, or a restart of the hub, it is told what it missed and
nothing else.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

import msgspec

from ostler.domain.errors import OstlerError
from ostler.hub.api import HubApi
from ostler.web.pages.render import Region

SHORTEST_S = 1.0
CHECK_SEAT_S = 30.0
BEAT_S = 15.0
"""A browser that hears nothing for much longer takes the connection for lost: a comment of the stream it cannot see."""


class Told(NamedTuple):
    """What changed of a page as of an instant of the monotonic clock, and when to look again at the latest."""

    regions: tuple[Region, ...]
    every_s: float
    at_s: float


class Pulse:
    """Says when something happened. Follows the hub's events while anybody listens."""

    def __init__(self, api: HubApi) -> None:
        self._api = api
        self._listeners = 0
        self._beat = asyncio.Event()
        self._struck_s = 0.0
        self._following: asyncio.Task[None] | None = None
        self.over = False
        """The hub is closing: streams are to end."""

    @contextlib.asynccontextmanager
    async def heard(self) -> AsyncIterator["Pulse"]:
        """Follow for as long as the block lasts."""
        self._listeners += 1
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="pulse of the pages")
        try:
            yield self
        finally:
            self._listeners -= 1
            if not self._listeners and self._following is not None:
                following, self._following = self._following, None
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def wait(self, longest_s: float, *, since_s: float) -> float:
        """Until something has happened since an instant, or so long; how long it was, in seconds."""
        began_s = time.monotonic()
        if self._struck_s >= since_s:
            return 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._beat.wait()
        return time.monotonic() - began_s

    async def _follow(self) -> None:
        self.over = False
        while True:
            # A store that fails for a moment ends no page; until it is back they are looked at by their own time.
            with contextlib.suppress(OstlerError):
                async for _ in self._api.follow():
                    self._strike()
                break
            await asyncio.sleep(SHORTEST_S)
        self.over = True
        self._strike()

    def _strike(self) -> None:
        self._struck_s = time.monotonic()
        beat, self._beat = self._beat, asyncio.Event()
        beat.set()


Changed = Callable[[Mapping[str, str]], Awaitable[Told]]
"""Given the hashes of what a browser shows, what is other than that."""
Allowed = Callable[[], Awaitable[bool]]


async def changes(pulse: Pulse, changed: Changed, allowed: Allowed, known: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The events of one open page, for ever: each a block of a stream of server-sent events."""
    shown = dict(known)
    silent_s, unchecked_s = 0.0, 0.0
    async with pulse.heard():
        while not pulse.over:
            try:
                told = await changed(shown)
            except OstlerError as error:
                yield _event("trouble", {"message": str(error)})
                return
            for region in told.regions:
                shown[region.name] = region.mark
                silent_s = 0.0
                yield _event("region", region._asdict())
            if silent_s >= BEAT_S:
                silent_s = 0.0
                yield _event("beat", {})
            await asyncio.sleep(SHORTEST_S)
            rest_s = max(0.0, min(told.every_s, BEAT_S) - SHORTEST_S)
            waited_s = SHORTEST_S + await pulse.wait(rest_s, since_s=told.at_s)
            silent_s += waited_s
            unchecked_s += waited_s
            if unchecked_s >= CHECK_SEAT_S:
                unchecked_s = 0.0
                if not await allowed():
                    yield _event("signed-out", {})
                    return
    yield _event("closing", {})


def _event(name: str, data: Mapping[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def known_of(text: str) -> dict[str, str]:
    """What a browser says it shows.

    >>> known_of("home-needs:0a1b,home-running:ff00,nonsense")
    {'home-needs': '0a1b', 'home-running': 'ff00'}
    """
    pairs = (part.partition(":") for part in text.split(",") if ":" in part)
    return {name: mark for name, _, mark in pairs}
