"""What providers have told of the windows of their subscriptions, as the scheduler keeps it."""

from ostler.domain.allowances import Reported

Key = tuple[str, str]
"""(provider, window)."""


class WindowsTold:
    """The newest word on each window."""

    def __init__(self) -> None:
        self.known: dict[Key, Reported] = {}
        self.saved: dict[Key, Reported] = {}
        """The same as it was last stored."""
        self.alerted: dict[Key, str] = {}
        """Windows that people were told of: near their end, or used up."""
