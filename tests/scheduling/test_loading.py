"""What comes from outside: wishes of people, listings, two endpoints of a machine, restarts; and what is told of it."""

import msgspec
import pytest

from ostler.domain.catalog import EndpointKind
from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.fleet import GIB, HeldPhase, ModelAt, Probe, ProbeStatus, Resident
from ostler.domain.managed import Counts
from ostler.domain.states import TaskState
from ostler.domain.tasks import Priority
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.host_views import HostView, host_views, model_queues, speed_views
from ostler.scheduling.swap_counts import HOUR_MS, SwapCounts
from tests.scheduling.hosts_made import MODELS, ask, host, policy, rig_with
from tests.scheduling.rig import Rig, local


def view(rig: Rig, name: str = "box") -> HostView:
    return next(found for found in host_views(rig.scheduler.books, rig.now_ms) if found.name == name)


def listed(rig: Rig, name: str, *residents: Resident, latency_ms: int = 0) -> None:
    """A listing comes back now that was asked for so long ago."""
    probe = Probe(
        endpoint=name,
        status=ProbeStatus.AVAILABLE,
        at_ms=rig.now_ms,
        latency_ms=latency_ms,
        models=MODELS,
        residents=residents,
    )
    rig.tell(sig.Probed(probe=probe))


def mute(rig: Rig, name: str) -> None:
    """An OpenAI-compatible server that does not say what it holds."""
    rig.tell(sig.EndpointAdded(spec=msgspec.structs.replace(local(name), kind=EndpointKind.OPENAI)))
    probe = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=rig.now_ms, latency_ms=0, models=MODELS)
    rig.tell(sig.Probed(probe=probe))


def test_a_person_loads_a_model_and_what_is_in_the_way_goes() -> None:
    """No work is needed for it; the cheapest idle set goes, and the event says that it was by hand."""
    rig = rig_with(loaded=("big",))
    rig.tell(sig.WantLoad(endpoint="box", model="other"))

    assert rig.loading == [
        LoadModel(host="box", endpoint="box", model="other", context_tokens=32_768, evict=(ModelAt("box", "big"),))
    ]
    rig.load_ends()
    assert [event.metadata["reason"] for event in rig.named("model.loaded")] == ["by hand"]
    assert [event.metadata["reason"] for event in rig.named("model.unloaded")] == ["for other"]


def test_a_person_names_what_shall_go() -> None:
    """The named model goes even where there would be room beside it."""
    rig = rig_with(loaded=("big",))
    rig.tell(sig.WantLoad(endpoint="box", model="small", evict=("big",)))

    assert rig.loading[0] == LoadModel(
        host="box", endpoint="box", model="small", context_tokens=8_192, evict=(ModelAt("box", "big"),)
    )


def test_a_person_unloads_a_model() -> None:
    """It leaves, and takes no call on the way."""
    rig = rig_with(loaded=("big",))
    rig.tell(sig.WantUnload(endpoint="box", model="big"))
    ask(rig, "t", "small")

    assert rig.loading == [UnloadModel(host="box", endpoint="box", model="big")]
    assert view(rig).residents[0].phase is HeldPhase.UNLOADING
    rig.load_ends()
    assert [one.model for one in view(rig).residents] == ["small"]
    assert (view(rig).since_start.unloads, view(rig).since_start.swaps) == (1, 0)


