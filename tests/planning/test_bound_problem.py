"""How bounds read an instance, and what may be changed in it without changing them."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.planning.bounds import bounds_of, certify
from ostler.planning.bounds.loader import load_bounds
from ostler.planning.bounds.paths import Gaps, Paths
from ostler.planning.bounds.problem import Mode, Problem
from ostler.planning.bounds.replicas import replicas_ms
from ostler.planning.bounds.residency import dearest, find_prices, largest_sets, priced
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from tests.planning.tiny import varied_instance

BOX = PlanHost(
    name="box",
    memory_bytes=10,
    models={
        "a": Serving(memory_bytes=6, load_ms=30, unload_ms=20, slots=2),
        "b": Serving(memory_bytes=6, load_ms=40, unload_ms=10),
        "c": Serving(memory_bytes=3, load_ms=50, unload_ms=10),
        "unused": Serving(memory_bytes=1),
    },
)
SKY = PlanHost(name="sky", cloud=True, models={"a": Serving(slots=5, pace_permille=500)})


def task(name: str, model: str, ms: int, *needs: str) -> PlanTask:
    return PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=ms),), needs=needs)


def problem(*tasks: PlanTask, hosts: tuple[PlanHost, ...] = (BOX,)) -> Problem:
    return Problem(Instance(hosts=hosts, tasks=tasks))


def test_a_task_needs_only_tasks_of_a_smaller_index() -> None:
    """Whatever order tasks are written in, they are numbered so that needs come first; doubled needs count once."""
    made = problem(task("z", "a", 1, "m", "m"), task("m", "b", 1, "a"), task("a", "a", 1))

    assert made.names == ["a", "m", "z"]
    assert made.before == [[], [0], [1]]
    assert made.after == [[1], [2], []]


def test_only_models_that_work_needs_are_read() -> None:
    """A model that no task uses is in no set; a task that can do without a model does not need it."""
    either = PlanTask(id="x", choices=(Choice(models=("a",), duration_ms=5), Choice(models=("b",), duration_ms=7)))
    made = problem(either, task("y", "c", 1))

    assert made.places[0].used == ("a", "b", "c")
    assert made.models == ("c",)
    assert made.ms == [5, 1]


def test_of_two_choices_alike_the_faster_is_read() -> None:
    """The same models on the same place with the same memory: only the shorter duration matters."""
    twice = PlanTask(id="x", choices=(Choice(models=("a",), duration_ms=9), Choice(models=("a",), duration_ms=5)))

    assert problem(twice).modes == [(Mode(0, ("a",), 5),)]


def test_paces_and_clouds_are_in_the_modes() -> None:
    """The cloud does it in half the time, and nothing is loaded there."""
    made = problem(task("x", "a", 101), hosts=(BOX, SKY))

    assert [(mode.place, mode.ms) for mode in made.modes[0]] == [(0, 101), (1, 51)]
    assert made.places[1].load_ms("a") == 0
    assert made.places[1].fits(frozenset(("a",)), 10**12)


def test_the_largest_sets_are_those_to_which_nothing_can_be_added() -> None:
    """Of sizes 6, 6 and 3 in 10: either six with the three."""
    made = problem(task("x", "a", 1), task("y", "b", 1), task("z", "c", 1))

    assert {tuple(sorted(row)) for row in largest_sets(made.places[0])} == {("a", "c"), ("b", "c")}


def test_what_is_pinned_is_in_every_set() -> None:
    """Pinned and in memory: each set holds it and its worth is always earned."""
    pinned = replace(BOX, models={**BOX.models, "c": Serving(memory_bytes=3, pinned=True)}, resident=("c",))
    made = problem(task("x", "a", 1), task("y", "b", 1), task("z", "c", 1), hosts=(pinned,))

    assert all("c" in row for row in largest_sets(made.places[0]))
    assert dearest(made.places[0], {"a": 5, "b": 7, "c": 2}) == 9


def test_many_models_are_priced_by_size() -> None:
    """With too many sets for the linear program prices follow sizes: more than half of the memory counts in full."""
    models = {f"m{at:02}": Serving(memory_bytes=1 + at % 3, load_ms=1) for at in range(24)}
    models["whale"] = Serving(memory_bytes=9, load_ms=1, slots=2)
    host = PlanHost(name="box", memory_bytes=12, models=models)
    made = problem(*(task(name, name, 10) for name in models), hosts=(host,))

    prices = find_prices(made)

    assert len(prices) == 1
    assert {model for model, price in prices[0]["box"].items() if price} == {"whale"}
    assert priced(made, prices[0]).capacity == prices[0]["box"]["whale"] * 2


def test_loads_wait_for_each_other() -> None:
    """Two models that fit are loaded one after the other; the one with more to come first."""
    made = problem(task("x", "a", 100), task("y", "c", 10))

    found = load_bounds(made, [0, 0])

    assert [(row.bound_ms, row.models) for row in found] == [(130, ("a",))]
    assert [row.bound_ms for row in load_bounds(problem(task("x", "a", 50), task("y", "c", 45)), [0, 0])] == [125]


def test_only_what_one_host_must_do_is_loaded_there() -> None:
    """Work that a second host or the cloud can do need not be loaded on the first."""
    other = replace(BOX, name="other", memory_bytes=11)

    assert load_bounds(problem(task("x", "a", 100), hosts=(BOX, other)), [0]) == []
    assert load_bounds(problem(task("x", "a", 100), hosts=(BOX, replace(BOX, name="two"))), [0]) == []
    assert load_bounds(problem(task("x", "a", 100), hosts=(replace(BOX, resident=("a",)),)), [0]) == []


TWINS = tuple(replace(BOX, name=name) for name in ("one", "two", "three"))


def test_work_that_takes_several_hosts_is_loaded_on_each() -> None:
    """Four times 100 on one slot a host: three hosts and three loads to end by 40 + 200, one host alone takes 440."""
    rows = [task(name, "b", 100) for name in "wxyz"]
    prices = {"one": {"b": 1}}

    assert replicas_ms(problem(*rows, hosts=TWINS), prices, [0] * 4) == 40 + -(-400 // 3)
    assert replicas_ms(problem(*rows), {"box": {"b": 1}}, [0] * 4) == 440
    assert replicas_ms(problem(*rows, hosts=TWINS), {}, [0] * 4) == 0


def test_few_hosts_pay_few_loads() -> None:
    """Two models that exclude each other on two hosts: one load each; with more work of one, that one is loaded twice.

    Both hosts together earn two a millisecond: (100 + 100 + 30 + 40) / 2, and with 300 more the slower load again.
    """
    hosts = TWINS[:2]
    prices = {"one": {"a": 2, "b": 4}}
    little = problem(task("x", "a", 200), task("y", "b", 100), hosts=hosts)
    much = problem(task("x", "a", 200), *(task(name, "b", 100) for name in "wyz"), hosts=hosts)

    assert replicas_ms(little, prices, [0] * 2) == 140
    assert replicas_ms(much, prices, [0] * 4) == (200 // 2 + 300 + 30 + 2 * 40) // 2


def test_what_follows_the_work_shortens_the_time_for_it() -> None:
    """With 100 to come after every task of b its work must be done 100 before the end."""
    rows = [task(name, "b", 100) for name in "wxyz"]

    assert replicas_ms(problem(*rows, hosts=TWINS), {"one": {"b": 1}}, [100] * 4) == 100 + 40 + -(-400 // 3)


def test_the_gap_depends_on_both_tasks() -> None:
    """A swap between what excludes each other; half of one where only the task's own memory is in the way."""
    gaps = Gaps(problem(task("x", "a", 1), task("y", "b", 1), task("z", "c", 1)).places)
    heavy = Mode(0, ("c",), 1, 2)

    assert gaps.between(Mode(0, ("a",), 1), Mode(0, ("b",), 1)) == 60
    assert gaps.between(Mode(0, ("a",), 1), Mode(0, ("c",), 1)) == 0
    assert gaps.between(Mode(0, ("a",), 1), heavy) == 20
    assert gaps.between(heavy, Mode(0, ("a",), 1)) == 30


