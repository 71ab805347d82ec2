"""The purse of exploration: what tasks that run somewhere to find out may cost on one day.

A task holds its estimate when it is assigned and pays what it cost when it ends; what nobody counted costs what it
held. Days are UTC. While the purse is empty, only what costs no more than the best choice is explored.
"""

from collections.abc import Iterable

from ostler.domain.observations import Observation

DAY_MS = 86_400_000


class Exploration:
    """Micro-dollars of one day: what is held, by attempt, and what is paid."""

    def __init__(self) -> None:
        self._day = 0
        self._paid = 0
        self._held: dict[str, int] = {}

    def left(self, now_ms: int, limit_micro_usd: int) -> int:
        """What may still be spent today; never below zero."""
        self._turn_over(now_ms)
        return max(0, limit_micro_usd - self._paid - sum(self._held.values()))

    def began(self, attempt: str, cost_micro_usd: int) -> None:
        """An attempt that explores was assigned."""
        if cost_micro_usd > 0:
            self._held[attempt] = cost_micro_usd

    def ended(self, attempt: str, cost_micro_usd: int | None, now_ms: int) -> None:
        """It ended, at this cost; `None` = nobody counted. One that held nothing pays what it cost all the same."""
        self._turn_over(now_ms)
        held = self._held.pop(attempt, 0)
        self._paid += held if cost_micro_usd is None else cost_micro_usd

    def restore(self, observations: Iterable[Observation], now_ms: int) -> None:
        """Take up what attempts of today paid before a restart."""
        self._turn_over(now_ms)
        self._paid = sum(
            one.cost_micro_usd or 0 for one in observations if one.explored and one.at_ms // DAY_MS == self._day
        )

    def _turn_over(self, now_ms: int) -> None:
        day = now_ms // DAY_MS
        if day > self._day:
            self._day, self._paid = day, 0
