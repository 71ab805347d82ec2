"""The rules by which a simulated host queues, loads and evicts, each on the smallest machine that shows it."""

from collections.abc import Iterable

import msgspec
import pytest

from ostler.simulate.faults import Fault, FaultKind
from ostler.simulate.host_events import (
    FOREVER_MS,
    Call,
    CallRefused,
    CallStarted,
    Decision,
    LoadEnded,
    LoadStarted,
    RefusalCause,
    UnloadCause,
    UnloadEnded,
    UnloadStarted,
)
from ostler.simulate.host_model import HostModel
from ostler.simulate.spec import SimulatedHostSpec, SimulatedModelSpec

BIG = SimulatedModelSpec(name="big", weights_gib=8, kv_bytes_per_token=0, load_s=4, unload_s=2)
MID = SimulatedModelSpec(name="mid", weights_gib=5, kv_bytes_per_token=0, load_s=3, unload_s=1, slots=2)
TINY = SimulatedModelSpec(name="tiny", weights_gib=1, kv_bytes_per_token=0, load_s=1, unload_s=0)
SPEC = SimulatedHostSpec(models=(BIG, MID, TINY), memory_gib=12, reserve_gib=2, max_queue=3)


def call(call_id: int, model: str = "big", **settings: object) -> Call:
    fields: dict[str, object] = {"call_id": call_id, "model": model, "num_ctx": 4096, **settings}
    return msgspec.convert(fields, Call)


def started(decisions: Iterable[Decision]) -> list[int]:
    return [decision.call_id for decision in decisions if isinstance(decision, CallStarted)]


def host(spec: SimulatedHostSpec = SPEC, **changes: object) -> HostModel:
    return HostModel(msgspec.structs.replace(spec, **changes))


def loaded(machine: HostModel, *models: str) -> int:
    """Load models one after the other, in order; gives the time at which all are idle."""
    now_ms = 0
    for number, model in enumerate(models):
        decisions = machine.submit(call(1000 + number, model, load_only=True), now_ms)
        while not started(decisions):
            now_ms = machine.next_timer_ms() or now_ms
            decisions = machine.advance(now_ms)
        machine.finish(1000 + number, now_ms)
    return now_ms


def names(machine: HostModel, state: str = "ready") -> list[str]:
    return [resident.model for resident in machine.view().residents if resident.state == state]


def test_a_first_call_loads_its_model_and_then_runs() -> None:
    """The timing tells load, prompt and answer apart."""
    machine = host()

    assert machine.submit(call(1, prompt_tokens=500, output_tokens=30), 100) == [
        LoadStarted(at_ms=100, model="big", num_ctx=4096, ready_ms=4100, is_swap=False)
    ]
    assert machine.next_timer_ms() == 4100
    ended, began = machine.advance(4100)

    assert ended == LoadEnded(at_ms=4100, model="big")
    assert isinstance(began, CallStarted)
    assert (began.timing.load_ms, began.timing.prefill_ms, began.timing.decode_ms) == (4000, 1000, 1000)
    assert began.timing.ends_ms == 6100


def test_a_late_driver_does_not_shift_modelled_time() -> None:
    """A load that ended while nobody looked ended at its own time, and what follows counts from there."""
    machine = host()
    machine.submit(call(1), 0)

    decisions = machine.advance(9000)

    assert isinstance(decisions[1], CallStarted)
    assert decisions[1].timing.started_ms == 4000


def test_a_loaded_model_is_used_past_the_queue() -> None:
    """While the head waits for its load, a call for a loaded model is served; one queued before it is not."""
    machine = host()
    now_ms = loaded(machine, "tiny")
    machine.submit(call(1, "mid"), now_ms)
    machine.submit(call(2, "big"), now_ms)

    assert started(machine.submit(call(3, "tiny"), now_ms)) == [3]
    assert machine.view().queue == ("big",)


def test_calls_beyond_the_slots_wait_in_order() -> None:
    """A model works on as many calls as it has slots; the next in line starts when one ends."""
    machine = host()
    now_ms = loaded(machine, "mid")

    assert [started(machine.submit(call(number, "mid"), now_ms)) for number in range(1, 5)] == [[1], [2], [], []]
    assert started(machine.finish(2, now_ms + 10)) == [3]
    assert started(machine.cancel(1, now_ms + 20)) == [4]


def test_the_queue_is_bounded() -> None:
    """One call more than the queue holds is refused with Ollama's words; the others are kept."""
    machine = host()
    for number in range(1, 5):
        assert not started(machine.submit(call(number), 0))

    (refused,) = machine.submit(call(5), 0)

    assert isinstance(refused, CallRefused)
    assert (refused.call_id, refused.cause) == (5, RefusalCause.QUEUE_FULL)
    assert refused.message == "server busy, please try again.  maximum pending requests exceeded"
    assert machine.view().queue == ("big", "big", "big")


