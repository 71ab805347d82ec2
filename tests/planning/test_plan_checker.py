"""The checker of plans: a good plan passes, and each rule refuses the plan that breaks it, in words."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan
from ostler.planning.plan_checker import check_plan, shortest_path

HOST = PlanHost(
    name="box",
    memory_bytes=10,
    models={
        "big": Serving(memory_bytes=6, load_ms=20, unload_ms=10, slots=2),
        "vast": Serving(memory_bytes=8, load_ms=30, unload_ms=5),
        "tiny": Serving(memory_bytes=2, load_ms=5, unload_ms=5, slots=2, pinned=True),
    },
    resident=("tiny",),
    max_resident=2,
)
CLOUD = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=1)})
INSTANCE = Instance(
    hosts=(HOST, CLOUD),
    tasks=(
        PlanTask(id="plan", choices=(Choice(models=("tiny",), duration_ms=50),), release_ms=5),
        PlanTask(
            id="code",
            choices=(Choice(models=("big",), duration_ms=100), Choice(models=("api",), duration_ms=80)),
            needs=("plan",),
        ),
        PlanTask(id="both", choices=(Choice(models=("big", "tiny"), duration_ms=40, memory_bytes=1),)),
        PlanTask(id="last", choices=(Choice(models=("vast",), duration_ms=10),), needs=("code",)),
        PlanTask(id="extra", choices=(Choice(models=("api",), duration_ms=10),), optional=True),
    ),
)
TINY = Episode(host="box", model="tiny", load_start_ms=0, ready_ms=0, initial=True)
BIG = Episode(host="box", model="big", load_start_ms=0, ready_ms=20, unload_start_ms=160, unload_end_ms=170)
VAST = Episode(host="box", model="vast", load_start_ms=170, ready_ms=200)
PLACED = {
    "plan": Placement(task="plan", host="box", start_ms=5, end_ms=55),
    "code": Placement(task="code", host="box", start_ms=60, end_ms=160),
    "both": Placement(task="both", host="box", start_ms=60, end_ms=100),
    "last": Placement(task="last", host="box", start_ms=200, end_ms=210),
}


def plan(*episodes: Episode, **changed: Placement | None) -> Plan:
    """The good plan with other episodes, or with placements changed, added or (None) taken away."""
    placements = {name: row for name, row in {**PLACED, **changed}.items() if row is not None}
    return Plan(strategy="test", episodes=episodes or (TINY, BIG, VAST), placements=tuple(placements.values()))


def moved(name: str, by_ms: int) -> Placement:
    row = PLACED[name]
    return replace(row, start_ms=row.start_ms + by_ms, end_ms=row.end_ms + by_ms)


def broken(made: Plan, instance: Instance = INSTANCE) -> set[str]:
    return {f"{row.code} {row.subject}" for row in check_plan(instance, made)}


def test_a_plan_that_can_be_carried_out_is_passed() -> None:
    """Loads beside work, two tasks in two slots, a task of two models, an optional task left out: nothing is wrong."""
    assert check_plan(INSTANCE, plan()) == ()


def test_a_cloud_needs_no_episodes() -> None:
    """A task on a cloud is ready at once, and an optional task may be placed."""
    code = Placement(task="code", host="sky", start_ms=55, end_ms=135, choice=1)
    extra = Placement(task="extra", host="sky", start_ms=135, end_ms=145)

    assert check_plan(INSTANCE, plan(code=code, extra=extra)) == ()


BAD: dict[str, tuple[Callable[[], Plan], set[str]]] = {
    "a need not respected": (lambda: plan(code=moved("code", -6)), {"need code"}),
    "a need not placed": (lambda: plan(plan=None), {"need code", "missing plan"}),
    "started before release": (lambda: plan(plan=moved("plan", -1)), {"release plan"}),
    "too short": (lambda: plan(both=replace(PLACED["both"], end_ms=99)), {"duration both"}),
    "placed twice": (lambda: plan(again=replace(PLACED["both"], start_ms=110, end_ms=150)), {"twice both"}),
    "no such choice": (lambda: plan(both=replace(PLACED["both"], choice=1)), {"choice both"}),
    "choice of another host": (lambda: plan(code=replace(PLACED["code"], choice=1)), {"choice code"}),
    "no such task": (lambda: plan(x=replace(PLACED["both"], task="x", start_ms=110, end_ms=150)), {"unknown x"}),
    "no such host": (lambda: plan(both=replace(PLACED["both"], host="x")), {"unknown both"}),
    "no such model": (lambda: plan(TINY, BIG, VAST, replace(VAST, model="x")), {"unknown box/x"}),
    "episode on no host": (lambda: plan(TINY, BIG, VAST, replace(VAST, host="x")), {"unknown x"}),
    "before it is ready": (lambda: plan(both=moved("both", -41)), {"ready both"}),
    "after its unload began": (lambda: plan(both=moved("both", 61)), {"ready both"}),
    "slots exceeded": (
        lambda: plan(extra=replace(PLACED["plan"], task="both", start_ms=60, end_ms=100)),
        {"twice both", "slots box/big"},
    ),
    "load too short": (lambda: plan(TINY, replace(BIG, ready_ms=19), VAST), {"load box/big"}),
    "load before the start": (lambda: plan(TINY, replace(BIG, load_start_ms=-20, ready_ms=0), VAST), {"load box/big"}),
    "unload too long": (
        lambda: plan(TINY, replace(BIG, unload_end_ms=171), VAST),
        {"unload box/big", "memory box", "residents box"},
    ),
    "half an unload": (
        lambda: plan(TINY, replace(BIG, unload_end_ms=None), VAST),
        {"unload box/big", "memory box", "residents box"},
    ),
    "unloaded while it loads": (
        lambda: plan(TINY, BIG, VAST, replace(BIG, load_start_ms=300, ready_ms=320, unload_start_ms=310,
                                              unload_end_ms=320)),
        {"unload box/big", "memory box", "residents box"},
    ),
    "pinned, yet unloaded": (
        lambda: plan(replace(TINY, unload_start_ms=300, unload_end_ms=305), BIG, VAST), {"pinned box/tiny"},
    ),
    "resident at the start, yet without episode": (
        lambda: plan(BIG, VAST, plan=None, code=None, both=None, last=None),
        {"initial box/tiny", "missing plan", "missing code", "missing both", "missing last", "critical-path test"},
    ),
    "said to be resident at the start, but is not": (
        lambda: plan(TINY, replace(BIG, initial=True, ready_ms=0), VAST), {"initial box/big"},
    ),
    "in memory twice": (
        lambda: plan(TINY, replace(TINY, load_start_ms=300, ready_ms=305, initial=False), BIG, VAST),
        {"overlap box/tiny", "memory box", "residents box"},
    ),
    "memory too small": (
        lambda: plan(TINY, BIG, replace(VAST, load_start_ms=165, ready_ms=195)), {"memory box", "residents box"},
    ),
    "a cloud said to load": (
        lambda: plan(TINY, BIG, VAST, Episode(host="sky", model="api", load_start_ms=0, ready_ms=0)), {"load sky/api"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_each_rule_refuses_the_plan_that_breaks_it(name: str) -> None:
    """One thing made wrong is found, named by rule and subject, and nothing else is blamed."""
    make, expected = BAD[name]

    assert broken(make()) == expected


def test_loads_of_one_host_follow_one_another() -> None:
    """Two loads at once on one host are refused; what was in memory at the start is no load."""
    roomy = replace(INSTANCE, hosts=(replace(HOST, memory_bytes=100, max_resident=None), CLOUD))
    early = replace(VAST, load_start_ms=19, ready_ms=49)

    assert broken(plan(TINY, BIG, early), roomy) == {"one-load box/vast"}
    assert broken(plan(TINY, BIG, replace(VAST, load_start_ms=20, ready_ms=50)), roomy) == set()


def test_the_memory_of_a_running_task_counts() -> None:
    """A task's own memory fits beside the models on its host for as long as it runs, or is refused."""
    full = replace(INSTANCE, hosts=(replace(HOST, memory_bytes=8, models={**HOST.models, "vast": Serving()}), CLOUD))

    assert "memory box" in broken(plan(), full)


