"""Lower bounds: never above the optimum, and as high as published for the fourteen agents."""

from random import Random

import pytest
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.planning.bound_checker import check_certificate
from ostler.planning.bounds import certificates, certify
from ostler.planning.bounds.paths import Paths
from ostler.planning.bounds.problem import Problem
from ostler.planning.bounds.residency import dearest
from ostler.planning.bounds.simplex import maximise
from ostler.planning.bounds.windows import Price, best_window, pack
from ostler.planning.certificate import Certificate
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, checked
from ostler.simulate.fourteen_agents import Reading, fourteen_agents
from ostler.simulate.instances import random_instance, tiny_instance
from tests.planning.oracle import TooLargeError, shortest_ms
from tests.planning.tiny import varied_instance

SAMPLE = 300
STATES_MAX = 4_000

# The column "lower bound" of the design's table for the fourteen agents, in hundredths of a minute.
TABLE: dict[tuple[Reading, int], int] = {
    ("map", 1): 16362,
    ("map", 2): 9362,
    ("map", 3): 6029,
    ("map", 4): 5362,
    ("map", 5): 5362,
    ("map", 9): 5362,
    ("mermaid", 2): 10862,
    ("mermaid", 4): 7362,
    ("mermaid", 9): 6862,
    ("phases", 2): 9296,
    ("phases", 4): 5296,
    ("phases", 5): 4496,
    ("phases", 9): 3796,
}


@pytest.mark.parametrize("reading_and_slots", sorted(TABLE))
def test_the_bounds_of_the_fourteen_agents_are_those_of_the_table(reading_and_slots: tuple[Reading, int]) -> None:
    """Every lower bound of the design's table is reached exactly, by turns of the three models."""
    reading, slots = reading_and_slots
    instance = fourteen_agents(reading, slots)

    certificate = certify(instance)

    assert round(certificate.bound_ms / 600 - 0.01) == TABLE[reading_and_slots]
    assert certificate.kind == "switching"
    assert check_certificate(instance, certificate) == ""


def claims(instance: Instance) -> list[Certificate]:
    made = certificates(instance)
    for certificate in made:
        refusal = check_certificate(instance, certificate)
        assert refusal == "", f"the checker refuses a {certificate.kind} of {instance.name}: {refusal}"
    return made


def test_no_bound_is_above_the_optimum() -> None:
    """On tiny instances of every kind no certificate of any family claims more than the shortest plan takes."""
    compared = 0
    for seed in range(SAMPLE):
        instance = checked(varied_instance(seed))
        try:
            optimum = shortest_ms(instance, STATES_MAX)
        except TooLargeError:
            continue
        compared += 1
        for certificate in claims(instance):
            said = f"{instance.name}: {certificate.kind} claims {certificate.bound_ms} ms, a plan takes {optimum} ms"
            assert certificate.bound_ms <= optimum, said

    assert compared >= SAMPLE * 4 // 5


def test_certificates_of_generated_instances_are_confirmed() -> None:
    """What the finder claims for larger instances of every family the checker derives on its own."""
    instances = [tiny_instance(seed) for seed in range(100)]
    instances += [
        random_instance(seed, 40, hosts, regime=regime, shape=shape, memory=memory)
        for seed in range(2)
        for hosts in (1, 2)
        for regime in ("agent", "call")
        for shape in ("layered", "jobs")
        for memory in ("tight", "mixed")
    ]

    kinds = {certificate.kind for instance in instances for certificate in claims(instance)}

    assert kinds == {"path", "cut", "energy", "residency", "clock", "switching", "loads", "replicas"}


def test_the_same_instance_has_the_same_certificate() -> None:
    """Finding a bound is deterministic, whatever order hosts and tasks are written in changes no figure."""
    instance = random_instance(3, 50, 2)
    shuffled = replace(instance, tasks=tuple(Random(1).sample(instance.tasks, len(instance.tasks))))

    assert certify(instance) == certify(random_instance(3, 50, 2))
    assert certify(shuffled).bound_ms == certify(instance).bound_ms


