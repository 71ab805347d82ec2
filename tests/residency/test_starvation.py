"""Nobody waits for ever: one saturated host, models that exclude each other, and a bound for every waiter.

The host here is the smallest that can be: one memory, one model in it at a time, a queue for each model; whoever asks
the rule does with its answers what the live scheduler does. Overdue work starts oldest first, as the rule demands.
"""

from heapq import heappop, heappush
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.residency.rule import LIVE, Load, Params, Recheck, next_move
from ostler.residency.state import (
    DRAINING,
    LOADING,
    READY,
    UNLOADING,
    Footprint,
    HostState,
    Resident,
    State,
    Swap,
    Want,
)

LOAD_MS, UNLOAD_MS, SLOTS = 40, 10, 2
SWAP_MS = LOAD_MS + UNLOAD_MS
LASTS_MAX_MS = 30
MODELS = ("a", "b", "c")
NEVER = 1 << 60


class Job(NamedTuple):
    """Work for a model, with an urgency of its own."""

    at_ms: int
    number: int
    model: str
    lasts_ms: int
    urgency: int


class Stable:
    """The host and its queues in virtual time."""

    def __init__(self, jobs: list[Job], patience_ms: int, params: Params = LIVE) -> None:
        self.jobs = sorted(jobs)
        self.patience_ms = patience_ms
        self.params = params
        footprint = Footprint(10, LOAD_MS, UNLOAD_MS, SLOTS)
        self.host = HostState("box", 10, dict.fromkeys(MODELS, footprint))
        self.queues: dict[str, list[Job]] = {model: [] for model in MODELS}
        self.starts: dict[int, int] = {}
        self.loads: list[tuple[int, str]] = []
        self.now_ms = 0
        self.events: list[tuple[int, int, str]] = []
        for job in self.jobs:
            heappush(self.events, (job.at_ms, 0, str(job.number)))
            heappush(self.events, (job.at_ms + patience_ms, 1, ""))

    def run(self) -> "Stable":
        by_number = {str(job.number): job for job in self.jobs}
        while self.events:
            self.now_ms, kind, what = heappop(self.events)
            if kind == 0:
                self.queues[by_number[what].model].append(by_number[what])
            elif kind == 2:
                self.ended(what)
            elif kind == 3:
                self.host.residents[what].phase = READY
                self.host.residents[what].since_ms = self.now_ms
                self.host.swap = None
            elif kind == 4:
                self.host.remove(what)
                self.load()
            if self.events and self.events[0][0] == self.now_ms:
                continue
            self.dispatch()
            while self.decide():
                self.dispatch()
        return self

    def ended(self, model: str) -> None:
        resident = self.host.residents[model]
        resident.busy -= 1
        if not resident.busy and resident.phase == DRAINING:
            self.unload(model)

    def unload(self, model: str) -> None:
        self.host.residents[model].phase = UNLOADING
        heappush(self.events, (self.now_ms + UNLOAD_MS, 4, model))

    def load(self) -> None:
        swap = self.host.swap
        assert swap is not None
        (model,) = swap.models
        self.host.add(
            Resident(model, self.host.models[model], phase=LOADING, ready_ms=self.now_ms + LOAD_MS, since_ms=NEVER)
        )
        heappush(self.events, (self.now_ms + LOAD_MS, 3, model))

    def overdue(self, job: Job) -> bool:
        return self.now_ms - job.at_ms >= self.patience_ms

    def dispatch(self) -> None:
        for model, resident in self.host.residents.items():
            queue = self.queues[model]
            queue.sort(
                key=lambda job: (0, job.at_ms, job.number) if self.overdue(job) else (1, -job.urgency, job.number)
            )
            while queue and resident.phase == READY and resident.busy < SLOTS:
                job = queue.pop(0)
                self.starts[job.number] = self.now_ms
                resident.busy += 1
                resident.drained_ms = max(resident.drained_ms, self.now_ms + job.lasts_ms)
                heappush(self.events, (self.now_ms + job.lasts_ms, 2, model))

    def decide(self) -> bool:
        wants = []
        for model, queue in self.queues.items():
            oldest_ms = min((job.at_ms for job in queue), default=self.now_ms)
            want = Want((model,), waiting=len(queue), work_ms=sum(job.lasts_ms for job in queue), later=0)
            want.urgency = max((job.urgency for job in queue), default=0)
            want.oldest_ms, want.overdue = oldest_ms, any(self.overdue(job) for job in queue)
            wants.append(want)
        move = next_move(State([self.host], wants), self.params, self.now_ms)
        if isinstance(move, Recheck):
            heappush(self.events, (move.at_ms, 1, ""))
        if not isinstance(move, Load):
            return False
        self.loads.append((self.now_ms, move.model))
        self.host.swap = Swap(move.models, move.evict, self.now_ms + move.available_ms)
        for model in move.evict:
            resident = self.host.residents[model]
            assert resident.phase == READY
            resident.phase = DRAINING
            if not resident.busy:
                self.unload(model)
        if not move.evict:
            self.load()
        return True


