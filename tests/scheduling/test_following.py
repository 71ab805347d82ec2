"""Plans in force: the order of tasks and of loads is the plan's, until reality leaves it."""

from msgspec.structs import replace

from ostler.domain.event import Event
from ostler.domain.fleet import ProbeStatus
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import TaskSpec
from ostler.hub.accept import new_tasks
from ostler.planning.guide import Guide
from ostler.planning.plan import Episode, Placement
from ostler.scheduling.effects import LoadModel, Replan
from ostler.scheduling.signals import Cancel, PlanAdopted, PlanDropped, TasksAccepted
from tests.scheduling.hosts_made import ask, host, policy, rig_with
from tests.scheduling.rig import START_MS, Rig, local

LOAD_MS, RUN_MS = 20_000, 30_000


def guide(*turns: tuple[str, tuple[str, ...]], version: int = 1, started_ms: int = START_MS, box: str = "box") -> Guide:
    """A plan for batch `run` on one host: models in this order, each for these tasks, one task after the other."""
    episodes: list[Episode] = []
    placements: list[Placement] = []
    models: dict[str, tuple[str, ...]] = {}
    at_ms = 0
    for model, tasks in turns:
        ready_ms = at_ms + LOAD_MS
        first = len(placements)
        for index, task in enumerate(tasks):
            start_ms = ready_ms + index * RUN_MS
            placements.append(Placement(task=task, host=box, start_ms=start_ms, end_ms=start_ms + RUN_MS))
            models[task] = (model,)
        end_ms = placements[-1].end_ms if len(placements) > first else ready_ms
        episodes.append(Episode(host=box, model=model, load_start_ms=at_ms, ready_ms=ready_ms, unload_start_ms=end_ms))
        at_ms = end_ms + 10_000
    return Guide(
        batch="run",
        version=version,
        started_ms=started_ms,
        strategy="by-hand",
        makespan_ms=at_ms,
        placements=tuple(placements),
        episodes=tuple(episodes),
        models=models,
        reason="start",
    )


def adopt(rig: Rig, plan: Guide) -> None:
    rig.tell(PlanAdopted(guide=plan))


def loads(rig: Rig) -> list[str]:
    return [effect.model for effect in rig.loads if isinstance(effect, LoadModel)]


def replans(rig: Rig) -> list[Replan]:
    return [effect for effect in rig.effects if isinstance(effect, Replan)]


def left(rig: Rig) -> list[tuple[object, object]]:
    return [(event.metadata["cause"], event.metadata["what"]) for event in rig.named("plan.left")]


def one(rig: Rig, name: str) -> Event:
    (event,) = rig.named(name)
    return event


def test_tasks_are_served_in_the_order_of_the_plan() -> None:
    """Arrival does not matter among the tasks of a plan; others keep their place by arrival, before and between."""
    rig = rig_with(slots=1)
    ask(rig, "first", "big")
    for name in ("a", "b"):
        ask(rig, name, "big", batch="run")
    ask(rig, "other", "big")
    ask(rig, "c", "big", batch="run")
    adopt(rig, guide(("big", ("c", "a", "b"))))
    rig.load_ends()

    order = []
    for _ in range(5):
        (name,) = [row.id for row in rig.rows.values() if row.state is TaskState.ASSIGNED]
        order.append(name)
        rig.finish(name)
    assert order == ["first", "c", "a", "other", "b"]


def test_priority_goes_before_the_plan() -> None:
    """A plan orders tasks of one priority."""
    rig = rig_with(slots=1)
    ask(rig, "a", "big", batch="run")
    ask(rig, "urgent", "big", batch="run", priority=0)
    adopt(rig, guide(("big", ("a", "urgent"))))
    rig.load_ends()

    assert rig.state("urgent") is TaskState.ASSIGNED


def test_loads_follow_the_turns_of_the_plan() -> None:
    """The rule would begin with the longer queue; the plan has another reason, and its order is obeyed."""
    rules = policy(patience_ms=10**9)
    free, planned = rig_with(rules=rules), rig_with(rules=rules)
    # The machine is away until all work is there, so that both choose among the same.
    for rig in (free, planned):
        rig.down("box")
        rig.down("box")
        for name in ("a", "b", "c"):
            ask(rig, name, "big", batch="run")
        ask(rig, "x", "other", batch="run")
    adopt(planned, guide(("other", ("x",)), ("big", ("a", "b", "c"))))
    for rig in (free, planned):
        rig.probe("box", ProbeStatus.AVAILABLE, models=("big", "other", "small"))

    assert loads(free) == ["big"]
    assert loads(planned) == ["other"]
    planned.load_ends()
    planned.finish("x")
    planned.pass_ms(6_000)
    assert loads(planned) == ["other", "big"]