def test_one_model_loads_at_a_time() -> None:
    """A second load starts when the first has ended, although both fit."""
    machine = host()
    machine.submit(call(1, "mid"), 0)
    machine.submit(call(2, "tiny"), 0)

    assert names(machine, "loading") == ["mid"]
    decisions = machine.advance(3000)

    assert LoadStarted(at_ms=3000, model="tiny", num_ctx=4096, ready_ms=4000, is_swap=False) in decisions


def test_another_context_reloads_the_same_model() -> None:
    """The context is part of what a resident is: the old one goes first, which is a swap."""
    machine = host()
    now_ms = loaded(machine, "big")

    (unload,) = machine.submit(call(1, num_ctx=8192), now_ms)
    decisions = machine.advance(now_ms + 2000)

    assert unload == UnloadStarted(at_ms=now_ms, model="big", cause=UnloadCause.RELOADED, done_ms=now_ms + 2000)
    assert isinstance(decisions[1], LoadStarted)
    assert (decisions[1].num_ctx, decisions[1].is_swap) == (8192, True)


def test_memory_counts_until_the_unload_has_ended() -> None:
    """A load that needs the room of an unload waits for its end, not for its start."""
    machine = host()
    now_ms = loaded(machine, "big")

    machine.submit(call(1, "mid"), now_ms)
    assert machine.view().used_bytes == BIG.weights_bytes
    assert (names(machine, "unloading"), names(machine, "loading")) == (["big"], [])
    decisions = machine.advance(now_ms + 2000)

    assert decisions[0] == UnloadEnded(at_ms=now_ms + 2000, model="big")
    assert machine.view().used_bytes == MID.weights_bytes
    assert machine.view().counters.unloads == 1


def test_the_idle_model_with_the_shortest_keep_alive_is_evicted() -> None:
    """Neither size nor use nor name counts; what is left has its turn only if that was not enough."""
    machine = host()
    now_ms = loaded(machine, "mid", "tiny")
    machine.submit(call(1, "mid", keep_alive_ms=600_000), now_ms)
    machine.finish(1, now_ms)

    decisions = machine.submit(call(2, "big"), now_ms + 1)

    assert [d.model for d in decisions if isinstance(d, UnloadStarted)] == ["tiny", "mid"]


def test_equal_keep_alives_are_told_apart_by_name() -> None:
    """Of two idle models that would stay equally long, the first in the alphabet goes."""
    machine = host(max_loaded=2)
    now_ms = loaded(machine, "tiny", "mid")

    machine.submit(call(1, "big"), now_ms)

    assert "mid" in names(machine, "unloading")


def test_an_idle_model_goes_before_a_busy_one() -> None:
    """A longer keep-alive does not protect an idle model while the other works."""
    machine = host()
    now_ms = loaded(machine, "mid", "tiny")
    machine.submit(call(1, "mid", keep_alive_ms=0), now_ms)

    machine.submit(call(2, "big"), now_ms)

    assert (names(machine), names(machine, "loading"), names(machine, "unloading")) == (["mid"], [], [])
    assert machine.view().counters.unloads == 1, "tiny has gone, in no time"


def test_a_busy_model_is_drained_before_it_goes() -> None:
    """It keeps its call, goes when that ends, and its room is used at once after."""
    machine = host()
    now_ms = loaded(machine, "big")
    machine.submit(call(1, "big"), now_ms)
    machine.submit(call(2, "mid"), now_ms)

    assert machine.advance(now_ms + 50_000) == []
    (unload,) = machine.finish(1, now_ms + 50_000)

    assert isinstance(unload, UnloadStarted)
    assert started(machine.advance(now_ms + 60_000)) == [2]


def test_calls_for_a_model_that_is_leaving_still_get_it() -> None:
    """Nothing checks the eviction that waits, so a stream of calls for the resident model starves the queue."""
    machine = host()
    now_ms = loaded(machine, "big")
    machine.submit(call(1, "big"), now_ms)
    machine.submit(call(2, "mid"), now_ms)

    for number in range(3, 20):
        assert started(machine.submit(call(number, "big"), now_ms + number)) == []
        assert started(machine.finish(number - 1 if number > 3 else 1, now_ms + number)) == [number]

    assert machine.view().head == "mid"
    assert machine.view().residents[0].leaving


