"""How many tokens a prompt may have on each of the four tiers, and how a long talk is kept."""

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.domain.four_tiers import Tier

_SIZES = {
    Tier.LOCAL_CHEAP: "small",
    Tier.LOCAL_STRONG: "moderate",
    Tier.CHEAP_CLOUD: "moderate",
    Tier.EXPENSIVE_CLOUD: "large",
}


class ContextBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a prompt: `small` on local_cheap, `moderate` on local_strong and cheap_cloud, `large` on
    expensive_cloud. Raises `InvalidInputError` for sizes that are none, or not in this order.
    """

    small: int = 4_000
    moderate: int = 16_000
    large: int = 64_000

    def __post_init__(self) -> None:
        if not 0 < self.small <= self.moderate <= self.large:
            what = f"{self.small}, {self.moderate}, {self.large} are no rising sizes"
            raise InvalidInputError(what, where="ContextBudget", remedy="small, moderate, large: tokens, rising")

    def tokens(self, tier: "Tier | str | int") -> int:
        """The budget of a tier, by tier, name or number."""
        size: int = getattr(self, _SIZES[Tier.named(tier)])
        return size


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """How a talk is kept short: at most `size` messages beside the system's; what is older than the newest
    `keep_after_compaction` of them is summarised at every `compaction_interval`-th tick.
    """

    size: int = 30
    compaction_interval: int = 10
    summary_tokens: int = 600

    @property
    def keep_after_compaction(self) -> int:
        """Messages that are not summarised: a third of the window, so that it fills again before the next time."""
        return max(1, self.size // 3)
