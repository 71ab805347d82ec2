"""Turns of a plan that lie beside each other on one host: several models in memory, each in its turn."""

from msgspec.structs import replace

from ostler.domain.fleet import ProbeStatus
from ostler.domain.states import TaskState
from ostler.planning.guide import Guide
from ostler.planning.plan import Episode, Placement
from ostler.scheduling.signals import EndpointAdded
from tests.scheduling.hosts_made import ask, policy, rig_with
from tests.scheduling.rig import START_MS, Rig, local
from tests.scheduling.test_following import LOAD_MS, adopt, guide, loads


def beside(*stays: tuple[str, int, tuple[str, ...], int]) -> Guide:
    """A plan for batch `run` on `box`: each model from an instant on (seconds), for these tasks, up to an instant."""
    rows = [
        Placement(task=task, host="box", start_ms=from_s * 1_000 + LOAD_MS, end_ms=until_s * 1_000)
        for _, from_s, tasks, until_s in stays
        for task in tasks
    ]
    episodes = tuple(
        Episode(
            host="box",
            model=model,
            load_start_ms=from_s * 1_000,
            ready_ms=from_s * 1_000 + LOAD_MS,
            unload_start_ms=until_s * 1_000,
        )
        for model, from_s, _, until_s in stays
    )
    return replace(
        guide(("big", ("nobody",))),
        episodes=episodes,
        placements=tuple(sorted(rows, key=lambda row: (row.start_ms, row.task))),
        models={task: (model,) for model, _, tasks, _ in stays for task in tasks},
    )


def rig_beside(plan: Guide) -> Rig:
    """Much work for `big`, one task for `other` and a long one for `small`, which fits beside either."""
    rig = Rig(policy(patience_ms=10**9))
    rig.worker(chat=64)
    rig.tell(EndpointAdded(spec=local("box", slots=4)))  # not listed yet: all choose among the same work
    for name, model in (("s", "small"), ("b1", "big"), ("b2", "big"), ("b3", "big"), ("o", "other")):
        ask(rig, name, model, batch="run")
    adopt(rig, plan)
    rig.probe("box", ProbeStatus.AVAILABLE, models=("big", "other", "small"))
    return rig


def test_turns_that_lie_beside_each_other_are_both_taken() -> None:
    """While `small` is in memory for long, the plan has `other` and then `big` beside it: in that order, although
    more work waits for `big`, and each as soon as the one before it is over.
    """
    rig = rig_beside(
        beside(("small", 0, ("s",), 900), ("other", 20, ("o",), 120), ("big", 130, ("b1", "b2", "b3"), 300))
    )
    assert loads(rig) == ["small"]
    rig.load_ends()
    assert loads(rig) == ["small", "other"]
    rig.load_ends()
    rig.pass_ms(6_000)
    assert loads(rig) == ["small", "other"], "nothing takes its place while its task runs"

    rig.finish("o")
    rig.pass_ms(6_000)
    assert loads(rig) == ["small", "other", "big"]
    assert rig.state("s") is TaskState.ASSIGNED


def test_a_turn_that_follows_an_unfinished_one_waits_for_it() -> None:
    """`big` comes when `small` has gone; until then `other`, which was planned beside, is alone with it."""
    rig = rig_beside(
        beside(("small", 0, ("s",), 200), ("other", 20, ("o",), 120), ("big", 210, ("b1", "b2", "b3"), 300))
    )
    rig.load_ends()
    rig.load_ends()
    rig.finish("o")
    rig.start("s")
    rig.pass_ms(6_000)

    assert rig.scheduler.books.following["run"].turn_now("box")[0].model == "small"
    guided_by = [event.metadata["model"] for event in rig.named("model.loading")]
    assert guided_by[:2] == ["small", "other"]


def test_who_has_just_come_is_given_its_work_before_a_new_plan_can_have_it_leave() -> None:
    """A plan that is adopted at the instant at which a model is there, and wants another: first somebody is served."""
    rig = rig_with(slots=1)
    for name, model in (("b1", "big"), ("b2", "big"), ("o", "other")):
        ask(rig, name, model, batch="run")
    rig.load_ends()
    adopt(rig, guide(("other", ("o",)), ("big", ("b1", "b2"))))

    assert loads(rig) == ["big"]
    assert rig.state("b1") is TaskState.ASSIGNED
    rig.finish("b1")
    rig.pass_ms(6_000)
    rig.finish("b2")
    assert loads(rig) == ["big", "other"]


def test_who_serves_nobody_any_more_leaves_at_once() -> None:
    """The next turn does not wait for the least stay of a model whose work is done."""
    rig = rig_with(slots=2)
    for name, model in (("b1", "big"), ("o", "other")):
        ask(rig, name, model, batch="run")
    adopt(rig, guide(("big", ("b1",)), ("other", ("o",))))
    rig.load_ends()
    rig.pass_ms(400)
    rig.finish("b1")

    assert loads(rig) == ["big", "other"]
    assert rig.now_ms - START_MS < 25_000