def test_a_model_stays_until_its_turn_is_over() -> None:
    """Between two tasks of a turn nothing waits for the model; it is kept all the same."""
    rig = rig_with(slots=1)
    ask(rig, "a", "big", batch="run")
    rig.command("x")
    ask(rig, "b", "big", batch="run", needs=["x"])
    ask(rig, "c", "other", batch="run", needs=["a"])
    adopt(rig, guide(("big", ("a", "b")), ("other", ("c",))))
    rig.load_ends()
    rig.finish("a")
    rig.pass_ms(30_000)

    assert loads(rig) == ["big"]
    rig.finish("x")
    rig.finish("b")
    assert loads(rig) == ["big", "other"]


def test_lost_patience_goes_before_the_plan() -> None:
    """Work outside the plan is not starved by it."""
    rig = rig_with(slots=1, rules=policy(patience_ms=60_000))
    ask(rig, "a", "big", batch="run")
    rig.command("x")
    ask(rig, "b", "big", batch="run", needs=["x"])
    adopt(rig, guide(("big", ("a", "b"))))
    rig.load_ends()
    rig.finish("a")
    ask(rig, "stranger", "other")
    rig.pass_ms(59_000)
    assert loads(rig) == ["big"]
    rig.pass_ms(2_000)

    assert loads(rig) == ["big", "other"]


def test_a_task_that_runs_longer_than_planned_has_a_new_plan_made() -> None:
    """Some variation is allowed; then the scheduler asks, once, and says which task it was."""
    rig = rig_with(slots=1)
    ask(rig, "a", "big", batch="run")
    ask(rig, "b", "big", batch="run")
    adopt(rig, guide(("big", ("a", "b"))))
    rig.load_ends()
    rig.start("a")
    rig.pass_ms(RUN_MS + 9_000)
    assert not left(rig)
    rig.pass_ms(2_000)

    assert left(rig) == [("late", "a")]
    assert replans(rig) == [Replan(batch="run", version=2, reason="late: a")]


def test_a_failure_is_not_foreseen() -> None:
    """The work of the attempt is there again, so the plan is too short."""
    rig = rig_with(slots=1)
    ask(rig, "a", "big", batch="run")
    adopt(rig, guide(("big", ("a",))))
    rig.load_ends()
    rig.finish("a", FailureClass.SERVER)

    assert left(rig) == [("failed", "a")]
    assert [wish.reason for wish in replans(rig)] == ["failed: a"]


def test_a_host_that_goes_and_comes_back_is_not_foreseen() -> None:
    """Both change what the best plan is; machines that the plan does not use concern it only when they come."""
    rig = rig_with("box", "spare", slots=1)
    ask(rig, "a", "big", batch="run")
    adopt(rig, guide(("big", ("a",))))
    rig.down("spare")
    rig.down("spare")
    assert not left(rig)
    rig.down("box")
    rig.down("box")
    assert left(rig) == [("host_gone", "box")]
    rig.probe("box", ProbeStatus.AVAILABLE, models=("big", "other", "small"))

    assert left(rig) == [("host_gone", "box"), ("host_back", "box")]


def test_a_machine_that_the_plan_passed_over_is_not_news_when_it_comes_back() -> None:
    """It could have been used when the plan was made; one that nobody knew then is news."""
    rig = rig_with("box", "spare", slots=1)
    ask(rig, "a", "big", batch="run")
    adopt(rig, guide(("big", ("a",))))
    rig.down("spare")
    rig.probe("spare", ProbeStatus.AVAILABLE, models=("big", "other", "small"))
    assert not left(rig)
    rig.up(local("new"), models=("big", "other", "small"))

    assert left(rig) == [("host_back", "new")]


def test_what_goes_wrong_at_once_is_asked_about_once() -> None:
    """A new plan is asked for at the first surprise, and for all that come meanwhile after a pause."""
    rig = rig_with(slots=4)
    for name in ("a", "b", "c"):
        ask(rig, name, "big", batch="run")
    adopt(rig, guide(("big", ("a", "b", "c"))))
    rig.load_ends()
    for name in ("a", "b", "c"):
        rig.finish(name, FailureClass.SERVER)
    assert [wish.reason for wish in replans(rig)] == ["failed: a"]
    rig.pass_ms(9_000)
    assert len(replans(rig)) == 1
    rig.pass_ms(1_000)

    assert replans(rig)[1].reason.startswith("failed: b and ")


def test_a_newer_plan_replaces_the_older_one_and_never_the_other_way() -> None:
    """Answers may come out of order."""
    rig = rig_with(slots=1)
    for name in ("a", "b"):
        ask(rig, name, "big", batch="run")
    adopt(rig, guide(("big", ("b", "a")), version=2))
    adopt(rig, guide(("big", ("a", "b")), version=1))
    rig.load_ends()

    assert rig.state("b") is TaskState.ASSIGNED
    assert len(rig.named("plan.adopted")) == 1


