"""Whose session a session is: the token that opened it. One worker can neither read another's work nor report for it.

Kept in memory: after a restart of the hub a session is that of the first token that speaks for it, which is its own
worker's within a heartbeat; an id of 48 random bits that only administration is shown stands before that. A worker is
known by its instance too, since a join with the instance of a live worker would be given that one's session. Another
token may take a session over, as after tokens were changed, once the old one has not been used for `IDLE_S`. O(1) each.
"""

from collections import OrderedDict
from collections.abc import Callable

from ostler.domain.errors import NotAllowedError

OWNERS_MAX = 20_000
"""So many are remembered; the one that was not used for longest gives way."""
IDLE_S = 60.0


class SessionOwners:
    """Owners of sessions and instances."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._owners: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, name: str, token: str) -> None:
        """The token speaks for a session or instance. Raises `NotAllowedError` when that is another one's."""
        owner, now_s = hash(token), self._now_s()
        known = self._owners.get(name)
        if known is not None and known[0] != owner and now_s - known[1] < IDLE_S:
            raise NotAllowedError(
                "this session of a worker was opened with another token",
                where="Authorization header",
                remedy=f"use that token, or join again once the other one has been silent for {IDLE_S:g} s",
            )
        self._owners[name] = owner, now_s
        self._owners.move_to_end(name)
        if len(self._owners) > OWNERS_MAX:
            self._owners.popitem(last=False)

    def forget(self, name: str) -> None:
        """The session is over."""
        self._owners.pop(name, None)