def test_room_that_comes_from_elsewhere_is_taken() -> None:
    """While a busy model drains for it, the head loads as soon as any other unload has made enough room."""
    models = tuple(msgspec.structs.replace(MID, name=name, weights_gib=4) for name in ("a", "b", "c"))
    machine = host(models=models, fit_percent=100)
    now_ms = loaded(machine, "a", "b")
    machine.submit(call(1, "a", keep_alive_ms=1000), now_ms)
    machine.submit(call(2, "b"), now_ms)
    machine.submit(call(3, "c"), now_ms)
    assert [r.model for r in machine.view().residents if r.leaving] == ["a"]

    machine.expire("b", now_ms)
    machine.finish(2, now_ms)

    assert started(machine.advance(now_ms + 4000)) == [3]
    assert names(machine) == ["a", "c"]


@pytest.mark.parametrize(("fit_percent", "waits_for"), [(80, ["mid"]), (100, [])])
def test_beside_others_a_load_may_claim_only_a_share(fit_percent: int, waits_for: list[str]) -> None:
    """5 GiB are 80 % of 6.25: beside 5 of 11 GiB they fit only when all of the rest may be claimed."""
    other = msgspec.structs.replace(MID, name="other")
    machine = host(models=(MID, other), memory_gib=13, fit_percent=fit_percent)
    now_ms = loaded(machine, "mid")

    machine.submit(call(1, "other"), now_ms)

    assert names(machine, "unloading") == waits_for


def test_an_empty_memory_may_be_claimed_whole() -> None:
    """A model as large as all the memory is loaded when nothing else is there."""
    machine = host(memory_gib=10)

    assert isinstance(machine.submit(call(1), 0)[0], LoadStarted)


def test_a_model_too_large_for_the_machine_is_refused_with_both_sizes() -> None:
    """And the queue goes on behind it."""
    machine = host(memory_gib=9.5)

    (refused,) = machine.submit(call(1), 0)

    assert isinstance(refused, CallRefused)
    assert refused.cause is RefusalCause.DOES_NOT_FIT
    assert refused.message == "model requires more system memory (8.0 GiB) than is available (7.5 GiB)"
    assert isinstance(machine.submit(call(2, "tiny"), 0)[0], LoadStarted)


def test_only_so_many_models_are_loaded() -> None:
    """The limit evicts although the memory would do."""
    machine = host(max_loaded=1)
    now_ms = loaded(machine, "mid")

    machine.submit(call(1, "tiny"), now_ms)

    assert names(machine, "unloading") == ["mid"]


def test_an_idle_model_expires_and_a_call_stops_the_clock() -> None:
    """The keep-alive counts from the end of the last call."""
    machine = host(keep_alive_s=10)
    now_ms = loaded(machine, "tiny")
    machine.submit(call(1, "tiny"), now_ms + 9_000)
    assert machine.next_timer_ms() is None
    machine.finish(1, now_ms + 12_000)

    assert machine.next_timer_ms() == now_ms + 22_000
    decisions = machine.advance(now_ms + 22_000)

    assert isinstance(decisions[0], UnloadStarted)
    assert decisions[0].cause is UnloadCause.EXPIRED


@pytest.mark.parametrize(("keep_alive_ms", "expires_in_ms"), [(0, None), (5_000, 5_000), (FOREVER_MS, FOREVER_MS)])
def test_a_call_says_how_long_its_model_stays(keep_alive_ms: int, expires_in_ms: int | None) -> None:
    """0 unloads it as soon as the call ends, a negative one never (here the largest duration)."""
    machine = host()
    now_ms = loaded(machine, "tiny")
    machine.submit(call(1, "tiny", keep_alive_ms=keep_alive_ms), now_ms)
    machine.finish(1, now_ms)

    residents = machine.view().residents

    assert [r.expires_ms for r in residents] == ([] if expires_in_ms is None else [now_ms + expires_in_ms])


def test_asked_to_leave_a_model_goes_when_idle() -> None:
    """At once if nobody uses it, else after its last call; one that is not loaded is ignored."""
    machine = host()
    now_ms = loaded(machine, "tiny", "mid")
    machine.submit(call(1, "mid"), now_ms)

    assert machine.expire("big", now_ms) == []
    assert isinstance(machine.expire("tiny", now_ms)[0], UnloadStarted)
    assert machine.expire("mid", now_ms) == []
    assert isinstance(machine.finish(1, now_ms)[0], UnloadStarted)


def test_a_model_that_is_leaving_is_loaded_again_once_it_is_gone() -> None:
    """Also where there is room for it twice."""
    machine = host()
    now_ms = loaded(machine, "mid")
    assert isinstance(machine.expire("mid", now_ms)[0], UnloadStarted)

    assert machine.submit(call(1, "mid"), now_ms + 1) == []
    assert (names(machine, "unloading"), names(machine, "loading")) == (["mid"], [])
    gone, again = machine.advance(now_ms + 1000)
    assert isinstance(gone, UnloadEnded)
    assert isinstance(again, LoadStarted)
    assert again.at_ms == now_ms + 1000