def jobs(count: int, every_ms: int, model: str, lasts_ms: int = 20, first: int = 0, urgency: int = 0) -> list[Job]:
    return [Job(place * every_ms, first + place, model, lasts_ms, urgency) for place in range(count)]


def test_without_patience_an_exhaustive_server_starves_the_other_queue() -> None:
    """A queue that never empties keeps its model: that is what patience is for."""
    stream = jobs(200, 9, "a")
    lonely = Job(100, 999, "b", 20, 10**6)

    served = Stable([*stream, lonely], NEVER).run()

    assert served.starts[999] > 1_500


def test_patience_bounds_the_wait_of_a_lonely_waiter() -> None:
    """After its patience it waits for those that are older, one drain and one swap."""
    stream = jobs(200, 9, "a")
    lonely = Job(100, 999, "b", 20, 0)

    served = Stable([*stream, lonely], 300).run()

    waited = served.starts[999] - 100
    assert 300 <= waited <= 300 + 20 * 30 + SWAP_MS


def test_patience_costs_only_the_swaps_it_forces() -> None:
    """The stream is taken up again after the lonely waiter: there, and back."""
    stream = jobs(200, 11, "a")
    lonely = Job(100, 999, "b", 20, 0)

    served = Stable([*stream, lonely], 600).run()

    assert [model for _, model in served.loads] == ["a", "b", "a"]


def test_a_burst_of_one_age_is_served_by_model_even_when_all_of_it_is_overdue() -> None:
    """Thirty tasks of two models that came at once: patience makes no ping-pong of them."""
    burst = [Job(0, place, MODELS[place % 2], 20, place) for place in range(30)]

    served = Stable(burst, 50).run()

    assert len(served.loads) == 2


def test_minimum_residence_keeps_groups_together_under_overload() -> None:
    """Two streams that one host cannot carry: everything is overdue, and still not every task costs a swap."""
    both = [*jobs(60, 10, "a"), *jobs(60, 10, "b", first=100)]

    free = Stable(both, 30).run()
    grouped = Stable(both, 30, LIVE._replace(min_stay_ms=6 * SWAP_MS)).run()

    assert len(grouped.loads) < len(free.loads) / 2
    assert max(grouped.starts.values()) < max(free.starts.values())


@pytest.mark.parametrize("patience_ms", [0, 50, 400])
def test_with_the_same_patience_everybody_is_served(patience_ms: int) -> None:
    """Three streams, one host: every task starts."""
    streams = [job for place, model in enumerate(MODELS) for job in jobs(25, 17, model, first=100 * place)]

    served = Stable(streams, patience_ms).run()

    assert len(served.starts) == 75


job_lists = st.lists(
    st.tuples(st.integers(0, 600), st.sampled_from(MODELS), st.integers(1, LASTS_MAX_MS), st.integers(-100, 100)),
    min_size=1,
    max_size=40,
).map(lambda rows: [Job(at, place, model, lasts, key) for place, (at, model, lasts, key) in enumerate(rows)])


@given(job_lists, st.sampled_from((0, 40, 150, 500)), st.sampled_from((0, 100)))
def test_no_waiter_passes_its_bound(work: list[Job], patience_ms: int, min_stay_ms: int) -> None:
    """Patience, then at most one turn (stay, drain, swap) for each waiter that is at least as old, and two more."""
    served = Stable(work, patience_ms, LIVE._replace(min_stay_ms=min_stay_ms)).run()

    turn_ms = LASTS_MAX_MS + SWAP_MS + min_stay_ms
    for job in work:
        assert job.number in served.starts, "nobody waits for ever"
        older = sum(other.at_ms <= job.at_ms for other in work if other.number != job.number)
        waited = served.starts[job.number] - job.at_ms
        assert waited <= patience_ms + (older + 2) * turn_ms, "no waiter passes its bound"


@given(job_lists, st.sampled_from((0, 150)))
def test_no_two_models_are_ever_in_a_memory_for_one(work: list[Job], patience_ms: int) -> None:
    """Loads are far enough apart: the old model drains and leaves before the new one comes."""
    served = Stable(work, patience_ms).run()

    for (first_ms, _), (second_ms, _) in zip(served.loads, served.loads[1:], strict=False):
        assert second_ms - first_ms >= LOAD_MS, "a swap is whole before the next is decided"
