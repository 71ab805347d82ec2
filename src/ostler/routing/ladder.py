"""The ladder of a profile: which tiers there are, which are enabled, and what one step up or down is.

Steps are counted on the enabled tiers alone: a disabled tier is not on the ladder and costs no step. `direct` is always
the first rung, whether or not the catalogue spells it out or disables it: a command needs no model tier's permission.
"""

from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from ostler.domain.catalog import DIRECT, Catalog, CostClass, TierSpec
from ostler.domain.errors import InvalidInputError, nearest

_DIRECT_TIER = TierSpec(name=DIRECT, rank=0, cost=CostClass.FREE)


T = TypeVar("T")


class Same(Generic[T]):
    """A catalogue or a policy as a key: the very same one, for it is immutable and too large to compare."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


def ladder_of(catalog: Catalog) -> "Ladder":
    """The ladder of a catalogue, built once for as long as it is in use: every task asks for it several times."""
    return _built(Same(catalog))


@lru_cache(maxsize=8)
def _built(same: Same[Catalog]) -> "Ladder":
    return Ladder(same.value)


class Ladder:
    """Immutable view on a catalogue's tiers. Building it costs a few microseconds; look-ups are dictionary reads."""

    __slots__ = ("_aliases", "_enabled_ranks", "_index", "_position", "_tiers", "steps")

    steps: tuple[TierSpec, ...]
    """The rungs: `direct`, then the enabled tiers in rank order."""

    def __init__(self, catalog: Catalog) -> None:
        ordered = sorted((tier for tier in catalog.tiers if tier.name != DIRECT), key=lambda tier: tier.rank)
        direct = next((tier for tier in catalog.tiers if tier.name == DIRECT), _DIRECT_TIER)
        self._tiers: Mapping[str, TierSpec] = {tier.name: tier for tier in (direct, *ordered)}
        self._aliases = catalog.tier_aliases
        self._position = {name: position for position, name in enumerate(self._tiers)}
        self.steps = (direct, *(tier for tier in ordered if tier.enabled))
        self._index = {tier.name: index for index, tier in enumerate(self.steps)}
        self._enabled_ranks = [self._position[tier.name] for tier in self.steps]

    def find(self, name: str) -> TierSpec | None:
        """The tier of this name or alias, enabled or not."""
        return self._tiers.get(name) or self._tiers.get(self._aliases.get(name, ""))

    def resolve(self, name: str, *, where: str = "tier") -> TierSpec:
        """As `find`; raises `InvalidInputError` with the nearest valid name."""
        tier = self.find(name)
        if tier is None:
            remedy = nearest(name, (*self._tiers, *self._aliases))
            raise InvalidInputError(f"there is no tier '{name}'", where=where, remedy=remedy)
        return tier

    @property
    def models(self) -> tuple[TierSpec, ...]:
        """The rungs that have models: all enabled ones but `direct`."""
        return self.steps[1:]

    def lists(self, model: str) -> bool:
        """Whether any tier, disabled ones included, lists the model."""
        return any(model in tier.models for tier in self._tiers.values())

    def position(self, name: str) -> int:
        """Place on the whole ladder, disabled tiers counted: for comparing tiers, never for counting steps."""
        return self._position[name]

    def index(self, name: str) -> int | None:
        """Rung number of an enabled tier, `direct` = 0; `None` when it is disabled."""
        return self._index.get(name)

    def higher(self, one: TierSpec, other: TierSpec) -> TierSpec:
        """The higher one of two tiers."""
        return one if self._position[one.name] >= self._position[other.name] else other

    def settle(self, tier: TierSpec) -> TierSpec | None:
        """The tier itself when it is enabled, else the next enabled one above, else the highest model tier below."""
        if tier.name in self._index:
            return tier
        above = bisect_right(self._enabled_ranks, self._position[tier.name])
        if above < len(self.steps):
            return self.steps[above]
        return self.steps[-1] if len(self.steps) > 1 else None

    def shift(self, index: int, steps: int) -> TierSpec | None:
        """The rung `steps` away from rung `index`, or `None` when the ladder ends before."""
        target = index + steps
        return self.steps[target] if 0 <= target < len(self.steps) else None

    def above(self, tier: TierSpec) -> tuple[TierSpec, ...]:
        """The enabled tiers from an enabled one upward, itself first."""
        return self.steps[self._index[tier.name] :]
