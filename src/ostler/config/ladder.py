"""The order of the tiers and the one meaning of every name that stands for a tier."""

from collections.abc import Mapping

import msgspec

from ostler.config.draft import Draft
from ostler.config.mistakes import SettingPath
from ostler.config.schema import TierSection
from ostler.config.vocabulary import is_reserved
from ostler.domain.catalog import DIRECT
from ostler.domain.errors import nearest

TIERS: SettingPath = ("routing", "tiers")


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """Tiers with models from the cheapest up; `direct` comes before them and is not in `order`."""

    order: tuple[str, ...]
    names: Mapping[str, str]
    """Every name and alias -> tier name."""

    def rank(self, tier: str) -> int:
        """0 for `direct`, then 1, 2, ... from the cheapest up."""
        return 0 if tier == DIRECT else self.order.index(tier) + 1


def read_ladder(draft: Draft) -> Ladder:
    """The ladder of a draft. Reports unclear ranks and ambiguous, reserved or empty names."""
    sections = draft.file.routing.tiers
    _check_direct(draft, sections.get(DIRECT))
    order = _ordered(draft, {name: section for name, section in sections.items() if name != DIRECT})
    names = {name: name for name in (DIRECT, *order)}
    for tier in (DIRECT, *order):
        _check_reserved(draft, tier, (*TIERS, tier))
        for alias in sections[tier].aliases if tier in sections else ():
            path = (*TIERS, tier, "aliases")
            _check_reserved(draft, alias, path)
            other = names.setdefault(alias, tier)
            if other != tier:
                kind = "the name" if other == alias else "an alias"
                what = f"'{alias}' is ambiguous: it is {kind} of tier '{other}' too"
                draft.mistakes.add(path, what, "remove it from one of the two")
    if not order and not draft.mistakes.may_lack(TIERS):
        draft.mistakes.add(TIERS, "no tier has models", "add a tier with a model below `direct`")
    if order and not any(sections[name].enabled for name in order):
        draft.mistakes.add(TIERS, "every tier is disabled", "enable at least one")
    return Ladder(order=order, names=names)


def tier_reference(draft: Draft, ladder: Ladder, name: str, path: SettingPath) -> str | None:
    """The tier a setting names, by name or alias. Reports an unknown one, unless tiers could not be read."""
    tier = ladder.names.get(name)
    if tier is None and not draft.mistakes.may_lack(TIERS):
        draft.mistakes.add(path, f"there is no tier '{name}'", nearest(name, ladder.names))
    return tier


def _check_direct(draft: Draft, section: TierSection | None) -> None:
    if section is None:
        return
    for key in TierSection.__struct_fields__:
        written = "context" if key == "context_tokens" else key
        if key != "aliases" and draft.is_written(*TIERS, DIRECT, written):
            draft.mistakes.add(
                (*TIERS, DIRECT, written),
                "`direct` runs commands, without a model, and is always rank 0",
                "remove this; it takes `aliases` only",
            )


def _ordered(draft: Draft, sections: Mapping[str, TierSection]) -> tuple[str, ...]:
    ranked = {name: section.rank for name, section in sections.items() if section.rank is not None}
    seen: dict[int, str] = {}
    for name, rank in ranked.items():
        if rank in seen:
            what = f"rank {rank} is the rank of tier '{seen[rank]}' too"
            draft.mistakes.add((*TIERS, name, "rank"), what, "give every tier a rank of its own")
        seen.setdefault(rank, name)
    for name in sections if ranked else ():
        if name not in ranked and not draft.mistakes.is_damaged((*TIERS, name)):
            what = f"tier '{name}' has no rank, others have"
            draft.mistakes.add((*TIERS, name), what, "give every tier a rank, or none: then their order counts")
    return tuple(sorted(sections, key=lambda name: ranked.get(name, 0)))


def _check_reserved(draft: Draft, name: str, path: SettingPath) -> None:
    if is_reserved(name) or not name.strip():
        draft.mistakes.add(path, f"'{name}' cannot name a tier", "it means something else to clients: rename it")
