"""The checker of certificates: it confirms what follows and refuses everything else, in words."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ostler.planning.bound_checker import check_certificate
from ostler.planning.bound_facts import Facts, dearest, longest_shared
from ostler.planning.bounds import certificates
from ostler.planning.certificate import Certificate
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.simulate.fourteen_agents import fourteen_agents
from ostler.simulate.instances import random_instance

INSTANCE = fourteen_agents("map", 4)
LIFTED = random_instance(1, 40, 1)


def found(kind: str, instance: Instance = INSTANCE) -> Certificate:
    return next(row for row in certificates(instance) if row.kind == kind)


def with_witness(certificate: Certificate, **changed: object) -> Certificate:
    assert isinstance(certificate.witness, dict)
    return replace(certificate, witness={**certificate.witness, **changed})


@pytest.mark.parametrize("kind", ["path", "energy", "residency", "clock", "switching", "loads", "replicas", "cut"])
def test_a_bound_one_millisecond_too_high_is_refused(kind: str) -> None:
    """Each family is confirmed as claimed and refused when it claims one more than follows; also read from JSON."""
    instance = LIFTED if kind == "cut" else INSTANCE
    certificate = msgspec.json.decode(msgspec.json.encode(found(kind, instance)), type=Certificate)

    assert check_certificate(instance, certificate) == ""
    assert check_certificate(instance, replace(certificate, bound_ms=certificate.bound_ms - 1)) == ""
    more = check_certificate(instance, replace(certificate, bound_ms=certificate.bound_ms + 1))
    assert more == f"the witness proves {certificate.bound_ms} ms, not {certificate.bound_ms + 1} ms"


def changed(kind: str, **more: object) -> Callable[[], Certificate]:
    return lambda: with_witness(found(kind), **more)


WRONG: dict[str, tuple[Callable[[], Certificate], str]] = {
    "an argument that nobody knows": (lambda: replace(found("path"), kind="faith"), "no argument is called 'faith'"),
    "no witness at all": (lambda: replace(found("path"), witness=7), "the witness cannot be read"),
    "a field that no witness has": (changed("path", trust="me"), "the witness cannot be read"),
    "a figure that is text": (changed("energy", after_ms="0"), "the witness cannot be read"),
    "a path through no task": (changed("path", task="nobody"), "no task 'nobody' must be done"),
    "nothing to be done": (changed("path", task=None), "the witness proves 0 ms"),
    "a path through a short task": (changed("path", task="credentials"), "the witness proves"),
    "a lift of no task": (changed("path", lifts=[("head", "nobody", "", 0)]), "the lift of 'nobody' lifts nothing"),
    "a lift to the side": (changed("path", lifts=[("side", "python", "", 0)]), "lifts nothing"),
    "a window in which nothing must be done": (changed("energy", after_ms=10**9), "no task has to be done"),
    "a window that is too small": (changed("energy", after_ms=3_600_000, before_ms=0), "no task has to be done"),
    "prices of nothing": (changed("residency", prices={}), "the witness proves"),
    "replicas at no price": (changed("replicas", prices={}), "the witness proves 0 ms"),
    "a price below zero": (changed("residency", prices={"mac": {"fast": -1}}), "a price is negative"),
    "the work of another model": (changed("energy", model="fast"), "the witness proves"),
    "a clock on no host": (changed("clock", host="moon"), "'moon' is no host with a memory"),
    "a clock of no model": (changed("clock", clocks={"gpt": (0, 0)}), "mac has no model 'gpt'"),
    "a weight without a clock": (changed("clock", clocks={}), "a model has a weight, but no clock"),
    "a weight below zero": (changed("clock", weights={"fast": -1}), "a price is negative"),
    "a clock that shows too much": (
        changed("clock", clocks={"latest": (10**9, 0), "quality": (0, 0), "fast": (0, 0)}), "the witness proves",
    ),
    "loads on no host": (changed("loads", host="moon"), "'moon' is no host with a memory"),
    "a load of no model": (changed("loads", models=["gpt"]), "mac has no model 'gpt'"),
    "a load that follows less": (changed("loads", models=["fast"]), "the witness proves"),
    "turns that could be cheaper": (changed("switching", switching_ms=10**6), "turns that cost less than 1000000 ms"),
    "a model in two groups": (
        changed("switching", groups=[["fast", "latest"], ["latest"], ["quality"]]), "a model is in two groups",
    ),
    "groups that leave a model out": (changed("switching", groups=[["fast"], ["latest"]]), "turns that cost less than"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_witness_is_refused(name: str) -> None:
    """What does not fit the instance, or proves less, is refused with the reason."""
    make, reason = WRONG[name]

    said = check_certificate(INSTANCE, make())

    assert reason in said


def test_lifts_are_derived_not_believed() -> None:
    """A cut without its lifts proves less, and lifts in another order than they follow from change nothing."""
    certificate = found("cut", LIFTED)
    assert isinstance(certificate.witness, dict)
    rows: list[Any] = certificate.witness["lifts"]

    assert rows
    assert "the witness proves" in check_certificate(LIFTED, with_witness(certificate, lifts=[]))
    assert check_certificate(LIFTED, with_witness(certificate, lifts=rows[::-1])) == ""


MODELS = {"a": Serving(memory_bytes=6, load_ms=3, unload_ms=1), "b": Serving(memory_bytes=6, load_ms=3, unload_ms=1)}
BOX = PlanHost(name="box", memory_bytes=10, models=MODELS)
TWO = Instance(
    hosts=(BOX,),
    tasks=tuple(PlanTask(id=model, choices=(Choice(models=(model,), duration_ms=9),)) for model in MODELS),
)


def test_groups_that_fit_together_take_no_turns() -> None:
    """A claim of turns is refused on a host where both models fit."""
    certificate = found("switching", TWO)
    roomy = replace(TWO, hosts=(replace(BOX, memory_bytes=12),))

    assert check_certificate(TWO, certificate) == ""
    assert "a and b fit together" in check_certificate(roomy, certificate)


def test_work_that_can_be_done_elsewhere_has_no_clock() -> None:
    """With a second host, or on a cloud, the time of one host is not what its models' work takes."""
    other = replace(TWO, hosts=(BOX, replace(BOX, name="other")))
    cloud = replace(TWO, hosts=(replace(BOX, cloud=True, memory_bytes=None),))

    assert "can be done elsewhere" in check_certificate(other, found("clock", TWO))
    assert "no host with a memory" in check_certificate(cloud, found("clock", TWO))


