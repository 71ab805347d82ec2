"""What providers and agent programs say of the windows of a subscription: used so much of it, full again then."""

import msgspec


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """One window as it was last told of."""

    provider: str = ""
    """Filled in by whoever knows whom was asked."""
    window: str
    """As it is called there, in short: `5h`, `7d`, `7d_opus`."""
    used_percent: float
    at_ms: int
    resets_ms: int | None = None
    hours: float | None = None
    """How long the window is, where that is said."""
    family: str = ""
    """Part of the names of the models it is about; empty = all of them."""
