"""The routers alone: which endpoint they choose, and what they send away for it."""

from collections.abc import Mapping

import pytest

from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.routers import (
    Drain,
    Fifo,
    LeastLoaded,
    RoundRobin,
    Router,
    Stall,
    Ticket,
    WarmFirst,
    can_load,
    leaving_for,
)
from ostler.simulate.virtual.sites import Machine
from ostler.simulate.virtual.timeline import Timeline
from tests.simulate.virtual.test_sites import Listener
from tests.simulate.virtual.worlds import policy


class Floor:
    """Stalls whose machines are set by hand; places are written down."""

    def __init__(self, hosts: Mapping[str, int], *, slots: int = 2) -> None:
        self.timeline = Timeline()
        fleet = fleet_of(policy(hosts, slots=slots))
        self.all = {
            host: Stall(
                name=host,
                machine=Machine(machine, self.timeline, Listener(self.timeline)),
                slots=lambda model: slots,
                placed={},
            )
            for host, machine in fleet.machines.items()
        }
        self.away: set[str] = set()
        self.placed: list[tuple[int, str]] = []

    @property
    def stalls(self) -> Mapping[str, Stall]:
        return {name: stall for name, stall in self.all.items() if name not in self.away}

    def place(self, ticket: Ticket, endpoint: str) -> None:
        self.placed.append((ticket.number, endpoint))
        if ticket.model not in self.machine(endpoint).ready:
            self.machine(endpoint).loading = ticket.model
        placed = self.all[endpoint].placed
        placed[ticket.model] = placed.get(ticket.model, 0) + 1

    def machine(self, host: str) -> Machine:
        machine = self.all[host].machine
        assert machine is not None
        return machine

    def holds(self, host: str, **used_ms: int) -> None:
        """Set what is loaded on a host, and when it was last used."""
        self.machine(host).ready = dict(used_ms)

    def ask(self, router: Router, *models: str, first: int = 1) -> list[str]:
        """Hand tickets over and let the router dispatch; the places of these tickets in order of number."""
        for number, model in enumerate(models, start=first):
            router.add(Ticket(number=number, model=model, endpoints=tuple(sorted(self.all)), work_ms=1_000))
        router.dispatch()
        return [endpoint for number, endpoint in sorted(self.placed) if number >= first]


TWO = {"a": 24, "b": 24}


def test_round_robin_passes_over_who_is_away() -> None:
    """And takes it up again afterwards."""
    floor = Floor(TWO)
    router = RoundRobin(floor)

    assert floor.ask(router, "big", "big") == ["a", "b"]
    floor.away = {"a"}
    assert floor.ask(router, "big", "big", first=3) == ["b", "b"]


def test_least_loaded_prefers_fewer_calls_then_names() -> None:
    """Warm or not."""
    floor = Floor(TWO)
    floor.holds("b", big=1)

    assert floor.ask(LeastLoaded(floor), "big", "big", "big") == ["a", "b", "a"]


def test_warm_first_prefers_the_loaded_model_at_any_load() -> None:
    """Other models go to who has fewest calls."""
    floor = Floor(TWO)
    floor.holds("b", big=1)

    assert floor.ask(WarmFirst(floor), "big", "big", "big", "other") == ["b", "b", "b", "a"]


@pytest.mark.parametrize("kind", [RoundRobin, LeastLoaded, WarmFirst])
def test_calls_that_nobody_can_take_wait_for_somebody(kind: type[RoundRobin]) -> None:
    """Until an endpoint answers again; one that is given up meanwhile is forgotten."""
    floor = Floor(TWO)
    router = kind(floor)
    floor.away = {"a", "b"}
    assert floor.ask(router, "big", "big") == []
    router.withdraw(Ticket(number=1, model="big", endpoints=("a", "b"), work_ms=1_000))
    floor.away = {"a"}
    router.dispatch()

    assert floor.placed == [(2, "b")]


@pytest.mark.parametrize("kind", [Fifo, Drain])
def test_queues_hand_over_no_more_than_the_slots(kind: type[Fifo]) -> None:
    """What is beyond waits with the router, and can be given up there."""
    floor = Floor({"a": 24})
    floor.holds("a", big=1)
    router = kind(floor)

    assert floor.ask(router, "big", "big", "big", "big") == ["a", "a"]
    router.withdraw(Ticket(number=3, model="big", endpoints=("a",), work_ms=1_000))
    floor.all["a"].placed = {}
    router.dispatch()
    assert [number for number, _ in floor.placed] == [1, 2, 4]


def test_the_head_of_a_strict_queue_holds_back_the_rest() -> None:
    """The second is for a loaded model with free slots; the head is not, and nothing idle can leave for it."""
    floor = Floor({"a": 24})
    floor.holds("a", big=1)
    floor.all["a"].placed = {"big": 1}

    assert floor.ask(Fifo(floor), "other", "big") == []
    assert floor.ask(Drain(floor), "other", "big", first=11) == ["a"]


def test_who_leaves_was_used_longest_ago() -> None:
    """Only as many as it takes, only idle ones, and none when all idle ones together are not enough."""
    floor = Floor({"a": 48})
    stall = floor.all["a"]
    floor.holds("a", big=5, other=2, small=1)

    assert leaving_for(Floor({"a": 24}).all["a"], "big") == ()
    assert leaving_for(stall, "big") == ("small", "other")
    stall.placed = {"other": 1}
    assert leaving_for(stall, "big") == ("small", "big")
    stall.placed = {"other": 1, "big": 1}
    assert leaving_for(stall, "big") is None
    assert not can_load(stall, "big"), "it is loaded already"


def test_nothing_more_is_sent_away_while_memory_changes() -> None:
    """A machine that loads or unloads, or will for a call it has, is left alone."""
    floor = Floor({"a": 24})
    machine = floor.machine("a")
    floor.holds("a", big=1)

    assert can_load(floor.all["a"], "other")
    machine.unloading = ["small"]
    assert not can_load(floor.all["a"], "other")


def test_drain_keeps_a_model_with_waiting_work() -> None:
    """The idle second host changes instead."""
    floor = Floor(TWO)
    floor.holds("a", big=1)

    assert floor.ask(Drain(floor), "other", "other", "big", "big", "big") == ["b", "b", "a", "a"]
