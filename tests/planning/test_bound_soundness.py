"""The checker cannot be talked into a false bound: whatever a witness says, what follows from it is true.

Witnesses are drawn at random, wild ones and near misses of good ones, for instances whose optimum is known. None may be
accepted for more than the optimum. The same for plans: what the checker of plans lets pass is never shorter than the
optimum or than what a certificate claims.
"""

from random import Random

import pytest
from msgspec.structs import replace

from ostler.planning.bound_checker import check_certificate
from ostler.planning.bounds import certificates, certify
from ostler.planning.certificate import Certificate
from ostler.planning.cpsat.result import Goal, Status
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Instance
from ostler.planning.plan import Episode, Placement, Plan
from ostler.planning.plan_checker import check_plan
from ostler.simulate.instances import tiny_instance
from tests.planning.oracle import TooLargeError, shortest_ms
from tests.planning.tiny import varied_instance

FACTS = ("path", "cut", "energy", "residency", "clock", "switching", "loads", "replicas")
EXACT = Goal(minimise_loads=False, keep_optional=False)


def known(count: int) -> list[tuple[Instance, int]]:
    """Instances with their optimum, found by trying all plans."""
    made = []
    for seed in range(1_000, 1_000 + count):
        instance = varied_instance(seed, tasks_max=4)
        try:
            made.append((instance, shortest_ms(instance, 3_000)))
        except TooLargeError:
            continue
    return made


def some(dice: Random, names: list[str], most: int = 3) -> list[str]:
    return dice.sample(names, min(len(names), dice.randint(0, most)))


def wild(dice: Random, instance: Instance) -> dict[str, object]:
    """A witness that nobody found: names that exist, figures drawn at random."""
    models = sorted({model for host in instance.hosts for model in host.models})
    tasks, hosts = [task.id for task in instance.tasks], [host.name for host in instance.hosts]
    groups = [some(dice, models, 2) for _ in range(dice.randint(0, 3))]
    return {
        "task": dice.choice(tasks),
        "model": dice.choice(["", *models]),
        "host": dice.choice(hosts),
        "after_ms": dice.choice((-5, 0, 0, 1, 3, 8, 20)),
        "before_ms": dice.choice((-5, 0, 0, 1, 3, 8, 20)),
        "switching_ms": dice.randint(0, 25),
        "lifts": [
            (dice.choice(("head", "tail")), dice.choice(tasks), dice.choice(["", *models]), dice.randint(-2, 9))
            for _ in range(dice.randint(0, 4))
        ],
        "prices": {host: {model: dice.randint(0, 4) for model in some(dice, models)} for host in hosts},
        "weights": {model: dice.randint(0, 4) for model in some(dice, models)},
        "clocks": {model: (dice.randint(-2, 9), dice.randint(-2, 9)) for model in models},
        "groups": [group for group in groups if group],
        "models": some(dice, models),
    }


def test_no_wild_witness_proves_more_than_the_optimum() -> None:
    """Of thousands of drawn witnesses none is accepted for one millisecond more than the shortest plan takes."""
    dice = Random(7)
    for instance, optimum in known(60):
        for kind in FACTS:
            for _ in range(8):
                claim = Certificate(bound_ms=optimum + 1, kind=kind, witness=wild(dice, instance))
                said = f"{instance.name}: a {kind} of more than {optimum} ms is accepted: {claim.witness}"
                assert check_certificate(instance, claim) != "", said


def test_no_near_miss_proves_more_than_the_optimum() -> None:
    """A good witness with one field from elsewhere still proves nothing false."""
    dice = Random(11)
    for instance, optimum in known(60):
        for certificate in certificates(instance):
            assert isinstance(certificate.witness, dict)
            for field, value in wild(dice, instance).items():
                witness = {**certificate.witness, field: value}
                claim = replace(certificate, bound_ms=optimum + 1, witness=witness)
                assert check_certificate(instance, claim) != "", f"{instance.name}: {claim.kind} with a false {field}"


def test_certificates_stay_below_proven_optima() -> None:
    """The exact solver, told nothing of bounds, proves optima; no certificate is above, most are equal."""
    equal, count = 0, 40
    for seed in range(count):
        instance = tiny_instance(seed)
        found = solve(instance, seconds=20, goal=EXACT)
        assert found.status is Status.PROVEN
        assert found.plan is not None
        assert check_plan(instance, found.plan) == ()
        bound_ms = certify(instance).bound_ms
        assert bound_ms <= found.plan.makespan_ms, instance.name
        equal += bound_ms == found.plan.makespan_ms

    assert equal >= count * 3 // 4


def shifted(dice: Random, plan: Plan) -> Plan:
    """The plan with a few things moved, shortened or taken out, as a planner with a mistake would make it."""
    placements, episodes = list(plan.placements), list(plan.episodes)
    for _ in range(dice.randint(1, 3)):
        move = -dice.randint(1, 6)
        if placements and dice.random() < 0.6:
            at = dice.randrange(len(placements))
            row = placements[at]
            placements[at] = replace(row, start_ms=row.start_ms + move, end_ms=row.end_ms + move)
        elif episodes:
            at = dice.randrange(len(episodes))
            episodes[at] = earlier(dice, episodes[at], -move)
    return replace(plan, placements=tuple(placements), episodes=tuple(episodes))


def earlier(dice: Random, row: Episode, by_ms: int) -> Episode:
    if dice.random() < 0.5 and not row.initial:
        return replace(row, load_start_ms=row.load_start_ms - by_ms, ready_ms=row.ready_ms - by_ms)
    if row.unload_start_ms is None or row.unload_end_ms is None:
        return replace(row, ready_ms=row.ready_ms - by_ms)
    return replace(row, unload_start_ms=row.unload_start_ms - by_ms, unload_end_ms=row.unload_end_ms - by_ms)


def test_no_plan_that_passes_is_shorter_than_the_optimum() -> None:
    """Optimal plans pass; moved about, they are refused or still no shorter: the checker lets no impossible plan by."""
    dice = Random(5)
    refused = passed = 0
    for seed in range(2_000, 2_040):
        instance = varied_instance(seed)
        found = solve(instance, seconds=20, goal=EXACT)
        assert found.plan is not None
        assert check_plan(instance, found.plan) == (), instance.name
        for _ in range(25):
            wrong = shifted(dice, found.plan)
            if check_plan(instance, wrong):
                refused += 1
                continue
            passed += 1
            assert wrong.makespan_ms >= found.plan.makespan_ms, f"{instance.name}: a shorter plan passes"

    assert refused > passed > 0


@pytest.mark.parametrize("seed", range(3_000, 3_010))
def test_the_solver_and_the_oracle_agree(seed: int) -> None:
    """Two independent ways to the optimum, neither of which knows a bound, find the same."""
    instance = varied_instance(seed, tasks_max=4)
    found = solve(instance, seconds=20, goal=EXACT)

    assert found.plan is not None
    assert found.plan.makespan_ms == shortest_ms(instance)


def test_every_task_has_one_place_even_when_all_is_wrong() -> None:
    """A plan of strangers is told all that is wrong with it and nothing breaks."""
    instance = tiny_instance(1)
    strangers = Plan(
        strategy="wild",
        episodes=(Episode(host="moon", model="m0", load_start_ms=0, ready_ms=1),),
        placements=(Placement(task="ghost", host="moon", start_ms=5, end_ms=2, choice=-3),),
    )

    codes = {row.code for row in check_plan(instance, strangers)}

    assert codes >= {"unknown", "missing", "critical-path"}