def test_every_broken_need_is_told() -> None:
    """With two broken needs there are two violations, each naming both ends."""
    made = plan(code=moved("code", -6), last=moved("last", -60))

    said = [row.said for row in check_plan(INSTANCE, made) if row.code == "need"]

    assert said == [
        "it starts at 0.054 s, before plan, which it needs, ends at 0.055 s",
        "it starts at 0.14 s, before code, which it needs, ends at 0.154 s",
    ]


def test_a_plan_shorter_than_its_critical_path_is_refused() -> None:
    """The makespan is compared with the longest chain of shortest durations, and the chain is told."""
    short = Plan(strategy="hopeful", episodes=(TINY,), placements=(PLACED["plan"],))

    said = [row.said for row in check_plan(INSTANCE, short) if row.code == "critical-path"]

    assert said == ["the plan ends at 0.055 s, but these tasks in a row take 0.145 s: plan -> code -> last"]
    assert shortest_path(INSTANCE) == (145, ("plan", "code", "last"))


def test_an_optional_task_that_others_need_is_on_the_critical_path() -> None:
    """Alone it may be left out; needed by a task that must be done it may not."""
    extra = PlanTask(id="extra", choices=(Choice(models=("api",), duration_ms=300),), optional=True)
    needing = PlanTask(id="end", choices=(Choice(models=("api",), duration_ms=1),), needs=("extra",))

    assert shortest_path(replace(INSTANCE, tasks=(extra,))) == (0, ())
    assert shortest_path(replace(INSTANCE, tasks=(extra, needing))) == (301, ("extra", "end"))


def test_what_ends_makes_room_for_what_starts() -> None:
    """Intervals are half open: a slot is free, and memory is free, at the instant its holder ends."""
    after = replace(PLACED["plan"], task="both", start_ms=55, end_ms=95)

    assert broken(plan(both=after)) == set()


def test_a_model_loaded_without_time_is_no_second_load() -> None:
    """A load of no duration needs no turn: it collides with no other."""
    free = replace(HOST, models={**HOST.models, "tiny": Serving(memory_bytes=2)}, resident=())
    tiny = replace(TINY, initial=False, load_start_ms=4, ready_ms=4)

    assert broken(plan(tiny, BIG, VAST), replace(INSTANCE, hosts=(free, CLOUD))) == set()
