"""A plan in force says where its tasks run: there, as long as that host can be used; else where the rule has them."""

from msgspec.structs import replace

from ostler.domain.states import TaskState
from ostler.planning.guide import Guide
from ostler.scheduling.signals import PlanDropped
from tests.scheduling.hosts_made import ask, host, policy, rig_with
from tests.scheduling.rig import Rig
from tests.scheduling.test_following import adopt, guide

HOSTS = ("alpha", "beta")
LOADED = ("big",)


def placed(**hosts: str) -> Guide:
    """A plan for batch `run` that has each of these tasks, for `big`, on a host."""
    plan = guide(("big", tuple(hosts)))
    return replace(
        plan,
        placements=tuple(replace(row, host=hosts[row.task]) for row in plan.placements),
        episodes=tuple(replace(plan.episodes[0], host=name) for name in sorted(set(hosts.values()))),
    )


def two_hosts(*tasks: str, slots: int = 2, plan: Guide | None = None) -> Rig:
    """Two machines that both have `big` in memory; the tasks come when the plan is known, so that it counts for all."""
    rig = rig_with(*HOSTS, slots=slots, loaded=LOADED, rules=policy(*(host(name) for name in HOSTS)))
    rig.command("gate")
    for name in tasks:
        ask(rig, name, "big", batch="run", needs=["gate"])
    if plan is not None:
        adopt(rig, plan)
    rig.finish("gate")
    return rig


def where(rig: Rig, *tasks: str) -> list[str | None]:
    return [rig.rows[name].endpoint for name in tasks]


def test_each_task_goes_where_its_plan_has_it() -> None:
    """Both machines are as good for the rule; the plan has a reason of its own."""
    for one, two in (HOSTS, HOSTS[::-1], ("beta", "beta"), ("alpha", "alpha")):
        rig = two_hosts("a", "b", plan=placed(a=one, b=two))

        assert where(rig, "a", "b") == [one, two]


def test_a_task_waits_for_its_place_although_another_one_is_free() -> None:
    """It would be in the way there; the reason is told, and its turn comes."""
    rig = two_hosts("a", "b", slots=1, plan=placed(a="beta", b="beta"))
    wait = rig.scheduler.wait_of("b")

    assert where(rig, "a", "b") == ["beta", None]
    assert wait is not None
    assert "beta" in wait.detail
    rig.finish("a")
    assert where(rig, "b") == ["beta"]


def test_a_host_that_is_away_keeps_nobody_waiting() -> None:
    """While it is down its tasks go elsewhere."""
    rig = rig_with(*HOSTS, slots=2, loaded=LOADED, rules=policy(*(host(name) for name in HOSTS)))
    rig.command("gate")
    ask(rig, "a", "big", batch="run", needs=["gate"])
    ask(rig, "b", "big", batch="run", needs=["gate"])
    adopt(rig, placed(a="beta", b="alpha"))
    rig.down("beta")
    rig.finish("gate")

    assert where(rig, "a", "b") == ["alpha", "alpha"]


def test_who_waited_for_a_host_moves_on_when_it_goes() -> None:
    """The wait ends with the host, not with the plan."""
    rig = two_hosts("a", "b", slots=1, plan=placed(a="beta", b="beta"))
    rig.down("beta")

    assert where(rig, "b") == ["alpha"]


def test_a_host_that_the_fleet_does_not_have_is_no_place_to_wait_for() -> None:
    """A plan may be older than the fleet."""
    rig = two_hosts("a", plan=placed(a="gone-for-good"))

    assert rig.state("a") is TaskState.ASSIGNED


def test_a_dropped_plan_holds_nobody_at_its_host() -> None:
    """Its tasks are free at once."""
    rig = two_hosts("a", "b", slots=1, plan=placed(a="beta", b="beta"))
    rig.tell(PlanDropped(batch="run", reason="by hand"))

    assert where(rig, "b") == ["alpha"]


def test_work_of_others_goes_wherever_there_is_room() -> None:
    """A plan binds its own tasks."""
    rig = two_hosts("a", slots=1, plan=placed(a="beta"))
    ask(rig, "stranger", "big")

    assert where(rig, "a", "stranger") == ["beta", "alpha"]


def test_a_load_is_asked_for_where_the_plan_has_the_work() -> None:
    """Nothing is in memory anywhere: only the planned machine gets the model, for work that is about to come too."""
    rig = rig_with(*HOSTS, slots=2, rules=policy(*(host(name) for name in HOSTS)))
    rig.command("first")
    rig.command("gate", needs=["first"])
    ask(rig, "a", "big", batch="run", needs=["gate"])
    adopt(rig, placed(a="beta"))
    rig.finish("first")
    assert rig.state("gate") is TaskState.ASSIGNED
    rig.finish("gate")

    assert [(effect.endpoint, effect.model) for effect in rig.loads] == [("beta", "big")]
    rig.load_ends()
    assert where(rig, "a") == ["beta"]


def test_the_decision_says_why_the_other_place_was_left_out() -> None:
    """Every candidate has its reason, this one too."""
    rig = two_hosts("a", plan=placed(a="beta"))
    (sent,) = [effect for effect in rig.sent if effect.command.task.id == "a"]
    decision = sent.command.decision

    assert decision is not None
    reasons = {row.endpoint: row.rejection for row in decision.candidates}
    assert reasons["beta"] is None
    assert reasons["alpha"] is not None
    assert reasons["alpha"].value == "planned"
