"""One host as a timeline that only grows: where the next task could go, and what must be swapped for it.

A floor keeps the stays (episodes) of models, when each slot is free again, and what takes memory when. `offer` answers
without changing anything; `take` carries an offer out. A slot is only ever filled behind what it already holds, and one
load follows another, so tasks may be handed over in any order that suits the caller: the result always fits.

What leaves is the smallest set, drained earliest first, that makes room; a pinned model never leaves and a busy one not
before its last task ends. Memory and the count of residents include models that load and unload, from the start of the
load to the end of the unload. Cost of an offer: linear in residents and, when something is loaded, in recent stays.
"""

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ostler.planning.instance import Choice, PlanHost, Serving
from ostler.planning.plan import Episode


class Stay:
    """One model in memory, or on its way in or out."""

    __slots__ = ("drained_ms", "initial", "leave_ms", "load_ms", "model", "ready_ms", "serving", "slots_free_ms")

    def __init__(self, model: str, serving: Serving, load_ms: int, *, initial: bool = False) -> None:
        self.model = model
        self.serving = serving
        self.initial = initial
        self.load_ms = load_ms
        self.ready_ms = load_ms if initial else load_ms + serving.load_ms
        self.drained_ms = self.ready_ms
        self.leave_ms: int | None = None
        """Start of its unload."""
        self.slots_free_ms = [self.ready_ms] * serving.slots

    def gone_ms(self) -> int | None:
        """End of its unload."""
        return None if self.leave_ms is None else self.leave_ms + self.serving.unload_ms

    def episode(self, host: str) -> Episode:
        """The stay as it stands."""
        return Episode(
            host=host,
            model=self.model,
            load_start_ms=self.load_ms,
            ready_ms=self.ready_ms,
            unload_start_ms=self.leave_ms,
            unload_end_ms=self.gone_ms(),
            initial=self.initial,
        )


class Offer(NamedTuple):
    """A task on this host: when, and what is unloaded and loaded for it."""

    start_ms: int
    end_ms: int
    leave: tuple[tuple[Stay, int], ...] = ()
    """Who leaves, and when its unload starts."""
    load: tuple[tuple[str, int], ...] = ()
    """What is loaded, and when its load starts."""


class _Use(NamedTuple):
    """Memory taken from one instant to another; `until_ms` None = to the end."""

    from_ms: int
    until_ms: int | None
    memory_bytes: int
    residents: int


