"""Outcomes in the hub: kept as tasks end, shown, put in force, and taken back."""

from msgspec.structs import replace

from ostler.domain.event import CATALOGUE
from ostler.domain.observations import Observation, ObservationQuery, Origin
from ostler.domain.policy import HistoryRule, LearningPolicy, Policy
from ostler.domain.states import Outcome
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.hub.service import Hub
from tests.hub.house import house
from tests.scheduling.rig import three_tiers

ALL = ObservationQuery()
WORDS = TaskSpec(id="q", kind=TaskKind.CHAT, prompt="x", task_type="docs", complexity=Complexity.COMPLEX)


def policy(history: HistoryRule = HistoryRule.POSTERIOR) -> Policy:
    return replace(three_tiers(), learning=LearningPolicy(history=history))


def outcomes(number: int, *, success: bool = True, model: str = "qwen", start: int = 0) -> list[Observation]:
    return [
        Observation(
            id=f"{model}{start + n}",
            at_ms=n,
            task_type="docs",
            model=model,
            success=success,
            proof=Outcome.VERIFIED,
            origin=Origin.HAND,
            cost_micro_usd=40,
            duration_ms=1_000,
        )
        for n in range(number)
    ]


async def requested(hub: Hub) -> str:
    verdict, _ = await hub.route(WORDS)
    return verdict.decision.requested_tier


async def test_what_is_proven_is_put_in_force_and_taken_back() -> None:
    """Complex work of a type goes down once that is proven; forgetting the model restores the decision exactly."""
    async with house(policy=policy()) as built:
        hub = built.hub
        before = (await hub.route(WORDS))[0].decision
        change = await hub.patterns.add(outcomes(20))
        assert (change.count, change.changed) == (20, ("docs",))
        assert await requested(hub) == "standard"

        back = await hub.patterns.forget(ObservationQuery(model="qwen"))
        after = (await hub.route(WORDS))[0].decision
        assert (back.count, back.changed) == (20, ("docs",))
        assert replace(after, decided_ms=before.decided_ms) == before


async def test_every_change_is_told_with_its_evidence() -> None:
    """An event for each, when it comes and when it goes."""
    async with house(policy=policy()) as built:
        hub = built.hub
        await hub.patterns.add(outcomes(20))
        await hub.patterns.forget(ALL)
        told = [event for event in (await hub.events(0, 500)).events if event.name == "learning.changed"]
        assert all(set(event.metadata) == set(CATALOGUE[event.name].metadata) for event in told)
        assert [event.metadata["enough"] for event in told] == ["standard", ""]
        assert "qwen 20 of 20 succeeded" in str(told[0].metadata["evidence"])


async def test_to_observe_changes_nothing_but_shows_it() -> None:
    """The default: decisions are as ever, the report says what would be, and a question shows the history."""
    async with house(policy=policy(HistoryRule.OBSERVE)) as built:
        hub = built.hub
        change = await hub.patterns.add(outcomes(20))
        assert (change.count, change.changed) == (20, ())
        assert await requested(hub) == "complex"
        report = await hub.patterns.report(ALL)
        assert [(row.task_type, row.learned.enough, row.in_force) for row in report.learned] == [
            ("docs", "standard", False)
        ]
        _, why = await hub.route(WORDS)
        assert any("20 of 20 succeeded" in line for line in why.lines)


async def test_off_shows_nothing() -> None:
    """Outcomes are kept all the same."""
    async with house(policy=policy(HistoryRule.OFF)) as built:
        hub = built.hub
        await hub.patterns.add(outcomes(20))
        _, why = await hub.route(WORDS)
        assert "History" not in why.lines
        assert len((await hub.patterns.observations(ALL)).observations) == 20


async def test_the_raw_rule_acts_on_three_of_three() -> None:
    """As written; the bound would wait."""
    async with house(policy=policy(HistoryRule.RAW)) as built:
        hub = built.hub
        assert (await hub.patterns.add(outcomes(3))).changed == ("docs",)
        assert await requested(hub) == "standard"


async def test_a_known_outcome_is_kept_once() -> None:
    """An import may be repeated."""
    async with house(policy=policy()) as built:
        hub = built.hub
        assert (await hub.patterns.add(outcomes(5))).count == 5
        assert (await hub.patterns.add(outcomes(7))).count == 2


async def test_a_reload_keeps_what_was_learned() -> None:
    """A changed profile comes without it; the hub looks again. One that turns history off takes it back."""
    async with house(policy=policy()) as built:
        hub = built.hub
        await hub.patterns.add(outcomes(20))
        await hub.reload(policy(), ())
        assert await requested(hub) == "standard"
        await hub.reload(policy(HistoryRule.OBSERVE), ())
        assert await requested(hub) == "complex"


async def test_a_standing_has_all_its_figures() -> None:
    """Counts, mean, bound, both rules, cost and time."""
    async with house(policy=policy()) as built:
        hub = built.hub
        await hub.patterns.add([*outcomes(20), *outcomes(4, success=False, model="claude")])
        report = await hub.patterns.report(ALL)
        claude, qwen = report.patterns
        assert (report.outcomes, claude.model, qwen.model) == (24, "claude", "qwen")
        assert (qwen.tier, qwen.successes, qwen.failures, qwen.trusted, qwen.raw_trusted) == (
            "standard",
            20,
            0,
            True,
            True,
        )
        assert 0.75 < qwen.low < qwen.mean < 1.0
        assert (qwen.mean_cost_micro_usd, qwen.mean_duration_ms) == (40, 1_000)
        assert (claude.failures, claude.trusted, claude.raw_trusted) == (4, False, False)
        only = await hub.patterns.report(ObservationQuery(model="claude"))
        assert [row.model for row in only.patterns] == ["claude"]
