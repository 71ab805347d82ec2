"""What a search is handed from outside: time it may use, and chance."""

from typing import Protocol


class Effort(Protocol):
    """How much longer a search may go on. By the clock, or by a count when results must repeat exactly."""

    def spent(self) -> bool:
        """Whether to stop now. Called between simulations; a call counts as one step of work."""
        ...


class Dice(Protocol):
    """A seeded source of chance; `random.Random` is one."""

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """A whole number from 0 up to, not including, `stop`."""
        ...