def test_a_plan_ends_with_its_last_task_and_says_what_it_took() -> None:
    """Planned and actual time are in the event; nothing is followed any more."""
    rig = rig_with(slots=1)
    ask(rig, "a", "big", batch="run")
    adopt(rig, guide(("big", ("a",))))
    rig.pass_ms(21_000)
    rig.load_ends()
    rig.pass_ms(25_000)
    rig.finish("a")

    event = one(rig, "plan.ended")
    assert (event.measurements["planned_ms"], event.measurements["actual_ms"]) == (60_000, 66_000)
    assert not rig.scheduler.books.following


def test_a_dropped_plan_leaves_its_tasks_in_the_order_they_came() -> None:
    """They go on by the rule; a task that was running is not late any more."""
    rig = rig_with(slots=1)
    for name in ("a", "b"):
        ask(rig, name, "big", batch="run")
    adopt(rig, guide(("big", ("b", "a"))))
    rig.tell(PlanDropped(batch="run", reason="by hand"))
    rig.load_ends()

    assert one(rig, "plan.dropped").metadata["reason"] == "by hand"
    assert rig.state("a") is TaskState.ASSIGNED
    rig.pass_ms(200_000)
    assert not left(rig)


def test_a_plan_of_finished_work_ends_at_once() -> None:
    """A plan may be adopted after a restart in which its last task ended."""
    rig = rig_with()
    adopt(rig, guide(("big", ("gone",))))

    assert [event.name for event in rig.events if event.name.startswith("plan.")] == ["plan.adopted", "plan.ended"]


def test_work_without_a_plan_is_served_as_ever() -> None:
    """The same signals with no plan in force give the same loads as before there were plans."""
    rig = rig_with(rules=policy(host("box"), patience_ms=60_000))
    ask(rig, "a", "big")
    ask(rig, "b", "other")
    rig.load_ends()
    rig.finish("a")
    rig.pass_ms(6_000)  # a model stays a while once it is loaded
    rig.load_ends()

    assert loads(rig) == ["big", "other"]
    assert not [event for event in rig.events if event.name.startswith("plan.")]


def test_a_failed_load_is_not_foreseen() -> None:
    """The plan counted on the model."""
    rig = rig_with()
    ask(rig, "a", "big", batch="run")
    adopt(rig, replace(guide(("big", ("a",))), bound_ms=1))
    rig.load_ends("no file")

    assert left(rig) == [("swap_failed", "big on box")]


def test_a_task_of_a_later_turn_does_not_make_this_one_longer() -> None:
    """A free slot is left free rather than having all that comes after wait; what ends before the turn does may run."""
    rig = rig_with(slots=2)
    rig.chat("a", None, tier="big", batch="run", expected_ms=RUN_MS)
    rig.chat("long", None, tier="big", batch="run", expected_ms=10 * RUN_MS)
    ask(rig, "b", "other", batch="run")
    adopt(rig, guide(("big", ("a",)), ("other", ("b",)), ("big", ("long",))))
    rig.load_ends()

    assert rig.state("a") is TaskState.ASSIGNED
    assert (rig.state("long"), rig.wait_code("long")) == (TaskState.QUEUED, "capacity")
    wait = rig.scheduler.wait_of("long")
    assert wait is not None
    assert "its plan has it start later" in wait.detail


