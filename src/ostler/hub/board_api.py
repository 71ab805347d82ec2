"""The board: questions of people who look at the hub, each answered with a bounded amount of work."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ostler.hub.board_views import Changes, Charge, Find, Found, Home, Money, RunRow
from ostler.hub.views import TierRow


class BoardApi(Protocol):
    """What the pages show beside the answers of the other desks."""

    async def home(self) -> Home:
        """What needs a person, what runs, what waits."""
        ...

    def tiers(self) -> Sequence[TierRow]:
        """The ladder as it stands."""
        ...

    async def find(self, query: Find) -> Found:
        """Tasks by words and states, newest first."""
        ...

    async def runs(self) -> Sequence[RunRow]:
        """Batches of the newest tasks, the one that changed last first."""
        ...

    async def charges(self, task_id: str, generations: Sequence[int]) -> Mapping[int, Charge]:
        """What attempts of a task came to, where the ledger knows them."""
        ...

    async def money(self) -> Money:
        """Spent, held, limits, subscriptions, unknown prices, fallbacks, savings."""
        ...

    async def changes(self) -> Changes:
        """What was learned lately and changed decisions."""
        ...


class BoardOffered(Protocol):
    """Who has a board."""

    @property
    def board(self) -> BoardApi:
        """What people look at first."""
        ...
