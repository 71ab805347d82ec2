"""Loading and unloading on machines whose memory is declared: what is loaded, when, instead of what."""

from ostler.domain.fleet import GIB, HeldPhase, ModelAt
from ostler.domain.states import TaskState
from ostler.scheduling.effects import LoadModel
from tests.scheduling.hosts_made import ask, host, policy, rig_with
from tests.scheduling.rig import Rig


def held(rig: Rig, name: str = "box") -> dict[str, HeldPhase]:
    return {at.model: one.phase for at, one in rig.scheduler.books.hosts.books[name].held.items()}


def asked(rig: Rig) -> list[str]:
    """Models whose load was asked for, in order."""
    return [effect.model for effect in rig.loads if isinstance(effect, LoadModel)]


def test_a_model_is_loaded_before_a_call_goes_to_it() -> None:
    """Work for a model that is not in memory waits with the reason, and starts when the load has ended."""
    rig = rig_with()
    ask(rig, "t", "big")

    assert (rig.state("t"), rig.wait_code("t")) == (TaskState.QUEUED, "model_swap")
    (load,) = rig.loads
    assert load == LoadModel(host="box", endpoint="box", model="big", context_tokens=32_768)
    rig.load_ends()

    assert rig.state("t") is TaskState.ASSIGNED
    assert held(rig) == {"big": HeldPhase.READY}


def test_what_is_loaded_is_used_at_once() -> None:
    """A resident that the listing shows needs no load."""
    rig = rig_with(loaded=("big",))
    ask(rig, "t", "big")

    assert rig.state("t") is TaskState.ASSIGNED
    assert not rig.loads


def test_only_what_is_in_the_way_is_evicted() -> None:
    """A small model beside a large one fits; the other large one does not: of the two, one goes, and one is enough."""
    rig = rig_with(slots=2)
    ask(rig, "a", "big")
    rig.load_ends(size_bytes=20 * GIB)
    ask(rig, "b", "small")
    rig.load_ends(size_bytes=5 * GIB)
    rig.finish("a")
    rig.finish("b")
    rig.pass_ms(60_000)
    ask(rig, "c", "other")

    assert rig.loads[-1] == LoadModel(
        host="box", endpoint="box", model="other", context_tokens=32_768, evict=(ModelAt("box", "big"),)
    )
    rig.load_ends()
    assert held(rig) == {"other": HeldPhase.READY, "small": HeldPhase.READY}


def test_a_busy_model_is_drained_before_it_goes() -> None:
    """Nothing of it is unloaded while it works, and nothing new is sent to it once it has to go."""
    rig = rig_with(slots=2, rules=policy(patience_ms=30_000))
    for name in ("a", "b", "waits"):
        ask(rig, name, "big")
    rig.load_ends()
    ask(rig, "c", "other")
    rig.pass_ms(29_000)
    assert held(rig)["big"] is HeldPhase.READY, "work for it waits"
    rig.pass_ms(2_000)

    assert held(rig)["big"] is HeldPhase.LEAVING
    assert rig.wait_code("waits") == "model_swap"
    rig.finish("a")
    assert (asked(rig), rig.wait_code("waits")) == (["big"], "model_swap"), "b still works"
    rig.finish("b")
    assert asked(rig) == ["big", "other"]


def test_a_model_at_work_stays_open_while_the_others_have_patience() -> None:
    """A call that comes for it while its last one runs is served, and the waiter's turn comes when none runs."""
    rig = rig_with(slots=2, loaded=("big",), rules=policy(patience_ms=60_000))
    ask(rig, "a", "big")
    ask(rig, "waits", "other")
    rig.pass_ms(20_000)
    ask(rig, "b", "big")

    assert (rig.state("b"), asked(rig)) == (TaskState.ASSIGNED, [])
    rig.finish("a")
    assert asked(rig) == [], "b still works"
    rig.finish("b")
    assert asked(rig) == ["other"]


def test_alternating_work_is_grouped_by_what_is_loaded() -> None:
    """Twelve tasks for two models that exclude each other, asked for in turn, need two loads, not twelve."""
    rig = rig_with()
    names = [ask(rig, f"t{n}", ("big", "other")[n % 2]) for n in range(12)]
    for _ in range(60):
        if rig.loading:
            rig.load_ends()
        running = [name for name in names if rig.state(name) is TaskState.ASSIGNED]
        rig.pass_ms(5_000)
        for name in running:
            rig.finish(name)

    assert all(rig.state(name) is TaskState.SUCCEEDED for name in names)
    assert asked(rig) == ["big", "other"]
    assert rig.scheduler.books.hosts.books["box"].counts.swaps == 1