def test_what_ends_before_the_turn_does_is_filled_in() -> None:
    """It makes nobody wait."""
    rig = rig_with(slots=2)
    rig.chat("a", None, tier="big", batch="run", expected_ms=RUN_MS)
    rig.chat("short", None, tier="big", batch="run", expected_ms=RUN_MS // 2)
    ask(rig, "b", "other", batch="run")
    adopt(rig, guide(("big", ("a",)), ("other", ("b",)), ("big", ("short",))))
    rig.load_ends()

    assert {rig.state("a"), rig.state("short")} == {TaskState.ASSIGNED}


def test_a_task_waits_no_longer_than_its_plan_says() -> None:
    """When its start by the plan has come it may run, whatever the turn is."""
    rig = rig_with(slots=2)
    rig.chat("a", None, tier="big", batch="run", expected_ms=RUN_MS)
    rig.chat("long", None, tier="big", batch="run", expected_ms=10 * RUN_MS)
    ask(rig, "b", "other", batch="run", needs=["a"])
    plan = guide(("big", ("a",)), ("other", ("b",)), ("big", ("long",)))
    adopt(rig, plan)
    rig.load_ends()
    starts_ms = plan.started_ms + next(row.start_ms for row in plan.placements if row.task == "long")
    rig.pass_ms(starts_ms - rig.now_ms - 1)
    assert rig.state("long") is TaskState.QUEUED
    rig.pass_ms(1)

    assert rig.state("long") is TaskState.ASSIGNED


def test_work_of_a_later_turn_does_not_delay_the_load_of_this_one() -> None:
    """The model that is there by chance would be busy when it has to go."""
    rig = rig_with(loaded=("big",), rules=policy(min_residence_ms=0))
    rig.command("hold")
    for name, model in (("b", "other"), ("a", "big")):
        rig.chat(name, None, tier=model, batch="run", expected_ms=RUN_MS, needs=["hold"])
    adopt(rig, guide(("other", ("b",)), ("big", ("a",))))
    rig.finish("hold")

    assert rig.state("a") is TaskState.QUEUED
    assert loads(rig) == ["other"]


def test_patience_counts_from_when_the_plan_would_have_started_a_task() -> None:
    """Waiting for one's turn is no starvation: no plan could ever be followed for longer than one patience."""
    rig = rig_with(slots=1, rules=policy(patience_ms=20_000, turn_per_change=0.0))
    for name in ("a", "b", "c"):
        rig.chat(name, None, tier="big", batch="run", expected_ms=RUN_MS)
    ask(rig, "x", "other", batch="run")
    adopt(rig, guide(("big", ("a", "b", "c")), ("other", ("x",))))
    rig.load_ends()
    for name in ("a", "b"):
        rig.start(name)
        rig.pass_ms(RUN_MS)
        rig.finish(name)
        assert loads(rig) == ["big"]


def test_work_outside_of_a_plan_is_not_kept_back_by_it() -> None:
    """It shares no class with tasks that wait for their turn."""
    rig = rig_with(slots=2)
    rig.chat("a", None, tier="big", batch="run", expected_ms=RUN_MS)
    rig.chat("long", None, tier="big", batch="run", expected_ms=10 * RUN_MS)
    ask(rig, "b", "other", batch="run")
    adopt(rig, guide(("big", ("a",)), ("other", ("b",)), ("big", ("long",))))
    rig.chat("stranger", None, tier="big")
    rig.load_ends()

    assert (rig.state("long"), rig.state("stranger")) == (TaskState.QUEUED, TaskState.ASSIGNED)


def awaited(rig: Rig, *names: str, by_ms: int) -> None:
    """Tasks of a run that is still to be planned."""
    specs = [TaskSpec(id=name, prompt="say something", tier="big", batch="run") for name in names]
    rows = new_tasks(specs, rig.policy, first_seq=500, now_ms=rig.now_ms, settled={})
    for row in rows:
        rig.rows[row.task.id] = row.task
    rig.tell(TasksAccepted(tasks=tuple(row.task for row in rows), plan_by_ms=by_ms))


def test_tasks_of_a_run_that_is_being_planned_wait_for_the_plan() -> None:
    """What starts before it could spoil it: a load of the wrong model costs a swap."""
    rig = rig_with(slots=1)
    awaited(rig, "a", "b", by_ms=START_MS + 20_000)
    wait = rig.scheduler.wait_of("a")
    assert wait is not None
    assert (wait.code.value, wait.detail) == ("scheduled", "its run is being planned")
    assert not rig.loads
    adopt(rig, guide(("big", ("b", "a"))))
    rig.load_ends()

    assert (rig.state("b"), rig.state("a")) == (TaskState.ASSIGNED, TaskState.QUEUED)


def test_a_plan_that_does_not_come_is_not_waited_for_for_ever() -> None:
    """Its tasks start without it, when they are told that there is none or when the time is over."""
    told, alone = rig_with(slots=1), rig_with(slots=1)
    for rig in (told, alone):
        awaited(rig, "a", by_ms=START_MS + 20_000)
    told.tell(PlanDropped(batch="run", reason="nobody searches"))
    assert loads(told) == ["big"]
    alone.pass_ms(19_999)
    assert not alone.loads
    alone.pass_ms(1)

    assert loads(alone) == ["big"]


def test_a_task_may_end_while_its_run_is_being_planned() -> None:
    """A person may cancel it; the plan that comes then does not know it, and nothing is left behind."""
    rig = rig_with(slots=1)
    awaited(rig, "a", "b", by_ms=START_MS + 20_000)
    rig.tell(Cancel(task_id="a"))
    adopt(rig, guide(("big", ("a", "b"))))
    rig.load_ends()

    assert (rig.state("a"), rig.state("b")) == (TaskState.CANCELLED, TaskState.ASSIGNED)
    assert not rig.scheduler.books.unplanned