def test_a_task_of_no_duration_is_in_nobodys_way() -> None:
    """At its instant a model may leave as another comes, and its own memory counts for no time."""
    gaps = Gaps(problem(task("x", "a", 0), task("y", "b", 1), task("z", "c", 1)).places)
    instant = Mode(0, ("c",), 0, 9)

    assert gaps.between(Mode(0, ("a",), 1), instant) == 0
    assert gaps.between(Mode(0, ("a",), 0), Mode(0, ("b",), 0)) == 0
    assert gaps.between(Mode(0, ("a",), 1), Mode(0, ("b",), 0)) == 60
    assert gaps.first(instant) == 50
    assert certify(varied_instance(777)).bound_ms <= 20


def test_a_path_takes_the_best_host_for_each_task() -> None:
    """With the swap to wait for here and a pace to wait for there, the shorter of both counts."""
    slow = PlanHost(name="slow", memory_bytes=9, models={"b": Serving(memory_bytes=6, load_ms=1, pace_permille=1200)})
    chain = (task("x", "a", 100), task("y", "b", 100, "x"))

    assert Paths(problem(*chain)).longest[0] == 30 + 100 + 60 + 100
    assert Paths(problem(*chain, hosts=(BOX, slow))).longest[0] == 30 + 100 + 120