def test_an_unload_that_fails_leaves_the_model_usable() -> None:
    """It may be in use by somebody we do not know; work goes on there."""
    rig = rig_with(loaded=("big",))
    rig.tell(sig.WantUnload(endpoint="box", model="big"))
    rig.load_ends("it is still loaded")
    ask(rig, "t", "big")

    assert rig.state("t") is TaskState.ASSIGNED
    assert view(rig).since_start.failed == 1


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (sig.WantUnload(endpoint="box", model="big"), "big is working on box"),
        (sig.WantUnload(endpoint="box", model="small"), "small is pinned on box"),
        (sig.WantUnload(endpoint="box", model="other"), "other is not loaded on box"),
        (sig.WantLoad(endpoint="box", model="big"), "big is loaded on box already"),
        (sig.WantLoad(endpoint="box", model="other"), "box has no room for other without stopping work"),
        (sig.WantLoad(endpoint="box", model="bgi"), "box does not have bgi"),
        (sig.WantLoad(endpoint="bxo", model="big"), "there is no endpoint bxo"),
        (sig.WantLoad(endpoint="free", model="big"), "what is loaded on free is left to itself"),
        (sig.PinModel(host="bxo", model="big"), "no managed host bxo"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_with_its_reason(wish: sig.Signal, message: str) -> None:
    """Before anything changed; each refusal names what is in the way, and has a remedy."""
    rig = rig_with(rules=policy(host("box", pinned=("small",))), loaded=("big", "small"))
    rig.up(local("free"), models=("small",))
    ask(rig, "t", "big")
    before = host_views(rig.scheduler.books, rig.now_ms)

    with pytest.raises((ConflictError, NotFoundError)) as raised:
        rig.tell(wish)

    assert message in str(raised.value)
    assert raised.value.remedy or "already" in message
    assert (host_views(rig.scheduler.books, rig.now_ms), rig.loads) == (before, [])


def test_a_machine_that_is_changing_takes_no_other_wish() -> None:
    """One change at a time."""
    rig = rig_with(loaded=("big",))
    rig.tell(sig.WantLoad(endpoint="box", model="small"))

    with pytest.raises(ConflictError, match="box is changing already: load small"):
        rig.tell(sig.WantUnload(endpoint="box", model="big"))


def test_a_pin_of_a_person_holds_and_can_be_taken_back() -> None:
    """Work for another model waits as long as the pin is there, and is served when it is not."""
    rig = rig_with(loaded=("big",))
    rig.tell(sig.PinModel(host="box", model="big"))
    ask(rig, "t", "other")
    rig.pass_ms(300_000)
    assert (rig.loads, view(rig).residents[0].pinned) == ([], True)
    rig.tell(sig.PinModel(host="box", model="big", pinned=False))

    assert rig.loading[0].model == "other"


def test_two_endpoints_of_one_machine_share_its_memory() -> None:
    """What one of them holds has to go for what the other one is to load."""
    rig = Rig(policy(host("box")))
    rig.worker(chat=8)
    rig.up(local("left", host="box"), models=("big",), residents=("big",))
    rig.up(local("right", host="box"), models=("other",))
    ask(rig, "t", "other")

    assert rig.loading == [
        LoadModel(host="box", endpoint="right", model="other", context_tokens=32_768, evict=(ModelAt("left", "big"),))
    ]
    rig.load_ends()
    assert rig.state("t") is TaskState.ASSIGNED
    assert view(rig).endpoints == ("left", "right")


def test_a_smaller_context_serves_what_fits_and_is_loaded_anew_for_what_does_not() -> None:
    """A call is sent with the size that is loaded, so that the engine does not reload; too long work waits for one."""
    rig = rig_with()
    rig.pass_ms(1)
    listed(rig, "box", Resident(model="big", context_tokens=4_096, size_bytes=18 * GIB))
    ask(rig, "short", "big")
    route = rig.assignment("short").route
    assert route is not None
    assert (route.context_tokens, route.keep_alive_s) == (4_096, 1_800)
    rig.finish("short")
    rig.pass_ms(60_000)
    ask(rig, "long", "big", context_tokens=20_000)

    assert rig.loading == [
        LoadModel(host="box", endpoint="box", model="big", context_tokens=32_768, evict=(ModelAt("box", "big"),))
    ]
    rig.load_ends()
    assert rig.state("long") is TaskState.ASSIGNED
    assert [event.metadata["reason"] for event in rig.named("model.unloaded")] == ["loaded anew"]


def test_a_listing_from_before_a_load_ended_is_not_believed() -> None:
    """It was asked for when the model was not there yet."""
    rig = rig_with()
    ask(rig, "t", "big")
    rig.load_ends()
    rig.finish("t")
    rig.pass_ms(100)
    listed(rig, "box", latency_ms=500)
    assert [one.model for one in view(rig).residents] == ["big"]
    listed(rig, "box")

    assert view(rig).residents == (), "a newer one is"


def test_what_a_listing_no_longer_shows_is_loaded_again_for_the_next_work() -> None:
    """The engine let it go by itself."""
    rig = rig_with(loaded=("big",))
    rig.pass_ms(1)
    listed(rig, "box")
    ask(rig, "t", "big")

    assert [load.model for load in rig.loading] == ["big"]


def test_sizes_are_those_that_the_listing_shows() -> None:
    """A model that takes more than its profile says makes less fit beside it."""
    rig = rig_with()
    rig.pass_ms(1)
    listed(rig, "box", Resident(model="big", context_tokens=32_768, size_bytes=27 * GIB))
    ask(rig, "t", "small")

    assert rig.loading == [
        LoadModel(host="box", endpoint="box", model="small", context_tokens=8_192, evict=(ModelAt("box", "big"),))
    ]


def test_an_endpoint_that_cannot_load_on_request_is_left_alone() -> None:
    """It does not say what it holds, on a machine with declared memory: calls go there as they always did."""
    rig = Rig(policy(host("box")))
    rig.worker()
    mute(rig, "box")
    ask(rig, "t", "big")

    assert rig.state("t") is TaskState.ASSIGNED
    assert host_views(rig.scheduler.books, rig.now_ms) == ()


def test_a_profile_that_declares_the_memory_takes_the_machine_over() -> None:
    """And one that no longer does gives it back to its engine."""
    rig = rig_with(rules=policy(host("elsewhere")), loaded=("small",))
    rig.tell(sig.PolicyChanged(policy=policy(host("box"))))
    ask(rig, "t", "big")
    assert rig.wait_code("t") == "model_swap"
    rig.tell(sig.PolicyChanged(policy=policy(host("elsewhere"))))

    assert rig.state("t") is TaskState.ASSIGNED
    assert host_views(rig.scheduler.books, rig.now_ms) == ()


def test_an_endpoint_that_is_removed_during_its_load() -> None:
    """The end of the load is about nobody any more, and the machine can be declared again."""
    rig = rig_with()
    rig.up(local("free"), models=("small",))
    ask(rig, "t", "big")
    (effect,) = rig.loading
    rig.tell(sig.EndpointRemoved(name="box"))
    rig.load_ended(effect)
    assert host_views(rig.scheduler.books, rig.now_ms) == ()
    rig.up(local("box"), models=MODELS)

    assert rig.loading[0].model == "big"


def test_after_a_restart_what_the_first_listing_shows_is_what_is_there() -> None:
    """Nothing of memory is stored: a load that was under way is seen when it has ended."""
    rig = rig_with()
    rig.tell(sig.Restored(tasks=(), sessions=()))
    ask(rig, "t", "big")
    rig.loading.clear()
    again = Rig(rig.policy)
    again.up(local("box"), models=MODELS, residents=("big",))
    again.worker()
    ask(again, "u", "big")

    assert again.state("u") is TaskState.ASSIGNED
    assert not again.loads


def test_a_swap_that_nobody_wants_any_more_is_taken_back() -> None:
    """The work was cancelled while what had to go was still busy: it stays, and takes calls again."""
    rig = rig_with(slots=2, loaded=("big",), rules=policy(patience_ms=30_000))
    ask(rig, "works", "big")
    ask(rig, "t", "other")
    rig.pass_ms(31_000)
    assert view(rig).residents[0].phase is HeldPhase.LEAVING
    rig.tell(sig.Cancel(task_id="t"))

    assert (view(rig).residents[0].phase, view(rig).swap) == (HeldPhase.READY, None)
    ask(rig, "more", "big")
    assert rig.state("more") is TaskState.ASSIGNED


def test_whoever_asks_is_told_what_is_happening_about_a_wait() -> None:
    """Which model instead of which, what it waits for, how long still, and when it gets its turn at the latest."""
    rig = rig_with(loaded=("big",))
    for name in ("works", "more"):
        ask(rig, name, "big")
    ask(rig, "t", "other")
    wait = rig.scheduler.wait_of("t")
    assert wait is not None
    assert wait.detail == (
        "other is to be loaded on box instead of big (tier other);"
        " other on box: work still waits for a model that would have to go (big)"
    )
    assert wait.next_check_ms == rig.now_ms + 180_000
    rig.tell(sig.Cancel(task_id="more"))
    working = rig.scheduler.wait_of("t")
    assert working is not None
    assert working.detail.endswith(" other on box: a model that would have to go is working (big)")
    rig.pass_ms(180_000)
    draining = rig.scheduler.wait_of("t")
    assert draining is not None
    assert "waits for calls on big to end" in draining.detail
    rig.finish("works")
    rig.pass_ms(5_000)
    rig.scheduler.handle(sig.Wake(), rig.now_ms)
    loading = rig.scheduler.wait_of("t")

    assert loading is not None
    assert loading.detail.endswith("loading for 5 s, about 25 s left")
    assert loading.next_check_ms == rig.now_ms + 25_000


def test_the_view_of_a_machine_tells_all_of_it() -> None:
    """Residents with what they do, memory taken and given, the queue by model, counts and time lost."""
    rig = rig_with(loaded=("big",))
    ask(rig, "a", "big")
    rig.finish("a", wants_tool=True)
    ask(rig, "b", "other")
    assert view(rig).residents[0].held_until_ms == rig.now_ms + 10_000
    assert [(queue.model, queue.waiting, queue.hosts) for queue in model_queues(rig.scheduler.books, rig.now_ms)] == [
        ("other", 1, ("box",))
    ]
    rig.pass_ms(10_000)
    swap = view(rig).swap
    assert swap is not None
    assert (swap.model, swap.evict, swap.begun, swap.reason) == ("other", ("big",), True, "1 waiting")
    rig.load_ends(size_bytes=19 * GIB)
    found = view(rig)

    assert (found.used_bytes, found.memory_bytes, found.reserve_bytes) == (19 * GIB, 30 * GIB, 2 * GIB)
    assert found.since_start == Counts(loads=1, unloads=1, swaps=1, lost_ms=30_000)
    assert found.last_hour == found.since_start
    assert (found.residents[0].model, found.residents[0].busy) == ("other", 1)
    assert [(speed.host, speed.model, speed.load_ms.samples) for speed in speed_views(rig.scheduler.books)] == [
        ("box", "big", 0),
        ("box", "other", 1),
    ]
    rig.pass_ms(HOUR_MS)
    assert (view(rig).since_start.swaps, view(rig).last_hour) == (1, Counts())


def test_time_in_which_another_model_works_is_not_lost() -> None:
    """A load into free memory costs nothing while the rest of the machine is busy."""
    rig = rig_with(slots=2, loaded=("big",))
    ask(rig, "works", "big")
    ask(rig, "t", "small")
    rig.load_ends()

    assert view(rig).since_start == Counts(loads=1)


def test_counts_forget_what_is_older_than_an_hour() -> None:
    """The totals stay, the hour rolls."""
    counts = SwapCounts()
    counts.loaded(1_000, unloads=2, swapped=True, lost_ms=30_000)
    counts.loaded(2_000, unloads=0, swapped=False, lost_ms=500)
    counts.load_failed(3_000, unloads=1, lost_ms=100)
    counts.unloaded(4_000, lost_ms=7)

    assert (counts.loads, counts.unloads, counts.swaps, counts.failed, counts.lost_ms) == (2, 4, 1, 1, 30_607)
    assert counts.last_hour(4_000) == counts.since_start()
    assert counts.last_hour(1_000 + HOUR_MS) == Counts(loads=1, unloads=2, failed=1, lost_ms=607)
    assert counts.last_hour(4_000 + HOUR_MS) == Counts()


def test_patience_is_told_with_the_queue() -> None:
    """Who waits for a model that is not usable sees when it will overtake; urgent work a tenth as long."""
    for priority, patience_ms in ((Priority.NORMAL, 60_000), (Priority.URGENT, 6_000)):
        rig = rig_with(rules=policy(patience_ms=60_000), loaded=("big",))
        ask(rig, "runs", "big")
        ask(rig, "stays", "big")
        ask(rig, "t", "other", priority=priority)
        queues = {queue.model: queue for queue in model_queues(rig.scheduler.books, rig.now_ms)}

        assert {model: queue.waiting for model, queue in queues.items()} == {"big": 1, "other": 1}
        assert queues["big"].patience_ends_ms is None, "it is usable"
        assert queues["other"].patience_ends_ms == rig.now_ms + patience_ms


def test_a_person_may_let_what_is_busy_end_first() -> None:
    """With `drain` nothing is refused and nothing is stopped: no new call goes there, and the change waits."""
    rig = rig_with(loaded=("big",))
    ask(rig, "runs", "big")
    rig.tell(sig.WantLoad(endpoint="box", model="other", evict=("big",), drain=True))
    ask(rig, "later", "big")

    assert (rig.loads, rig.state("later")) == ([], TaskState.QUEUED)
    swap = view(rig).swap
    assert swap is not None
    assert (swap.begun, swap.evict, swap.ready_ms > rig.now_ms + 30_000) == (False, ("big",), True)
    rig.finish("runs")
    assert [effect.model for effect in rig.loading] == ["other"]


def test_a_busy_model_leaves_when_its_last_call_has_ended() -> None:
    """The same for an unload alone."""
    rig = rig_with(loaded=("big",))
    ask(rig, "runs", "big")
    rig.tell(sig.WantUnload(endpoint="box", model="big", drain=True))

    assert rig.loads == []
    rig.finish("runs")
    assert rig.loading == [UnloadModel(host="box", endpoint="box", model="big")]


def test_a_router_of_llama_cpp_is_managed_as_an_ollama_is() -> None:
    """What says what it holds is loaded and unloaded before a call goes there; a server that does not is left alone."""
    rig = Rig(policy(host("box"), host("mute")))
    rig.worker(chat=64)
    rig.up(msgspec.structs.replace(local("box"), kind=EndpointKind.OPENAI), models=MODELS, residents=("big",))
    mute(rig, "mute")
    views = rig.scheduler.books.endpoints.views

    assert (views["box"].managed, views["mute"].managed) == (True, False)
    rig.tell(sig.WantLoad(endpoint="box", model="other"))
    assert rig.loading == [LoadModel(host="box", endpoint="box", model="other", evict=(ModelAt("box", "big"),))]


def test_an_engine_with_a_context_of_its_own_is_not_loaded_anew_for_another() -> None:
    """The profile says 32k, the router was started with 4k: a load would bring the same again, without end."""
    rig = Rig(policy(host("box")))
    rig.worker(chat=64)
    rig.up(msgspec.structs.replace(local("box"), kind=EndpointKind.OPENAI), models=MODELS, residents=())
    listed(rig, "box", Resident(model="big", context_tokens=4_096))
    ask(rig, "t", "big")

    assert rig.loading == []
    assert rig.state("t") is TaskState.ASSIGNED
    route = rig.assignment("t").route
    assert route is not None
    assert route.context_tokens is None