def test_patience_ends_the_grouping() -> None:
    """With work for the loaded model coming without end, the waiter of another one gets its turn in time."""
    rig = rig_with(rules=policy(patience_ms=60_000))
    ask(rig, "t0", "big")
    rig.load_ends()
    ask(rig, "waits", "other")
    since_ms, count = rig.now_ms, 0
    while rig.state("waits") is not TaskState.ASSIGNED:
        count += 1
        ask(rig, f"t{count}", "big")
        rig.pass_ms(10_000)
        rig.finish(f"t{count - 1}")
        if rig.loading:
            rig.load_ends()
        assert rig.now_ms - since_ms <= 60_000 + 10_000 + 30_000, "patience, one running call, one swap"


def test_two_long_queues_take_turns_instead_of_changing_places_with_each_task() -> None:
    """Patience counts from when a model was taken away, so that its return is not due at once."""
    rig = rig_with(rules=policy(patience_ms=60_000))
    for n in range(40):
        ask(rig, f"t{n}", ("big", "other")[n % 2], ttl_ms=0)
    for _ in range(100):
        running = [name for name, row in rig.rows.items() if row.state is TaskState.ASSIGNED]
        if rig.loading:
            rig.load_ends()
        else:
            rig.pass_ms(10_000)
        for name in running:
            rig.finish(name)

    assert all(row.state is TaskState.SUCCEEDED for row in rig.rows.values())
    assert len(asked(rig)) <= 9, "forty tasks of ten seconds in turns of a minute"


def test_a_failed_load_is_not_tried_again_for_a_while_and_another_machine_serves() -> None:
    """The next choice excludes the model on that machine; after the time it may be tried there again."""
    rig = rig_with("alpha", "beta")
    ask(rig, "t", "big")
    assert rig.loading[0].host == "alpha"
    rig.load_ends("out of memory")
    (failed,) = rig.named("model.load_failed")
    assert failed.measurements["retry_after_ms"] == 30_000

    assert [load.host for load in rig.loads] == ["alpha", "beta"]
    rig.load_ends("out of memory")
    assert not rig.loading
    assert rig.wait_code("t") == "model_swap"
    assert "could not load the model a moment ago (out of memory)" in rig.scheduler.wait_of("t").detail  # type: ignore[union-attr]
    rig.pass_ms(30_000)
    assert rig.loading, "nothing was tried again"


def test_a_model_whose_reply_asked_for_a_tool_is_kept_for_a_moment() -> None:
    """An agent between two calls looks idle; the model stays for it, but not for ever."""
    rig = rig_with(rules=policy(tool_hold_ms=8_000, min_residence_ms=0))
    ask(rig, "a", "big")
    rig.load_ends()
    rig.finish("a", wants_tool=True)
    ask(rig, "b", "other")
    rig.pass_ms(7_000)
    assert asked(rig) == ["big"]
    rig.pass_ms(2_000)

    assert asked(rig) == ["big", "other"]


def test_lost_patience_ends_a_hold() -> None:
    """Whoever has waited long enough does not wait for an agent that may never come back."""
    rig = rig_with(rules=policy(tool_hold_ms=600_000, patience_ms=20_000))
    ask(rig, "a", "big")
    rig.load_ends()
    rig.finish("a", wants_tool=True)
    ask(rig, "b", "other")
    rig.pass_ms(19_000)
    assert asked(rig) == ["big"]
    rig.pass_ms(2_000)

    assert asked(rig) == ["big", "other"]


def test_pinned_models_stay() -> None:
    """What the profile pins is never evicted; work that finds no room beside it is told so."""
    rig = rig_with(rules=policy(host("box", pinned=("big",))), loaded=("big",))
    ask(rig, "t", "other")
    rig.pass_ms(600_001)

    assert not rig.loads
    assert rig.state("t") is TaskState.EXPIRED
    failure = rig.rows["t"].failure
    assert failure is not None
    assert "has no room for the model beside what is pinned (pinned there: big)" in failure.message


