"""The ladder of four tiers and the eight kinds of work, by the names under which programs know them."""

from enum import IntEnum, StrEnum

from ostler.domain.errors import InvalidInputError, nearest


class Tier(IntEnum):
    """Four tiers, the cheapest first."""

    LOCAL_CHEAP = 0
    LOCAL_STRONG = 1
    CHEAP_CLOUD = 2
    EXPENSIVE_CLOUD = 3

    @property
    def label(self) -> str:
        """Its name in a profile."""
        return self.name.lower()

    @property
    def is_local(self) -> bool:
        """Whether a call there costs nothing."""
        return self <= Tier.LOCAL_STRONG

    @classmethod
    def named(cls, tier: "Tier | str | int") -> "Tier":
        """By tier, number, name in any case, or `T0` to `T3`. Raises `InvalidInputError`."""
        if isinstance(tier, int):
            if 0 <= tier < len(cls):
                return cls(tier)
        else:
            known = {one.label: one for one in cls} | {f"t{one.value}": one for one in cls}
            found = known.get(tier.lower())
            if found is not None:
                return found
        raise InvalidInputError(f"there is no tier {tier}", where="tier", remedy=nearest(str(tier), _LABELS))


_LABELS = tuple(tier.label for tier in Tier)


class TaskType(StrEnum):
    """What kind of work something is."""

    MEMORY_OPS = "memory_ops"
    REFLECTION = "reflection"
    SUMMARIZATION = "summarization"
    GENERAL = "general"
    PLANNING = "planning"
    CODING = "coding"
    HIGH_STAKES = "high_stakes"
    FINAL_POLISH = "final_polish"

    @property
    def minimum_tier(self) -> Tier:
        """The cheapest tier that may do it, unless a profile says otherwise."""
        return _MINIMUM.get(self, Tier.LOCAL_CHEAP)


_MINIMUM = {
    TaskType.PLANNING: Tier.LOCAL_STRONG,
    TaskType.CODING: Tier.CHEAP_CLOUD,
    TaskType.HIGH_STAKES: Tier.CHEAP_CLOUD,
    TaskType.FINAL_POLISH: Tier.EXPENSIVE_CLOUD,
}