MODELS = {
    "big": Serving(memory_bytes=8, load_ms=20, unload_ms=10, slots=2),
    "vast": Serving(memory_bytes=8, load_ms=30, unload_ms=5),
}
BOX = PlanHost(name="box", memory_bytes=10, models=MODELS)


def task(name: str, model: str, ms: int = 100, *needs: str, **more: object) -> PlanTask:
    return replace(PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=ms),), needs=needs), **more)


def bound(*tasks: PlanTask, hosts: tuple[PlanHost, ...] = (BOX,), kind: str | None = None) -> int:
    made = claims(Instance(hosts=hosts, tasks=tasks))
    return max(row.bound_ms for row in made if kind in (None, row.kind))


def test_a_path_counts_the_first_load_and_the_swaps_on_one_host() -> None:
    """Load, work, unload, load, work; on a second host the other model can be loaded ahead."""
    chain = (task("a", "big"), task("b", "vast", 100, "a"))

    assert bound(*chain, kind="path") == 20 + 100 + 10 + 30 + 100
    assert bound(*chain, hosts=(BOX, replace(BOX, name="other")), kind="path") == 220


def test_a_model_resident_at_the_start_needs_no_load() -> None:
    """What is in memory can be used at once; what is in its way must be unloaded first."""
    warm = (replace(BOX, resident=("big",)),)

    assert bound(task("a", "big"), hosts=warm) == 100
    assert bound(task("a", "vast"), hosts=warm) == 10 + 30 + 100


def test_a_release_holds_a_path_back() -> None:
    """Nothing starts before its release."""
    assert bound(task("a", "big", release_ms=500)) == 600


def test_an_optional_task_counts_for_nothing() -> None:
    """What may be left out lengthens no bound; what a task that must be done needs may not be left out."""
    extra = task("b", "vast", 900, "a", optional=True)

    assert bound(task("a", "big"), extra) == 120
    assert bound(task("a", "big"), extra, task("c", "big", 10, "b")) == 20 + 100 + 40 + 900 + 25 + 10


def test_a_pace_slows_and_a_cloud_shortens() -> None:
    """Durations are those of the fastest place that can do the task, and a cloud loads nothing."""
    slow = replace(BOX, models={"big": replace(MODELS["big"], pace_permille=2000)})
    cloud = PlanHost(name="sky", cloud=True, models={"big": Serving(slots=9)})

    assert bound(task("a", "big"), hosts=(slow,)) == 220
    assert bound(task("a", "big"), hosts=(slow, cloud)) == 100


def test_slots_limit_the_work_of_a_model() -> None:
    """Three tasks on two slots: two share one (energy says 150, the pigeonhole 200), after the load."""
    assert bound(*(task(name, "big") for name in "abc"), kind="energy") == 220


def test_two_models_that_exclude_each_other_take_turns() -> None:
    """Their ready times add up, with the cheaper order of turns."""
    assert bound(task("a", "big"), task("b", "vast")) == min(20 + 10 + 30, 30 + 5 + 20) + 200


def test_memory_that_holds_both_needs_no_turns() -> None:
    """Side by side only the longer one counts, after one load and then the other."""
    roomy = replace(BOX, memory_bytes=16)

    assert bound(task("a", "big"), task("b", "vast"), hosts=(roomy,)) == 20 + 30 + 100


def test_what_is_pinned_takes_its_memory_for_ever() -> None:
    """Beside a pinned model the others take turns though they would fit without it."""
    models = {**MODELS, "tiny": Serving(memory_bytes=2, pinned=True)}
    host = PlanHost(name="box", memory_bytes=17, models=models, resident=("tiny",))

    assert bound(task("a", "big"), task("b", "vast"), hosts=(host,)) == 255
    assert bound(task("a", "big"), task("b", "vast"), hosts=(replace(host, resident=()),)) == 150