class Floor:
    """The timeline of one host."""

    def __init__(self, host: PlanHost) -> None:
        self.host = host
        ready = host.models if host.cloud else host.resident
        self._here = {model: Stay(model, host.models[model], 0, initial=True) for model in ready}
        self._resident_bytes = sum(stay.serving.memory_bytes for stay in self._here.values())
        self._memory_bytes = None if host.cloud else host.memory_bytes
        self._max_resident = None if host.cloud else host.max_resident
        self._gone: list[Stay] = []
        self._work: list[_Use] = []
        """Memory that tasks take themselves."""
        self._gone_ms: dict[str, int] = {}
        """End of the last unload of each model."""
        self._loads_end_ms = 0
        self._settled = 0
        """So many of `_gone` left before the last load began: no later load can meet them."""

    def episodes(self) -> list[Episode]:
        """Every stay so far, in order of load start; a cloud is always ready and has none."""
        if self.host.cloud:
            return []
        stays = sorted((*self._gone, *self._here.values()), key=lambda stay: (stay.load_ms, stay.model))
        return [stay.episode(self.host.name) for stay in stays]

    def earliest_ms(self, choice: Choice, ready_ms: int, swap_from_ms: int = 0) -> tuple[int, bool]:
        """No offer starts sooner; and whether something must be loaded. Much cheaper than an offer."""
        here, models = self._here, self.host.models
        start_ms, missing_bytes = ready_ms, 0
        loads_ms = []
        for model in choice.models:
            stay = here.get(model)
            if stay is not None:
                start_ms = max(start_ms, stay.slots_free_ms[0])
            else:
                missing_bytes += models[model].memory_bytes
                loads_ms.append(models[model].load_ms)
        if not loads_ms:
            return start_ms, False
        start_ms = max(start_ms, max(self._loads_end_ms, swap_from_ms) + sum(loads_ms))
        if self._memory_bytes is not None and self._resident_bytes + missing_bytes > self._memory_bytes:
            # Some of the loads may find room before the last has left; one at least follows it.
            freed_ms = self._freed_ms(choice, self._resident_bytes + missing_bytes - self._memory_bytes)
            start_ms = max(start_ms, freed_ms + min(loads_ms))
        return start_ms, True

    def _freed_ms(self, choice: Choice, short_bytes: int) -> int:
        """When so much has left, if what is drained first leaves first."""
        freed_ms = 0
        stays = [stay for stay in self._here.values() if stay.model not in choice.models and not stay.serving.pinned]
        for stay in sorted(stays, key=lambda stay: (stay.drained_ms, stay.model)):
            short_bytes -= stay.serving.memory_bytes
            freed_ms = stay.drained_ms
            if short_bytes <= 0:
                break
        return freed_ms

    def offer(self, choice: Choice, duration_ms: int, ready_ms: int, swap_from_ms: int = 0) -> Offer | None:
        """The earliest run of a task that is ready at an instant, with no swap begun before another.

        `None` if pinned models leave no room for it, ever. The host must have the models of the choice.
        """
        here = self._here
        if not choice.memory_bytes and all(model in here for model in choice.models):
            start_ms = max((here[model].slots_free_ms[0] for model in choice.models), default=0)
            start_ms = max(start_ms, ready_ms)
            return Offer(start_ms, start_ms + duration_ms)
        return self._swapping_offer(choice, duration_ms, ready_ms, swap_from_ms)

    def _swapping_offer(self, choice: Choice, duration_ms: int, ready_ms: int, swap_from_ms: int) -> Offer | None:
        missing = tuple(dict.fromkeys(model for model in choice.models if model not in self._here))
        leaving = self._leaving(choice, missing)
        if leaving is None:
            return None
        leave = tuple((stay, max(stay.drained_ms, swap_from_ms)) for stay in leaving)
        uses = self._uses({stay.model: at_ms for stay, at_ms in leave}, settled=not choice.memory_bytes)
        start_ms = max(
            (self._here[model].slots_free_ms[0] for model in choice.models if model in self._here), default=0
        )
        start_ms = max(start_ms, ready_ms)
        load = []
        at_ms = max(self._loads_end_ms, swap_from_ms)
        for model in missing:
            serving = self.host.models[model]
            at_ms = max(at_ms, self._gone_ms.get(model, 0))
            at_ms = self._room_ms(uses, at_ms, None, serving.memory_bytes, 1)
            load.append((model, at_ms))
            uses.append(_Use(at_ms, None, serving.memory_bytes, 1))
            at_ms += serving.load_ms
            start_ms = max(start_ms, at_ms)
        if choice.memory_bytes:
            start_ms = self._room_ms(uses, start_ms, duration_ms, choice.memory_bytes, 0)
        return Offer(start_ms, start_ms + duration_ms, leave, tuple(load))

    def take(self, choice: Choice, offer: Offer) -> None:
        """Carry out the offer that was made last for this choice; nothing may have been taken since."""
        for stay, at_ms in offer.leave:
            stay.leave_ms = at_ms
            del self._here[stay.model]
            self._resident_bytes -= stay.serving.memory_bytes
            self._gone.append(stay)
            self._gone_ms[stay.model] = at_ms + stay.serving.unload_ms
        for model, at_ms in offer.load:
            stay = Stay(model, self.host.models[model], at_ms)
            self._here[model] = stay
            self._resident_bytes += stay.serving.memory_bytes
            self._loads_end_ms = stay.ready_ms
        for model in dict.fromkeys(choice.models):
            stay = self._here[model]
            heapq.heapreplace(stay.slots_free_ms, offer.end_ms)
            stay.drained_ms = max(stay.drained_ms, offer.end_ms)
        if choice.memory_bytes:
            self._work.append(_Use(offer.start_ms, offer.end_ms, choice.memory_bytes, 0))
        while self._settled < len(self._gone) and (self._gone[self._settled].gone_ms() or 0) <= self._loads_end_ms:
            self._settled += 1

    def _leaving(self, choice: Choice, missing: tuple[str, ...]) -> list[Stay] | None:
        """Who must leave: drained earliest first, then without those that need not."""
        arriving = [self.host.models[model].memory_bytes for model in missing]
        staying = dict(self._here)
        wanted = (sum(arriving) + choice.memory_bytes, len(arriving))
        leaving: list[Stay] = []
        others = [stay for stay in staying.values() if stay.model not in choice.models and not stay.serving.pinned]
        for stay in sorted(others, key=lambda stay: (stay.drained_ms, stay.model)):
            if self._fits(staying.values(), *wanted):
                break
            leaving.append(staying.pop(stay.model))
        if not self._fits(staying.values(), *wanted):
            return None
        for stay in reversed(leaving[:-1]):
            if self._fits([*staying.values(), stay], *wanted):
                staying[stay.model] = stay
                leaving.remove(stay)
        return leaving

    def _fits(self, staying: Iterable[Stay], memory_bytes: int, residents: int) -> bool:
        stays = list(staying)
        if self._max_resident is not None and len(stays) + residents > self._max_resident:
            return False
        if self._memory_bytes is None:
            return True
        return sum(stay.serving.memory_bytes for stay in stays) + memory_bytes <= self._memory_bytes

    def _uses(self, leave_ms: Mapping[str, int], *, settled: bool) -> list[_Use]:
        """What takes memory when, if those leave then; `settled` passes over what no later load can meet."""
        first = self._settled if settled else 0
        uses = [_Use(stay.load_ms, stay.gone_ms(), stay.serving.memory_bytes, 1) for stay in self._gone[first:]]
        for model, stay in self._here.items():
            at_ms = leave_ms.get(model)
            until_ms = None if at_ms is None else at_ms + stay.serving.unload_ms
            uses.append(_Use(stay.load_ms, until_ms, stay.serving.memory_bytes, 1))
        return uses + self._work

    def _room_ms(self, uses: list[_Use], earliest_ms: int, duration_ms: int | None, memory: int, residents: int) -> int:
        """The earliest instant from which so much more fits, for a duration or for good."""
        met = [use for use in uses if use.until_ms is None or use.until_ms > earliest_ms]
        ends = sorted({use.until_ms for use in met if use.until_ms is not None})
        for at_ms in (earliest_ms, *ends):
            until_ms = None if duration_ms is None else at_ms + duration_ms
            if self._holds(met, at_ms, until_ms, memory, residents):
                return at_ms
        raise AssertionError("room was promised: what leaves makes room once all have left")

    def _holds(self, uses: list[_Use], from_ms: int, until_ms: int | None, memory: int, residents: int) -> bool:
        capacity, limit = self._memory_bytes, self._max_resident
        instants = {from_ms}
        instants.update(
            use.from_ms for use in uses if use.from_ms > from_ms and (until_ms is None or use.from_ms < until_ms)
        )
        for instant_ms in instants:
            now = [
                use for use in uses if use.from_ms <= instant_ms and (use.until_ms is None or use.until_ms > instant_ms)
            ]
            if capacity is not None and sum(use.memory_bytes for use in now) + memory > capacity:
                return False
            if limit is not None and sum(use.residents for use in now) + residents > limit:
                return False
        return True