def test_a_client_that_hangs_up_during_a_load_ends_the_load() -> None:
    """Its memory is free only after the unload; the next in the queue then has its turn."""
    machine = host()
    machine.submit(call(1, "big"), 0)
    machine.submit(call(2, "mid"), 0)

    decisions = machine.cancel(1, 1000)

    assert decisions[:2] == [
        LoadEnded(at_ms=1000, model="big", error="aborted"),
        UnloadStarted(at_ms=1000, model="big", cause=UnloadCause.ABORTED, done_ms=3000),
    ]
    assert started(machine.advance(6000)) == [2]
    assert machine.view().counters.loads == 1


def test_a_head_whose_client_has_gone_still_blocks_until_its_eviction_is_done() -> None:
    """Ollama waits for the unload it asked for, whoever is left to use it."""
    machine = host()
    now_ms = loaded(machine, "big")
    machine.submit(call(1, "big"), now_ms)
    machine.submit(call(2, "mid"), now_ms)
    machine.submit(call(3, "mid"), now_ms)
    machine.cancel(2, now_ms + 1)

    assert machine.view().head == "mid"
    machine.finish(1, now_ms + 100)

    assert started(machine.advance(now_ms + 10_000)) == [3]


@pytest.mark.parametrize("is_waiting_for", ["queue", "slot"])
def test_a_waiting_client_that_hangs_up_frees_its_place(is_waiting_for: str) -> None:
    """It is never served, and who comes after it is."""
    machine = host()
    now_ms = loaded(machine, "big") if is_waiting_for == "slot" else 0
    for number in (1, 2, 3):
        machine.submit(call(number), now_ms)

    machine.cancel(2, now_ms)
    machine.cancel(2, now_ms)
    served = started(machine.advance(now_ms + 4000)) + started(machine.finish(1, now_ms + 4000))

    assert 2 not in served
    assert 3 in served
    assert machine.view().counters.calls_cancelled == 1


def test_a_load_that_fails_is_refused_and_frees_its_memory() -> None:
    """The next attempt may succeed."""
    machine = host(faults=(Fault(kind=FaultKind.LOAD_FAILURE, times=1),))
    machine.submit(call(1), 0)

    decisions = machine.advance(4000)

    assert isinstance(decisions[1], CallRefused)
    assert decisions[1].cause is RefusalCause.LOAD_FAILED
    assert machine.view().used_bytes == 0
    machine.submit(call(2), 5000)
    assert started(machine.advance(9000)) == [2]


def test_out_of_memory_evicts_all_others_and_tries_once_more() -> None:
    """Then it succeeds, alone in memory."""
    machine = host(faults=(Fault(kind=FaultKind.OUT_OF_MEMORY, times=1, model="tiny"),))
    now_ms = loaded(machine, "mid")
    machine.submit(call(1, "tiny"), now_ms)

    machine.advance(now_ms + 1000)
    assert names(machine, "unloading") == ["mid"]
    decisions = machine.advance(now_ms + 3000)

    assert started(decisions) == [1]
    assert names(machine) == ["tiny"]
    assert machine.view().counters.failed_loads == 1


def test_out_of_memory_twice_is_an_error() -> None:
    """Ollama's words for it are recognisable as lack of memory."""
    machine = host(faults=(Fault(kind=FaultKind.OUT_OF_MEMORY),))
    now_ms = loaded_or_refused(machine)

    assert now_ms == 4000


def loaded_or_refused(machine: HostModel) -> int:
    machine.submit(call(1), 0)
    (_ended, refused) = machine.advance(4000)
    assert isinstance(refused, CallRefused)
    assert "out of memory" in refused.message
    return refused.at_ms


def test_counters_tell_swaps_and_the_time_they_cost() -> None:
    """Two models that cannot live together: every change is a swap."""
    machine = host()
    now_ms = loaded(machine, "big", "mid", "big")

    counters = machine.view().counters

    assert now_ms == (4 + 2 + 3 + 1 + 4) * 1000
    assert (counters.loads, counters.unloads, counters.swaps) == (3, 2, 2)
    assert (counters.load_ms, counters.unload_ms) == (11_000, 3_000)


def test_a_model_the_host_does_not_have_is_a_mistake_of_the_driver() -> None:
    """The faces answer it before they ask the host."""
    with pytest.raises(KeyError):
        host().submit(call(1, "absent"), 0)
