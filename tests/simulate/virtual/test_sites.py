"""Machines and providers in virtual time: what they say to whoever hands calls over, and what they count."""

import pytest

from ostler.domain.states import FailureClass
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.sites import Machine, Order, Provider
from ostler.simulate.virtual.timeline import START_MS, Timeline
from tests.simulate.virtual.worlds import policy


class Listener:
    """Writes down what it is told, with instants from the start."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.heard: list[tuple[str, int | str, int]] = []

    def note(self, what: str, about: int | str) -> None:
        self.heard.append((what, about, self.timeline.time_ms - START_MS))

    def began(self, number: int) -> None:
        self.note("began", number)

    def ended(self, number: int) -> None:
        self.note("ended", number)

    def failed(self, number: int, kind: FailureClass, message: str, retry_after_ms: int | None) -> None:
        self.note(kind.value, number)

    def unloaded(self, site: str, model: str) -> None:
        self.note("unloaded", model)


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def listener(timeline: Timeline) -> Listener:
    return Listener(timeline)


@pytest.fixture
def machine(timeline: Timeline, listener: Listener) -> Machine:
    return Machine(fleet_of(policy({"box": 24}, slots=1), keep_alive_s=-1).machines["box"], timeline, listener)


def play(timeline: Timeline, *, until_ms: int = 10**9) -> None:
    while len(timeline) and timeline._heap[0][0] <= START_MS + until_ms:
        timeline.step()


def test_two_calls_and_a_swap_happen_at_exact_instants(
    machine: Machine, timeline: Timeline, listener: Listener
) -> None:
    """Load 20, run 60, unload 10, load 20, run 30: every instant can be added up by hand."""
    machine.call(Order(number=1, model="big", duration_ms=60_000))
    machine.call(Order(number=2, model="other", duration_ms=30_000))
    play(timeline)

    assert listener.heard == [
        ("began", 1, 20_000),
        ("ended", 1, 80_000),
        ("unloaded", "big", 90_000),
        ("began", 2, 110_000),
        ("ended", 2, 140_000),
    ]
    figures = machine.figures
    assert (figures.calls, figures.loads, figures.swaps) == (2, 2, 1)
    assert (figures.load_ms, figures.unload_ms, figures.busy_ms, figures.work_ms) == (40_000, 10_000, 90_000, 90_000)


def test_a_model_that_leaves_idle_makes_no_swap(timeline: Timeline, listener: Listener) -> None:
    """The keep-alive ended: nothing had to go for the next load."""
    machine = Machine(fleet_of(policy({"box": 24}), keep_alive_s=60).machines["box"], timeline, listener)
    machine.call(Order(number=1, model="big", duration_ms=1_000))
    play(timeline)
    machine.call(Order(number=2, model="other", duration_ms=1_000))
    play(timeline)

    assert ("unloaded", "big", 91_000) in listener.heard
    assert (machine.figures.loads, machine.figures.swaps) == (2, 0)


def test_a_model_that_is_sent_away_for_another_makes_a_swap(
    machine: Machine, timeline: Timeline, listener: Listener
) -> None:
    """Whoever asked for it, a load for which another model had to go is one."""
    machine.call(Order(number=1, model="big", load_only=True))
    play(timeline)
    assert [resident.model for resident in machine.residents()] == ["big"]
    machine.unload("big")
    machine.call(Order(number=2, model="other", load_only=True))
    play(timeline)

    assert listener.heard == [("ended", 1, 20_000), ("unloaded", "big", 30_000), ("ended", 2, 50_000)]
    assert machine.figures.swaps == 1
    assert machine.figures.calls == 0, "a load alone is no call"


def test_a_call_that_was_given_up_is_heard_of_no_more(machine: Machine, timeline: Timeline, listener: Listener) -> None:
    """And its slot goes to the next one."""
    machine.call(Order(number=1, model="big", duration_ms=60_000))
    machine.call(Order(number=2, model="big", duration_ms=60_000))
    play(timeline, until_ms=30_000)
    machine.hang_up(1)
    play(timeline)

    assert [(what, about) for what, about, _ in listener.heard] == [("began", 1), ("began", 2), ("ended", 2)]


def test_a_machine_that_goes_away_loses_its_calls_and_its_memory(
    machine: Machine, timeline: Timeline, listener: Listener
) -> None:
    """Each call fails once; what comes while it is away fails at once; afterwards it loads anew."""
    machine.call(Order(number=1, model="big", duration_ms=60_000))
    play(timeline, until_ms=30_000)
    machine.fail()
    machine.call(Order(number=2, model="big", duration_ms=60_000))
    machine.recover()
    machine.call(Order(number=3, model="big", duration_ms=60_000))
    play(timeline)

    assert listener.heard == [
        ("began", 1, 20_000),
        ("network", 1, 20_000),
        ("network", 2, 20_000),
        ("began", 3, 40_000),
        ("ended", 3, 100_000),
    ]
    assert machine.figures.busy_ms == 60_000, "the first call had begun at the very instant of the failure"


def test_a_model_that_is_too_large_is_refused(timeline: Timeline, listener: Listener) -> None:
    """As out of memory, at once."""
    machine = Machine(fleet_of(policy({"box": 8})).machines["box"], timeline, listener)
    machine.call(Order(number=1, model="big", duration_ms=1))

    assert listener.heard == [("out_of_memory", 1, 0)]


def test_what_follows_from_an_end_is_told_after_it(machine: Machine, timeline: Timeline, listener: Listener) -> None:
    """A customer that hands over the next call while it is told of an end hears of everything in order."""

    class Eager(Listener):
        def ended(self, number: int) -> None:
            super().ended(number)
            if number < 3:
                machine.call(Order(number=number + 1, model="big", duration_ms=1_000))

    eager = Eager(timeline)
    machine._customer = eager
    machine.call(Order(number=1, model="big", duration_ms=1_000))
    play(timeline)

    assert eager.heard == [
        ("began", 1, 20_000),
        ("ended", 1, 21_000),
        ("began", 2, 21_000),
        ("ended", 2, 22_000),
        ("began", 3, 22_000),
        ("ended", 3, 23_000),
    ]


@pytest.fixture
def provider(timeline: Timeline, listener: Listener) -> Provider:
    return Provider(fleet_of(policy(cloud=True)).providers["sky"], timeline, listener)


def test_a_provider_serves_many_at_once_and_loads_nothing(
    provider: Provider, timeline: Timeline, listener: Listener
) -> None:
    """Calls begin when they come."""
    for number in (1, 2):
        provider.call(Order(number=number, model="claude", duration_ms=1_000, prompt_tokens=10))
    play(timeline)

    assert listener.heard == [("began", 1, 0), ("began", 2, 0), ("ended", 1, 1_000), ("ended", 2, 1_000)]
    assert (provider.figures.busy_ms, provider.figures.work_ms, provider.figures.loads) == (1_000, 2_000, 0)
    assert provider.residents() is None


def test_a_provider_turns_away_what_is_beyond_its_limits(
    provider: Provider, timeline: Timeline, listener: Listener
) -> None:
    """The call over the limit is told of it at once."""
    for number in range(101):
        provider.call(Order(number=number, model="claude", duration_ms=1_000))

    assert listener.heard[-1] == ("rate_limit", 100, 0)


def test_a_provider_that_goes_away_loses_its_calls(provider: Provider, timeline: Timeline, listener: Listener) -> None:
    """Each once; one that was given up before is heard of no more."""
    provider.call(Order(number=1, model="claude", duration_ms=1_000))
    provider.call(Order(number=2, model="claude", duration_ms=1_000))
    provider.hang_up(1)
    provider.fail()
    provider.call(Order(number=3, model="claude", duration_ms=1_000))
    provider.recover()
    play(timeline)

    assert [(what, about) for what, about, _ in listener.heard] == [
        ("began", 1),
        ("began", 2),
        ("network", 2),
        ("network", 3),
    ]
