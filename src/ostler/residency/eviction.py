"""Which residents make room for a model: the cheapest sufficient set, exactly, for the few residents of a host.

    price(c) = time until it is drained + unload
             + its load, if it will be needed again (future known: nothing when no task of it is to come;
               more the sooner that is; future unknown: what is left of its credit)
             + a bar no other price reaches, if work waits for it

The bar keeps what is wanted out of a set while anything else would do. It is no time: what a set costs to have back
(`Eviction.back_ms`) is without it. The price of a set is the sum; among equal prices the set that is free sooner wins,
then the smaller one, then the first by name. Never in a set: a pinned resident, one that loads or leaves already, one
that is held for an agent between two calls (unless the waiter has lost its patience), one before its minimum residence
time, one that the want needs itself. A busy resident may be in a set: it is drained first, never cut off.

Exact by enumeration up to `EXACT_MAX` candidates (64 sets); beyond, greedy by price with a pass that drops what turned
out not to be needed. Future unknown is Landlord's rule: `charge` takes from all residents, in proportion to their
memory, what the cheapest victim had left; use restores the credit (`touch`).
"""

from collections.abc import Container, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from ostler.residency.state import READY, UNKNOWN, HostState, Resident, Want

EXACT_MAX = 6
WANTED_PRICE_MS = 10**12
"""Added to the price of a resident that work waits for: above any real time, so that it can be told from one."""


class Eviction(NamedTuple):
    """A sufficient set, in order of name. `free_ms`: from now until its memory is free."""

    models: tuple[str, ...]
    free_ms: int
    price_ms: int

    @property
    def back_ms(self) -> int:
        """What it costs to have them back where they are needed again, at once or later: a time, without the bar."""
        return max(0, self.price_ms % WANTED_PRICE_MS - self.free_ms)


NOTHING = Eviction((), 0, 0)


class Victim(NamedTuple):
    """A resident that may go, and what that costs."""

    model: str
    memory_bytes: int
    free_ms: int
    price_ms: int


def victims(host: HostState, keep: Container[str], wants_of: dict[str, list[Want]], now_ms: int) -> list[Victim]:
    """The residents that may go at all, dearest last. `keep`: models that must stay, held ones included."""
    found = []
    for resident in host.residents.values():
        if resident.phase != READY or resident.pinned or resident.model in keep:
            continue
        drain_ms = max(0, resident.drained_ms - now_ms) if resident.busy else 0
        free_ms = drain_ms + resident.footprint.unload_ms
        price_ms = free_ms + _again_ms(resident, wants_of.get(resident.model, ()), now_ms)
        found.append(Victim(resident.model, resident.footprint.memory_bytes, free_ms, price_ms))
    if len(found) > 1:
        found.sort(key=_by_price)
    return found


def _by_price(victim: Victim) -> tuple[int, str]:
    return victim.price_ms, victim.model


def _again_ms(resident: Resident, wants: Sequence[Want], now_ms: int) -> int:
    """What it costs that the model is not there when it is needed again."""
    if not wants:
        return resident.credit_ms
    load_ms = resident.footprint.load_ms
    again_ms = 0
    for want in wants:
        if want.waiting:
            return WANTED_PRICE_MS + load_ms
        if want.soon:
            # Needed within its own load time: it would have to be fetched back at once.
            nearest_ms = max(0, min(want.soon).at_ms - now_ms)
            again_ms = max(again_ms, load_ms + max(0, load_ms - nearest_ms))
        elif want.later > 0:
            again_ms = max(again_ms, load_ms)
        elif want.later == UNKNOWN:
            again_ms = max(again_ms, resident.credit_ms)
    return again_ms


def cheapest_set(found: list[Victim], short_bytes: int, surplus: int = 0) -> Eviction | None:
    """The cheapest of `victims` that frees `short_bytes` and at least `surplus` residents; `None` = there is none."""
    if short_bytes <= 0 and surplus <= 0:
        return NOTHING
    if len(found) == 1:
        only = found[0]
        enough = only.memory_bytes >= short_bytes and surplus <= 1
        return Eviction((only.model,), only.free_ms, only.price_ms) if enough else None
    if sum(victim.memory_bytes for victim in found) < short_bytes or len(found) < surplus:
        return None
    return _exact(found, short_bytes, surplus) if len(found) <= EXACT_MAX else _greedy(found, short_bytes, surplus)


def _exact(found: list[Victim], short_bytes: int, surplus: int) -> Eviction | None:
    best: tuple[int, int, int, tuple[str, ...]] | None = None
    for size in range(max(1, surplus), len(found) + 1):
        for chosen in combinations(found, size):
            if sum(victim.memory_bytes for victim in chosen) < short_bytes:
                continue
            key = _key(chosen)
            if best is None or key < best:
                best = key
        if best is not None and best[0] <= sum(victim.price_ms for victim in found[: size + 1]):
            break  # no larger set is cheaper than the cheapest of that size, enough or not
    return None if best is None else Eviction(best[3], best[1], best[0])


def _greedy(found: list[Victim], short_bytes: int, surplus: int) -> Eviction | None:
    chosen: list[Victim] = []
    freed = 0
    for victim in found:
        if freed >= short_bytes and len(chosen) >= surplus:
            break
        chosen.append(victim)
        freed += victim.memory_bytes
    for victim in reversed(chosen[:]):
        if freed - victim.memory_bytes >= short_bytes and len(chosen) > surplus:
            chosen.remove(victim)
            freed -= victim.memory_bytes
    price_ms, free_ms, _, models = _key(chosen)
    return Eviction(models, free_ms, price_ms)


def _key(chosen: Iterable[Victim]) -> tuple[int, int, int, tuple[str, ...]]:
    price_ms = free_ms = 0
    models = []
    for victim in chosen:
        price_ms += victim.price_ms
        free_ms = max(free_ms, victim.free_ms)
        models.append(victim.model)
    return price_ms, free_ms, len(models), tuple(sorted(models))


def touch(resident: Resident) -> None:
    """The model was used: its credit is whole again."""
    resident.credit_ms = resident.footprint.load_ms


def charge(host: HostState, evicted: Iterable[str]) -> None:
    """What leaves had the least credit for its size: the others pay that much for staying."""
    gone = [host.residents[model] for model in evicted]
    sizes = [(resident.credit_ms, resident.footprint.memory_bytes) for resident in gone]
    for resident in host.residents.values():
        if resident in gone or not sizes:
            continue
        memory = resident.footprint.memory_bytes
        paid_ms = max(credit_ms * memory // size if size else credit_ms for credit_ms, size in sizes)
        resident.credit_ms = max(0, resident.credit_ms - paid_ms)
