"""Plans that are real, written down as claims: the audit believes them, and doubts each way of prettifying them."""

import pytest
from hypothesis import assume, given
from msgspec.structs import replace

from ostler.planning.audit import Account, Claim, Step, audit, comparison_findings, length_findings, order_findings
from ostler.planning.instance import Instance
from ostler.planning.layout import laid_out
from ostler.planning.phases import Group, Order, repaired
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import shortest_path
from ostler.planning.strategies import model_first_order, planned
from ostler.simulate.fourteen_agents import DECLARED, READINGS, Reading, fourteen_agents
from tests.planning.varied import instances


def written_down(name: str, order: Order, plan: Plan) -> Account:
    """The plan of one host as people write such things down: phases with what they last, and the time between them."""
    steps: list[Step] = []
    clock_ms = 0
    for group in order:
        rows = [row for row in plan.placements if row.task in group.tasks]
        start_ms, end_ms = min(row.start_ms for row in rows), max(row.end_ms for row in rows)
        if start_ms > clock_ms:
            steps.append(Step(name=f"the swap before {group.name}", lasts_ms=start_ms - clock_ms))
        steps.append(Step(name=group.name, tasks=group.tasks, lasts_ms=end_ms - start_ms, agents=len(group.tasks)))
        clock_ms = end_ms
    return Account(name=name, steps=tuple(steps), total_ms=plan.makespan_ms)


def real_claim(strategy: str, reading: Reading, slots: int) -> tuple[Instance, Claim]:
    instance = fourteen_agents(reading, slots)
    order = repaired(DECLARED[strategy], instance)
    account = written_down(strategy, order, laid_out(instance, order, strategy=strategy))
    return instance, Claim(name=strategy, order=order, account=account)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("strategy", DECLARED)
def test_a_plan_that_was_really_made_passes(strategy: str, reading: Reading) -> None:
    """Its steps add up, its order holds, and nothing in it is too short."""
    instance, claim = real_claim(strategy, reading, slots=9)

    assert [row for row in audit(instance, (claim,)) if row.kind != "slots"] == []


def test_an_honest_account_has_its_swaps() -> None:
    """Four swaps and the first load: 2.79 minutes, as the plan itself says."""
    _, claim = real_claim("model-first", "map", slots=4)

    assert claim.account is not None
    assert (claim.account.swaps, claim.account.swap_ms) == (5, 167_500)
    assert claim.account.sum_ms == claim.account.total_ms


@pytest.mark.parametrize("strategy", DECLARED)
def test_leaving_any_phase_out_is_found_against_the_whole(strategy: str) -> None:
    """Whichever phase is dropped from the account, the audit names its tasks and explains the whole difference."""
    _, claim = real_claim(strategy, "map", slots=4)
    assert claim.account is not None
    for dropped in [step for step in claim.account.steps if not step.is_swap]:
        place = claim.account.steps.index(dropped)
        # With its phase goes the swap behind it, or for the last phase nothing.
        without = claim.account.steps[:place] + claim.account.steps[place + 2 :]
        if claim.account.steps[place + 1 : place + 2] and not claim.account.steps[place + 1].is_swap:
            without = claim.account.steps[:place] + claim.account.steps[place + 1 :]
        pretty = Account(name="pretty", steps=without)

        found = [row for row in comparison_findings(claim.account, pretty) if row.subject == "pretty"]

        assert [row.tasks for row in found] == [dropped.tasks]
        assert (found[0].unexplained_ms, found[0].by_ms) == (0, claim.account.sum_ms - pretty.sum_ms)


def test_claiming_an_order_without_its_mending_is_found() -> None:
    """The same figures over the order as it was declared: the broken needs are named."""
    instance, claim = real_claim("hybrid", "mermaid", slots=4)

    found = order_findings(replace(claim, order=DECLARED["hybrid"]), instance)

    assert [row.tasks for row in found] == [("devops", "qa"), ("devops", "security")]


@given(instance=instances(max_tasks=8))
def test_no_real_plan_is_called_too_short(instance: Instance) -> None:
    """The length of a plan that was made of an order is never below that order's, nor below the critical path."""
    order = model_first_order(instance)
    plan = planned(instance, "model-first")
    claim = Claim(name="real", order=order, total_ms=plan.makespan_ms)

    assert order_findings(claim, instance) == []
    assert length_findings(claim, instance) == []


@given(instance=instances(max_tasks=8))
def test_less_than_the_critical_path_is_always_found(instance: Instance) -> None:
    """By how much, and with a chain that is as long as is said."""
    scaled = replace(
        instance,
        tasks=tuple(
            replace(
                task,
                release_ms=task.release_ms * 10_000,
                choices=tuple(replace(row, duration_ms=row.duration_ms * 10_000) for row in task.choices),
            )
            for task in instance.tasks
        ),
    )
    length_ms, path = shortest_path(scaled)

    found = length_findings(Claim(name="dream", total_ms=length_ms // 2), scaled)

    assert [row.kind for row in found] == ["below-critical-path"]
    assert found[0].by_ms == length_ms - length_ms // 2
    assert found[0].tasks == path


@given(instance=instances(max_tasks=8))
def test_an_order_that_forgets_a_task_is_found_and_named(instance: Instance) -> None:
    """Whichever it is."""
    forgotten = instance.tasks[0].id
    kept = tuple(task.id for task in instance.tasks[1:])
    assume(kept)

    found = order_findings(Claim(name="short", order=(Group(name="rest", tasks=kept),)), instance)

    assert [(row.kind, row.tasks) for row in found] == [("leaves-out", (forgotten,))]
