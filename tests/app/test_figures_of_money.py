"""The figures that budgets were asked for with, on the profiles that come with Ostler and the real scheduler.

Money is spent from outside (as `ostler budget record` does), and the next task is looked at: where it went, or why it
waits.
"""

from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from ostler.app.prices import with_list_prices
from ostler.budget.windows import DAY_MS, extent
from ostler.config.load import load_profile
from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Scopes
from ostler.domain.limits import Window
from ostler.domain.states import TaskState, WaitCode
from ostler.domain.tasks import Complexity, Task, Usage
from ostler.scheduling import signals as sig
from tests.scheduling.live_rig import LiveRig

USD = 1_000_000
CENT = USD // 100
KEYS = dict.fromkeys(("DEEPSEEK_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), "k")
NAMES = count()
SMALL = Usage(input_tokens=1, output_tokens=1)


def rig(tmp_path: Path, text: str) -> LiveRig:
    """All endpoints of a profile up, and a worker that takes anything."""
    path = tmp_path / "ostler.yaml"
    path.write_text(text, encoding="utf-8")
    policy = with_list_prices(load_profile(path, KEYS, cwd=tmp_path)).policy
    rules = replace(policy.scheduler, heartbeat_ms=10**11, session_dead_ms=10**12, task_ttl_ms=0)
    made = LiveRig(replace(policy, scheduler=rules))
    made.worker(host=next((spec.host for spec in policy.catalog.endpoints.values() if spec.local), None))
    for spec in policy.catalog.endpoints.values():
        models = tuple(dict.fromkeys(model for tier in policy.catalog.tiers for model in tier.models))
        served = spec.models or models
        made.up(spec, models=served, residents=served if spec.local else ())
    return made


def spend(made: LiveRig, micro_usd: int, **whose: str) -> None:
    """Somebody spends that much, elsewhere."""
    command = Settle(
        attempt=f"elsewhere/{next(NAMES)}",
        at_ms=made.now_ms,
        amount=Amount(micro_usd=micro_usd),
        scopes=Scopes(**whose),
    )
    made.ledger.apply(command)
    made.tell(sig.Charged(command=command))


def work(made: LiveRig, task_type: str = "", **fields: object) -> Task:
    """A task is handed in and looked at; what can run runs and ends at once, for next to nothing."""
    made.pass_ms(1)
    kind = {"task_type": task_type} if task_type else {}
    name = made.chat(f"t{next(NAMES)}", fields.pop("complexity", None), **kind, **fields)  # type: ignore[arg-type]
    row = made.rows[name]
    if row.state is TaskState.ASSIGNED:
        made.finish(name, usage=SMALL)
    return row


def last_reason(made: LiveRig) -> str:
    """Why the newest task went to the tier it did."""
    decision = made.sent[-1].command.decision
    assert decision is not None
    return decision.adjustments[-1].reason


@pytest.fixture
def ladder(tmp_path: Path) -> LiveRig:
    """Two local tiers, a cheap cloud and a dear one: 20.00 a month, 16.00 softly, 2.00 a session, 0.10 a tick."""
    return rig(tmp_path, "extends: tiered-ladder\n")


def test_the_month_makes_the_dear_cloud_the_cheap_one_and_then_leaves_local_tiers_alone(ladder: LiveRig) -> None:
    """At 16.00 the dear tier becomes the cheap one, at 20.00 no cloud is used; work below its minimum says so."""
    spend(ladder, 16 * USD - CENT)
    assert work(ladder, "final_polish").tier == "expensive_cloud"

    spend(ladder, CENT)
    assert work(ladder, "final_polish").tier == "cheap_cloud"
    assert "the soft value of limit month, $16.00, is reached" in last_reason(ladder)

    spend(ladder, 4 * USD)
    minimums = {"final_polish": "expensive_cloud", "coding": "cheap_cloud", "high_stakes": "cheap_cloud"}
    for task_type, minimum in minimums.items():
        assert work(ladder, task_type).tier == "local_strong"
        assert last_reason(ladder).endswith(f"local_strong is below the minimum {minimum}")
    assert work(ladder, "planning").tier == "local_strong"
    assert work(ladder, "summarization").tier == "local_cheap"


def test_who_waits_at_the_hard_cap_is_free_in_the_new_month_without_a_restart(ladder: LiveRig) -> None:
    """To the millisecond; nothing is recorded in between."""
    spend(ladder, 20 * USD)
    task = work(ladder, tier="expensive_cloud")
    assert task.wait is not None
    assert task.wait.code is WaitCode.BUDGET
    month = extent(Window(), ladder.now_ms)
    assert month is not None

    ladder.pass_ms(month.end_ms - ladder.now_ms - 1)
    assert ladder.state(task.id) is TaskState.QUEUED
    ladder.pass_ms(1)
    assert ladder.state(task.id) is TaskState.ASSIGNED


def test_a_session_stops_at_two_dollars(ladder: LiveRig) -> None:
    """Its further work in a cloud; its local work goes on, and so do other sessions."""
    spend(ladder, 2 * USD, session="mine")

    blocked = work(ladder, tier="expensive_cloud", session="mine")
    assert blocked.wait is not None
    assert "limit session of session mine of $2.00 is reached" in blocked.wait.detail
    assert work(ladder, tier="local_cheap", session="mine").endpoint is not None
    assert work(ladder, tier="expensive_cloud", session="other").endpoint is not None


@pytest.mark.parametrize(("spent", "runs"), [(10 * CENT, False), (9 * CENT, True), (9 * CENT + 9_999, False)])
def test_a_tick_stops_at_ten_cents(ladder: LiveRig, spent: int, *, runs: bool) -> None:
    """What it has spent and what it is about to, together. The next tick begins at nothing."""
    spend(ladder, spent, session="loop", tick="loop/1")

    task = work(ladder, tier="expensive_cloud", session="loop", tick="1")
    assert (task.endpoint is not None) is runs
    assert work(ladder, tier="expensive_cloud", session="loop", tick="2").endpoint is not None


@pytest.fixture
def pairs(tmp_path: Path) -> LiveRig:
    """Five cloud tiers of two vendors each; one vendor has 50.00 a day."""
    return rig(
        tmp_path,
        "extends: anthropic-pairs\nbudget: {monthly_hard_cap: null, monthly_soft_cap: null,"
        " providers: {anthropic: {daily_budget: 50.00}}}\n",
    )


def only_anthropic(made: LiveRig) -> None:
    """The other vendors are out of the question."""
    catalog = made.policy.catalog
    mine = [name for name, spec in catalog.endpoints.items() if spec.provider == "anthropic"]
    for name in set(catalog.endpoints) - set(mine):
        made.tell(sig.EndpointRemoved(name=name))


def test_fifty_dollars_a_day_degrade_at_forty_unless_critical(pairs: LiveRig) -> None:
    """At 80 % opus becomes sonnet; critical work keeps it; sonnet stays."""
    only_anthropic(pairs)
    spend(pairs, 40 * USD - CENT, provider="anthropic")
    assert work(pairs, "architecture").tier == "opus"

    spend(pairs, CENT, provider="anthropic")
    assert work(pairs, "architecture", critical=True).tier == "opus"
    degraded = work(pairs, "architecture")
    assert degraded.model == "claude-sonnet-5-5"
    assert "the soft value of limit anthropic-day of provider anthropic, $40.00, is reached" in last_reason(pairs)


def test_fifty_dollars_a_day_are_used_up_at_forty_seven_and_a_half(pairs: LiveRig) -> None:
    """95 %: nothing of that vendor runs, critical or not, until the day is over; another vendor of the tier does."""
    spend(pairs, 47 * USD + 49 * CENT, provider="anthropic")
    assert work(pairs, "architecture", critical=True).model == "claude-opus-5-5"
    spend(pairs, CENT, provider="anthropic")
    other = work(pairs, "architecture")
    assert (other.tier, other.model) == ("opus", "gpt-5.6-sol")

    only_anthropic(pairs)
    for critical in (False, True):
        task = work(pairs, "architecture", critical=critical)
        assert task.wait is not None
        assert "limit anthropic-day of provider anthropic of $47.50 is reached" in task.wait.detail
    pairs.pass_ms(DAY_MS - pairs.now_ms % DAY_MS)
    assert pairs.state(task.id) is TaskState.ASSIGNED


def test_critical_work_has_a_ceiling_of_its_own(tmp_path: Path) -> None:
    """It goes beyond the hard value, and no further than its own."""
    made = rig(
        tmp_path,
        "extends: anthropic-pairs\nbudget: {monthly_hard_cap: null, monthly_soft_cap: null, limits:"
        " {house: {window: month, soft: 10, hard: 20, critical: 25}}}\n",
    )
    spend(made, 20 * USD)
    assert work(made, "architecture", critical=True).tier == "opus"
    assert work(made, "architecture").wait is not None

    spend(made, 5 * USD)
    stopped = work(made, "architecture", critical=True)
    assert stopped.wait is not None
    assert "limit house of $25.00 is reached" in stopped.wait.detail


def test_a_subscription_is_preferred_while_its_allowance_is_left_and_told_of_near_its_end(tmp_path: Path) -> None:
    """200.00 for a period, as worth: used before the vendor by the token, not afterwards; told of at 85 %."""
    made = rig(
        tmp_path,
        "extends: anthropic-pairs\nbudget: {monthly_hard_cap: null, monthly_soft_cap: null, providers:"
        " {openai: {billing: subscription, pace: none, allowances: {period: {window: period,"
        ' start: "1970-01-01", end: "1970-02-01", unit: usd, amount: 200}}}}}\n',
    )

    def cover(dollars: int) -> None:
        amount = Amount(covered_micro_usd=dollars * USD)
        command = Settle(attempt=f"p{next(NAMES)}", at_ms=made.now_ms, amount=amount, scopes=Scopes(provider="openai"))
        made.ledger.apply(command)
        made.tell(sig.Charged(command=command))

    assert work(made, "architecture").model == "gpt-5.6-sol"
    cover(169)
    assert [event.name for event in made.events if event.name == "alert.allowance"] == []
    cover(1)
    assert [event.metadata["level"] for event in made.events if event.name == "alert.allowance"] == ["near_end"]
    assert work(made, "architecture").model == "gpt-5.6-sol"
    cover(20)
    assert work(made, "architecture").model == "claude-opus-5-5"
    assert work(made, "architecture", critical=True).model == "gpt-5.6-sol"
    cover(10)
    assert work(made, complexity=Complexity.COMPLEX, critical=True).model == "claude-opus-5-5"