def test_a_clock_needs_work() -> None:
    """A model that no task must use has no clock."""
    idle = replace(TWO, tasks=TWO.tasks[:1])

    assert "no task must use b" in check_certificate(idle, found("clock", TWO))


def test_a_load_that_a_second_host_can_take_is_refused() -> None:
    """Where work may go elsewhere nothing must be loaded here."""
    other = replace(TWO, hosts=(BOX, replace(BOX, name="other")))

    assert check_certificate(TWO, found("loads", TWO)) == ""
    assert "need not be loaded on box" in check_certificate(other, found("loads", TWO))


def test_a_witness_for_another_instance_is_refused() -> None:
    """An instance with a task that no host can run proves nothing; nor does one where two groups are loaded at once."""
    nowhere = replace(TWO, hosts=())
    crowded = replace(TWO, hosts=(replace(BOX, resident=("a", "b")),))

    assert "no host can ever run" in check_certificate(nowhere, found("path", TWO))
    assert "models of two groups" in check_certificate(crowded, found("switching", TWO))


def test_a_head_that_waits_for_memory_is_derived() -> None:
    """What is in memory at the start and in the way is unloaded first, in the checker's own figures."""
    facts = Facts(replace(TWO, hosts=(replace(BOX, resident=("b",)),)))

    assert facts.earliest((), {}, forwards=True) == {"a": [4], "b": [0]}


def test_the_checker_has_its_own_pigeonhole_and_its_own_knapsack() -> None:
    """Three of nine share one of four slots; of three models two fit."""
    assert longest_shared([10, 15, 10, 15, 10, 15, 10, 15, 10], 4) == 30
    assert longest_shared([], 4) == 0
    assert dearest(BOX, {"a": 5, "b": 7}) == 7
    assert dearest(replace(BOX, memory_bytes=None), {"a": 5, "b": 7}) == 12
