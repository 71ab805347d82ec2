"""The pure model of a host driven in virtual time: what a planner or a discrete-event simulation does with it.

The driver below is all it takes. It shows how a machine that serves in order of arrival loses its time to swaps.
"""

import heapq
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from ostler.simulate.faults import Fault, FaultKind
from ostler.simulate.host_events import Call, CallRefused, CallStarted, Counters, Decision
from ostler.simulate.host_model import HostModel
from ostler.simulate.spec import SimulatedHostSpec, SimulatedModelSpec

BIG = SimulatedModelSpec(
    name="big", weights_gib=20, kv_bytes_per_token=0, load_s=22.5, unload_s=17.5, decode_tokens_per_s=10
)
FAST = SimulatedModelSpec(
    name="fast", weights_gib=8, kv_bytes_per_token=0, load_s=7.5, unload_s=7.5, decode_tokens_per_s=50, slots=4
)
MACHINE = SimulatedHostSpec(models=(BIG, FAST), memory_gib=26, reserve_gib=2, keep_alive_s=-1)


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a workload."""

    ended_ms: dict[int, int] = {}
    refused: list[int] = []
    counters: Counters = msgspec.field(default_factory=Counters)

    @property
    def makespan_ms(self) -> int:
        """When the last call ended."""
        return max(self.ended_ms.values(), default=0)


def run(spec: SimulatedHostSpec, arrivals: Sequence[tuple[int, Call]]) -> Outcome:
    """Serve calls that arrive at given times, each ending when its plan says so."""
    host, outcome = HostModel(spec), Outcome(ended_ms={}, refused=[])
    events: list[tuple[int, int, str, int]] = [(at_ms, 1, "submit", i) for i, (at_ms, _call) in enumerate(arrivals)]
    heapq.heapify(events)

    def book(decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, CallStarted):
                heapq.heappush(events, (decision.timing.ends_ms, 0, "finish", decision.call_id))
            elif isinstance(decision, CallRefused):
                outcome.refused.append(decision.call_id)

    while True:
        timer_ms = host.next_timer_ms()
        if timer_ms is not None and (not events or timer_ms <= events[0][0]):
            if not events and host.view().head is None:
                break  # only keep-alives are left
            book(host.advance(timer_ms))
        elif events:
            now_ms, _order, kind, number = heapq.heappop(events)
            if kind == "submit":
                book(host.submit(arrivals[number][1], now_ms))
            else:
                outcome.ended_ms[number] = now_ms
                book(host.finish(number, now_ms))
        else:
            break
    outcome.counters = host.view().counters
    return outcome


def calls(order: str, *, gap_ms: int = 0, tokens: int = 100) -> list[tuple[int, Call]]:
    """`b` is a call of the big model, `f` one of the fast."""
    names = {"b": "big", "f": "fast"}
    return [
        (number * gap_ms, Call(call_id=number, model=names[kind], num_ctx=4096, output_tokens=tokens))
        for number, kind in enumerate(order)
    ]


def test_order_of_arrival_costs_a_swap_for_every_change() -> None:
    """Alternating between two models that cannot live together, a machine mostly loads."""
    alternating, grouped = run(MACHINE, calls("bfbfbfbf")), run(MACHINE, calls("bbbbffff"))

    assert (alternating.counters.loads, grouped.counters.loads) == (8, 2)
    assert (alternating.counters.swaps, grouped.counters.swaps) == (7, 1)
    assert alternating.counters.output_tokens == grouped.counters.output_tokens == 800
    assert alternating.makespan_ms > 2.5 * grouped.makespan_ms


def test_grouped_work_takes_exactly_loads_and_tokens() -> None:
    """Four calls one after the other, one swap, four calls side by side."""
    outcome = run(MACHINE, calls("bbbbffff"))

    assert outcome.makespan_ms == 22_500 + 4 * 10_000 + 17_500 + 7_500 + 2_000


def test_with_room_for_both_order_does_not_matter() -> None:
    """Once both are loaded, they work side by side."""
    roomy = msgspec.structs.replace(MACHINE, memory_gib=64)

    outcome = run(roomy, calls("bfbfbfbf"))

    assert (outcome.counters.loads, outcome.counters.swaps) == (2, 0)
    assert outcome.makespan_ms == 22_500 + 4 * 10_000


def test_slots_divide_the_time() -> None:
    """Eight calls on four slots take two rounds."""
    outcome = run(MACHINE, calls("f" * 8))

    assert outcome.makespan_ms == 7_500 + 2 * 2_000
    assert sorted(outcome.ended_ms.values()) == [9_500] * 4 + [11_500] * 4


def test_a_stream_of_calls_for_the_resident_model_starves_the_other() -> None:
    """Each arrives before the last has ended, so the eviction that waits for an idle moment never comes."""
    steady = calls("b" * 12, gap_ms=9_000)
    waiting = (30_000, Call(call_id=99, model="fast", num_ctx=4096, output_tokens=1))

    outcome = run(MACHINE, [*steady, waiting])

    assert outcome.ended_ms[99] > max(outcome.ended_ms[number] for number in range(12))


def test_a_bounded_queue_turns_work_away() -> None:
    """One works, two wait, the rest is refused; what was accepted is done."""
    outcome = run(msgspec.structs.replace(MACHINE, max_queue=2), calls("b" * 6))

    assert outcome.refused == [3, 4, 5]
    assert sorted(outcome.ended_ms) == [0, 1, 2]
    assert outcome.counters.calls_refused == 3


def test_a_failing_load_costs_its_call_and_its_time() -> None:
    """The next call loads again."""
    faulty = msgspec.structs.replace(MACHINE, faults=(Fault(kind=FaultKind.LOAD_FAILURE, times=1),))

    outcome = run(faulty, calls("bb"))

    assert (outcome.refused, list(outcome.ended_ms)) == ([0], [1])
    assert outcome.makespan_ms == 2 * 22_500 + 10_000


@pytest.mark.parametrize("order", ["bfbf", "ffbb", "bffb"])
def test_a_run_can_be_repeated(order: str) -> None:
    """To the millisecond."""
    assert run(MACHINE, calls(order, gap_ms=777)) == run(MACHINE, calls(order, gap_ms=777))