def test_order_through_other_models_holds_on_the_clock_of_a_model() -> None:
    """Two tasks of one model with work of another between them cannot share its ready time."""
    apart = (task("a", "big"), task("b", "vast", 100, "a"), task("c", "big", 100, "b"))

    assert bound(*apart) == 20 + 100 + 10 + 30 + 100 + 5 + 20 + 100


def test_an_empty_instance_has_the_bound_of_nothing() -> None:
    """No task that must be done: zero, and the checker agrees."""
    assert bound() == 0
    assert bound(task("a", "big", optional=True)) == 0


def test_a_task_that_no_host_can_run_is_refused() -> None:
    """An instance without a plan has no bound; the message names the task."""
    with pytest.raises(InvalidInputError, match="no host can ever run huge"):
        certify(Instance(hosts=(BOX,), tasks=(task("a", "huge"),)))


def test_alike_hosts_are_one_place() -> None:
    """Hosts that nothing tells apart are read as one with a count; a choice that names one tells it apart."""
    hosts = (BOX, replace(BOX, name="two"), replace(BOX, name="odd", memory_bytes=9))
    named = replace(task("a", "big"), choices=(Choice(models=("big",), duration_ms=1, hosts=("two",)),))

    assert [place.names for place in Problem(Instance(hosts=hosts, tasks=(task("a", "big"),))).places] == [
        ("box", "two"),
        ("odd",),
    ]
    assert [place.count for place in Problem(Instance(hosts=hosts, tasks=(named,))).places] == [1, 1, 1]


def test_floors_lift_heads_and_what_comes_after() -> None:
    """A raised head raises the heads of its followers and the path through them."""
    problem = Problem(Instance(hosts=(BOX,), tasks=(task("a", "big"), task("b", "big", 100, "a"))))

    assert Paths(problem).heads == [20, 120]
    assert Paths(problem, head_floors=[50, 0]).heads == [50, 150]
    assert Paths(problem, tail_floors=[0, 40]).tails == [140, 40]


def test_the_pigeonhole_counts_those_that_share_a_slot() -> None:
    """Of nine tasks on four slots three share one: at least the three shortest of the nine."""
    assert pack([15, 15, 15, 15, 10, 10, 10, 10, 10], 4) == 30
    assert pack([], 4) == 0
    assert pack([7], 1) == 7


def test_a_window_uses_heads_and_tails() -> None:
    """Work that starts late and ends early is squeezed between: 10 + 40 / 2 + 5."""
    price = Price(source="m", costs={0: 20, 1: 20}, capacity=2, slots=2)

    found = best_window(price, [10, 10], [5, 5], [frozenset("m")] * 2)

    assert (found.bound_ms, found.after_ms, found.before_ms) == (35, 10, 5)


def test_the_dearest_set_fits_the_memory() -> None:
    """Of models worth 3 (size 8), 2 (size 5) and 2 (size 5), a host of 10 earns at most 4."""
    models = {"a": Serving(memory_bytes=8), "b": Serving(memory_bytes=5), "c": Serving(memory_bytes=5)}
    host = PlanHost(name="box", memory_bytes=10, models=models)
    place = Problem(Instance(hosts=(host,), tasks=tuple(task(name, name) for name in "abc"))).places[0]

    assert dearest(place, {"a": 3, "b": 2, "c": 2}) == 4
    assert dearest(place, {"a": 5, "b": 2, "c": 2}) == 5


def test_the_linear_program_finds_the_corner() -> None:
    """A program with a known answer, one whose best is the origin, and one that needs steps it does not get."""
    assert maximise([3, 2], [[1, 1], [1, 0]], [4, 3]) == pytest.approx([3, 1], abs=1e-4)
    assert maximise([-1, -1], [[1, 1]], [1]) == [0, 0]
    assert maximise([3, 2], [[1, 1], [1, 0]], [4, 3], steps_max=0) == [0, 0]
