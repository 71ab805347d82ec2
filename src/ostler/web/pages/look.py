"""What a page says at a moment, shared by all who look at it: rendered once, kept for `FRESH_S`.

However many browsers show the start page, the hub reads its books for it about once a second.
"""

import asyncio
import time
from collections import OrderedDict
from typing import NamedTuple

from ostler.hub.api import HubApi
from ostler.web.pages.render import Region, Renderer
from ostler.web.pages.view import Ask, Page, Role, View

FRESH_S = 0.9
KEPT = 64


class Look(NamedTuple):
    """A view with its regions. `at_s`: when its reading began, on the monotonic clock."""

    view: View
    regions: tuple[Region, ...]
    at_s: float


class Looks:
    """The newest looks by page and role."""

    def __init__(self, api: HubApi, renderer: Renderer) -> None:
        self._api = api
        self._renderer = renderer
        self._kept: OrderedDict[tuple[str, tuple[tuple[str, str], ...], Role], Look] = OrderedDict()
        self._locks: dict[tuple[str, tuple[tuple[str, str], ...], Role], asyncio.Lock] = {}

    async def at(self, page: Page, ask: Ask, *, anew: bool = False) -> Look:
        """The page as of when it was asked for, or a moment before; `anew`: not before. Raises what the hub raises.

        How long it takes to read is no matter: who waited for a reading that began late enough has its page.
        """
        key = (ask.path, tuple(sorted(ask.query.items())), ask.role)
        lock = self._locks.setdefault(key, asyncio.Lock())
        since_s = time.monotonic() - (0.0 if anew else FRESH_S)
        try:
            async with lock:
                kept, at_s = self._kept.get(key), time.monotonic()
                if kept is not None and kept.at_s > since_s:
                    return kept
                view = await page(self._api, ask)
                look = Look(view, self._renderer.regions(view, ask), at_s)
                self._kept[key] = look
                self._kept.move_to_end(key)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
                return look
        finally:
            if not lock.locked() and self._locks.get(key) is lock:
                del self._locks[key]
