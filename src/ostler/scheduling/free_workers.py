"""The sessions with a free slot for one kind of work, in the order in which they are to be used, and by host.

Order: most free slots first, then by name, then by session. A change costs O(log n) to find its place and the move of a
list of at most all of them, which a thousand make in a microsecond.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from types import MappingProxyType

Place = tuple[int, str, str]
"""(- free slots, name of the worker, session): the order of use."""


_NOBODY: Mapping[str, Place] = MappingProxyType({})


class FreeWorkers:
    """Sessions by place and host."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._order: list[Place] = []
        self._by_host: dict[str, dict[str, Place]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._places

    def put(self, session_id: str, slots: int, name: str, hosts: frozenset[str]) -> None:
        """Say how many slots a session has free; with none it is not here. `hosts`: as when it was put last."""
        before = self._places.pop(session_id, None)
        if before is not None:
            del self._order[bisect_left(self._order, before)]
        if slots <= 0:
            if before is not None:
                self._leave(session_id, hosts)
            return
        place = (-slots, name, session_id)
        self._places[session_id] = place
        insort(self._order, place)
        for host in hosts:
            self._by_host.setdefault(host, {})[session_id] = place

    def _leave(self, session_id: str, hosts: frozenset[str]) -> None:
        for host in hosts:
            there = self._by_host[host]
            del there[session_id]
            if not there:
                del self._by_host[host]

    def on(self, host: str) -> Mapping[str, Place]:
        """Those on a host, with their places."""
        return self._by_host.get(host, _NOBODY)

    def in_order(self) -> Iterator[str]:
        """All of them in the order of use."""
        return (place[2] for place in self._order)