def test_what_the_profile_preloads_is_loaded_from_the_start() -> None:
    """Without any work, and only once."""
    rig = rig_with(rules=policy(host("box", preload=("small", "big"))))
    for _ in range(3):
        if rig.loading:
            rig.load_ends()

    assert sorted(asked(rig)) == ["big", "small"]
    assert held(rig) == {"small": HeldPhase.READY, "big": HeldPhase.READY}


def test_the_limit_of_models_is_kept() -> None:
    """A machine that may hold one model holds one, however much memory is free."""
    rig = rig_with(rules=policy(host("box", max_resident_models=1)))
    ask(rig, "a", "small")
    rig.load_ends()
    rig.finish("a")
    rig.pass_ms(60_000)
    ask(rig, "b", "big")

    assert rig.loading == [
        LoadModel(host="box", endpoint="box", model="big", context_tokens=32_768, evict=(ModelAt("box", "small"),))
    ]


def test_what_is_needed_next_is_loaded_while_its_needs_run() -> None:
    """The model of a task whose needs are all running is on its way before they end, where there is room."""
    rig = rig_with(slots=2, loaded=("big",))
    ask(rig, "first", "big")
    ask(rig, "second", "small", needs=["first"])
    assert rig.wait_code("second") == "deps"
    rig.start("first")
    rig.pass_ms(1)

    assert asked(rig) == ["small"]
    rig.load_ends()
    rig.finish("first")
    assert rig.state("second") is TaskState.ASSIGNED


def test_loading_ahead_never_takes_a_model_from_work_that_waits() -> None:
    """The work that waits now goes before the work that comes."""
    rig = rig_with(loaded=("big",))
    ask(rig, "first", "big")
    ask(rig, "waiting", "big")
    ask(rig, "second", "other", needs=["first"])
    rig.start("first")
    rig.pass_ms(60_000)

    assert not rig.loads


def test_a_host_that_is_not_declared_is_left_to_its_engine() -> None:
    """Without memory in the profile the call goes there cold, as it always did: the engine swaps."""
    rig = rig_with(rules=policy(host("elsewhere")))
    ask(rig, "t", "big")

    assert rig.state("t") is TaskState.ASSIGNED
    assert not rig.loads


def test_patience_is_stretched_to_what_a_change_is_worth() -> None:
    """Calls of two minutes and a swap of half a minute make a turn of one minute a waste: it lasts five changes."""
    rig = rig_with(rules=policy(patience_ms=60_000, turn_per_change=5.0))
    for name in ("t0", "t1"):
        ask(rig, name, "big", ttl_ms=0)
    rig.load_ends()
    since_ms = None
    for n in range(2, 14):
        ask(rig, f"t{n}", "big", ttl_ms=0)
        rig.pass_ms(120_000)
        rig.finish(f"t{n - 2}")
        if n == 4:
            ask(rig, "waits", "other", ttl_ms=0)
            since_ms = rig.now_ms
        if since_ms is not None and rig.loading:
            break

    assert since_ms is not None
    assert asked(rig) == ["big", "other"]
    assert 5 * 120_000 <= rig.now_ms - since_ms <= 5 * 160_000 + 120_000


def test_how_long_calls_take_is_learned_where_the_figures_for_them_are_wrong() -> None:
    """Answers ten times as long as expected make the queue behind them ten times as long."""
    rig = rig_with(loaded=("big",))
    hosts = rig.scheduler.books.hosts
    assert hosts.stretched_ms("big", 1_000) == 1_000
    for n in range(20):
        ask(rig, f"t{n}", "big", prompt="x" * 4_000, max_output_tokens=400)
        rig.pass_ms(110_000)
        rig.finish(f"t{n}")

    assert 7_000 <= hosts.stretched_ms("big", 1_000) <= 10_000
    assert hosts.stretched_ms("other", 1_000) == 1_000


def test_urgent_work_waits_a_tenth_of_the_patience() -> None:
    """It interrupts the grouping soon, not at once."""
    rig = rig_with(rules=policy(patience_ms=60_000))
    for name in ("a", "b"):
        ask(rig, name, "big")
    rig.load_ends()
    ask(rig, "now", "other", priority=0)
    rig.pass_ms(5_000)
    assert held(rig)["big"] is HeldPhase.READY
    rig.pass_ms(1_000)

    assert held(rig)["big"] is HeldPhase.LEAVING