def scaled(instance: Instance, by: int) -> Instance:
    """The same with every time so many times as long."""
    return replace(
        instance,
        hosts=tuple(
            replace(
                host,
                models={
                    name: replace(row, load_ms=row.load_ms * by, unload_ms=row.unload_ms * by)
                    for name, row in host.models.items()
                },
            )
            for host in instance.hosts
        ),
        tasks=tuple(
            replace(
                row,
                release_ms=row.release_ms * by,
                choices=tuple(replace(choice, duration_ms=choice.duration_ms * by) for choice in row.choices),
            )
            for row in instance.tasks
        ),
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5_000))
def test_times_in_another_unit_give_the_bound_in_another_unit(seed: int) -> None:
    """Ten times as long is ten times the path; nothing in a bound depends on the size of a millisecond."""
    instance = scaled(varied_instance(seed), 1000)

    found, tenfold = bounds_of(instance)["path"], bounds_of(scaled(instance, 10))["path"]

    assert tenfold.bound_ms == 10 * found.bound_ms


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5_000))
def test_names_and_order_change_no_bound(seed: int) -> None:
    """Tasks and hosts written in another order are the same problem."""
    instance, dice = varied_instance(seed), Random(seed)
    other = replace(
        instance,
        tasks=tuple(dice.sample(instance.tasks, len(instance.tasks))),
        hosts=tuple(dice.sample(instance.hosts, len(instance.hosts))),
    )

    for kind in ("path", "switching", "loads"):
        found, again = bounds_of(instance).get(kind), bounds_of(other).get(kind)
        assert (found.bound_ms if found else None) == (again.bound_ms if again else None), kind


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5_000))
def test_a_plan_for_more_work_is_no_shorter(seed: int) -> None:
    """Without the last task, without a need, with a faster load: the path is never longer."""
    instance = varied_instance(seed)
    before = bounds_of(instance)["path"].bound_ms
    fewer = replace(instance, tasks=instance.tasks[:-1])
    freer = replace(instance, tasks=tuple(replace(row, needs=()) for row in instance.tasks))
    quicker = replace(
        instance,
        hosts=tuple(
            replace(host, models={name: replace(row, load_ms=0) for name, row in host.models.items()})
            for host in instance.hosts
        ),
    )

    assert all(bounds_of(row)["path"].bound_ms <= before for row in (fewer, freer, quicker))


@pytest.mark.parametrize("seed", range(20))
def test_the_certificate_is_the_largest_of_its_families(seed: int) -> None:
    """The best of all families is what is certified, and it says in words why."""
    instance = varied_instance(seed)
    families = bounds_of(instance)

    certificate = certify(instance)

    assert certificate.bound_ms == max(row.bound_ms for row in families.values())
    assert certificate.said
    assert certificate.gap(certificate.bound_ms) == 0.0
