"""Outcomes in the hub: kept as tasks end, shown, put in force, and taken back."""

import asyncio

import pytest
from msgspec.structs import replace

from ostler.domain.commands import PutObservations
from ostler.domain.event import CATALOGUE
from ostler.domain.observations import Observation, ObservationQuery, Origin
from ostler.domain.policy import HistoryRule, LearningPolicy, Policy
from ostler.domain.states import Outcome
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.hub import pattern_desk
from ostler.hub.evidence_book import EvidenceBook
from ostler.hub.service import Hub
from ostler.learning.evidence import Counts
from ostler.learning.kinds import learn_kinds
from ostler.learning.lessons import label_of, revision_of
from ostler.scheduling.effects import Apply
from ostler.store.errors import StoreError
from tests.hub.house import house
from tests.hub.stores import SilencedStore, SlowReads
from tests.scheduling.rig import three_tiers

ALL = ObservationQuery()
WORDS = TaskSpec(id="q", kind=TaskKind.CHAT, prompt="x", task_type="docs", complexity=Complexity.COMPLEX)


def policy(history: HistoryRule = HistoryRule.POSTERIOR) -> Policy:
    return replace(three_tiers(), learning=LearningPolicy(history=history, explore=0.0))


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
        assert (change.count, change.changed) == (20, ("", "docs"))
        assert await requested(hub) == "standard"

        back = await hub.patterns.forget(ObservationQuery(model="qwen"))
        after = (await hub.route(WORDS))[0].decision
        assert (back.count, back.changed) == (20, ("", "docs"))
        assert replace(after, decided_ms=before.decided_ms) == before


async def test_every_change_is_told_with_its_evidence() -> None:
    """An event for each, when it comes and when it goes."""
    async with house(policy=policy()) as built:
        hub = built.hub
        await hub.patterns.add(outcomes(20))
        await hub.patterns.forget(ALL)
        all_told = [event for event in (await hub.events(0, 500)).events if event.name == "learning.changed"]
        assert all(set(event.metadata) == set(CATALOGUE[event.name].metadata) for event in all_told)
        told = [event for event in all_told if event.metadata["task_type"] == "docs"]
        assert [event.metadata["undo"] for event in told] == ["ostler patterns forget --type docs"] * 2
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


async def test_the_choice_among_tiers_is_in_the_record_and_the_answer() -> None:
    """Both tiers with their figures; the one that is worth more is taken, and the propensity of that is said."""
    async with house(policy=policy()) as built:
        hub = built.hub
        dear = [replace(one, cost_micro_usd=9_000) for one in outcomes(20, model="claude")]
        await hub.patterns.add([*outcomes(20), *dear])
        verdict, why = await hub.route(WORDS)
        weighing = verdict.decision.weighing
        assert weighing is not None
        assert {one.name: one.trials for one in weighing.options} == {"standard": 20, "complex": 20}
        assert weighing.chosen == "standard"
        assert any("propensity" in line for line in why.lines)


async def test_forgetting_one_version_keeps_the_others() -> None:
    """A new version of a model begins anew where the old one alone was bad."""
    async with house(policy=policy()) as built:
        hub = built.hub
        old = [replace(one, version="old") for one in outcomes(20, success=False)]
        new = [replace(one, version="new") for one in outcomes(20, start=20)]
        await hub.patterns.add([*old, *new])
        assert await requested(hub) == "complex"
        assert [row.version for row in (await hub.patterns.report(ALL)).patterns] == ["new"]
        back = await hub.patterns.forget(ObservationQuery(model="qwen", version="old"))
        assert back.count == 20
        assert await requested(hub) == "standard"
        left = (await hub.patterns.observations(ALL)).observations
        assert {one.version for one in left} == {"new"}
        assert len((await hub.patterns.observations(ObservationQuery(version="new"))).observations) == 20


async def test_later_evidence_puts_an_outcome_right_and_measures_the_check() -> None:
    """A task that was accepted proves bad: the outcome turns, the report says how good checks are, decisions follow."""
    async with house(policy=policy()) as built:
        hub = built.hub
        rows = [replace(one, task_id=f"t{number}") for number, one in enumerate(outcomes(20))]
        await hub.patterns.add(rows)
        assert await requested(hub) == "standard"
        revised = [revision_of(f"t{n}", "docs", "qwen", 100 + n, success=False, note="reverted") for n in range(10)]
        change = await hub.patterns.add(revised)
        assert (change.count, "docs" in change.changed) == (10, True)
        assert await requested(hub) == "complex"
        report = await hub.patterns.report(ALL)
        (row,) = report.patterns
        assert (row.successes, row.failures) == (10, 10)
        checks = report.checks
        assert (checks.accepted, checks.accepted_bad, checks.rejected, checks.looked_at) == (20, 10, 0, 10)
        assert checks.false_accept == round(11 / 30, 4)
        assert checks.false_accept < checks.false_accept_high
        docs = built.pump.scheduler.books.policy.learned["docs"]
        assert (docs.false_accept, docs.false_reject) == (checks.false_accept, checks.false_reject)


async def test_outcomes_are_added_up_as_they_become_durable() -> None:
    """Without reading the store again: the book says what a fresh one would."""
    async with house(policy=policy()) as built:
        hub, book = built.hub, built.hub.patterns.book
        await hub.patterns.add(outcomes(3))
        effects = Apply(command=PutObservations(observations=tuple(outcomes(4, start=3))))
        await built.pump._carry_out([effects])
        assert book.evidence.raw("docs", "qwen") == Counts(7.0, 0.0)
        assert book.rows == 7
        fresh = EvidenceBook(built.store)
        await fresh.load()
        assert fresh.evidence.raw("docs", "qwen") == book.evidence.raw("docs", "qwen")
        assert fresh.evidence.of_type("docs", "qwen") == book.evidence.of_type("docs", "qwen")
        assert fresh.verdicts == book.verdicts


async def test_an_outcome_that_was_read_already_is_not_counted_again() -> None:
    """It may become durable just before a reading and be told of just after it."""
    async with house(policy=policy()) as built:
        book = built.hub.patterns.book
        await built.store.apply([PutObservations(observations=tuple(outcomes(2)))])
        await book.load()
        book.took(outcomes(3))
        assert (book.rows, book.evidence.raw("docs", "qwen")) == (3, Counts(3.0, 0.0))


async def test_an_outcome_that_ends_during_a_reading_is_counted_once() -> None:
    """Whether the reading saw it or not; nor is the reading begun anew for it."""
    store = SlowReads()
    async with house(store, policy=policy()) as built:
        book = built.hub.patterns.book
        await store.apply([PutObservations(observations=tuple(outcomes(3)))])

        async def two_end() -> None:
            command = PutObservations(observations=tuple(outcomes(2, start=3)))
            await built.pump._carry_out([Apply(command=command)])
            book.took(outcomes(1))  # of one that was read, and is told of only now

        store.meanwhile = two_end
        await book.load()
        assert (book.rows, book.evidence.raw("docs", "qwen")) == (5, Counts(5.0, 0.0))
        assert book.verdicts.accepted_good == 5


async def test_a_label_that_comes_during_a_reading_is_learned_from() -> None:
    """It was not among what was read, and stands all the same."""
    store = SlowReads()
    label = label_of(TaskSpec(id="t", prompt="x"), "manual", 9, by_hand=True)
    async with house(store, policy=policy()) as built:
        book = built.hub.patterns.book

        async def one_comes() -> None:
            await store.apply([PutObservations(observations=(label,))])
            book.learn_later([label])

        store.meanwhile = one_comes
        await book.load()
        assert (book.rows, dict(book.labels)) == (1, {"t": label})


async def test_a_reading_that_fails_loses_nothing() -> None:
    """The book stands as it was, with what ended meanwhile."""
    store = SlowReads()
    async with house(store, policy=policy()) as built:
        hub, book = built.hub, built.hub.patterns.book
        await hub.patterns.add(outcomes(3))

        async def one_ends() -> None:
            await built.pump._carry_out([Apply(command=PutObservations(observations=tuple(outcomes(1, start=3))))])
            raise StoreError("told to fail")

        store.meanwhile = one_ends
        with pytest.raises(StoreError):
            await book.load()
        assert (book.rows, book.evidence.raw("docs", "qwen")) == (4, Counts(4.0, 0.0))


async def test_what_cannot_be_told_is_not_put_in_force_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails for a while ends no learning: the change comes, with its evidence, when it can be told."""
    monkeypatch.setattr(pattern_desk, "LOOK_EVERY_S", 0.0)
    store = SilencedStore("learning.changed")
    async with house(store, policy=policy()) as built, asyncio.timeout(5):
        hub, store.fails = built.hub, True
        await hub.patterns.start()
        try:
            await built.pump._carry_out([Apply(command=PutObservations(observations=tuple(outcomes(20))))])
            while store.failed < 3:  # noqa: ASYNC110 -- the loop is looked at from outside
                await asyncio.sleep(0)
            assert await requested(hub) == "complex"
            store.fails = False
            while await requested(hub) != "standard":  # noqa: ASYNC110 -- the same
                await asyncio.sleep(0)
            told = [event for event in (await hub.events(0, 500)).events if event.name == "learning.changed"]
            assert sorted(str(event.metadata["task_type"]) for event in told) == ["", "docs"]
        finally:
            await hub.patterns.stop()


async def test_texts_teach_the_type_of_texts_like_them() -> None:
    """A label by hand, texts that say their type at submit, and what comes with the program; off = none of it."""
    warm = learn_kinds(
        [("docs", "write the user guide for the editor"), ("bugfix", "the editor crashes at start, fix it")]
    )
    async with house(policy=policy(HistoryRule.OBSERVE)) as built:
        desk = built.hub.patterns
        await desk.start(warm)
        spec = TaskSpec(id="n", kind=TaskKind.CHAT, prompt="feed the cat and the parrot in the morning")
        try:
            before = (await built.hub.route(spec))[0].decision.classification
            assert (before.task_type, before.type_source) == ("general", "none")
            await desk.add([label_of(replace(spec, id=f"cat{n}"), "pets", n, by_hand=True) for n in range(3)])
            after = (await built.hub.route(spec))[0].decision.classification
            assert (after.task_type, after.type_source) == ("pets", "learned")
            assert after.type_confidence >= 0.6
            assert (await desk.report(ALL)).labels == 3
            await desk.forget(ObservationQuery(task_type="pets"))
            back = (await built.hub.route(spec))[0].decision.classification
            assert (back.task_type, back.type_source) == ("general", "none")
            await built.hub.submit([replace(spec, id=f"own{n}", task_type="pets") for n in range(3)])
            await desk.look()
            assert (await built.hub.route(spec))[0].decision.classification.task_type == "pets"
            off = policy(HistoryRule.OBSERVE)
            await built.hub.reload(replace(off, learning=replace(off.learning, read_types=False)), ())
            assert (await built.hub.route(spec))[0].decision.classification.type_source == "none"
        finally:
            await desk.stop()


async def test_outcomes_of_a_labelled_task_count_at_its_type() -> None:
    """Also those that came before the label."""
    async with house(policy=policy()) as built:
        desk = built.hub.patterns
        await desk.add([replace(one, task_id="t") for one in outcomes(2)])
        await desk.add([label_of(TaskSpec(id="t", prompt="x"), "manual", 9, by_hand=True)])
        assert [row.task_type for row in (await desk.report(ALL)).patterns] == ["manual"]


async def test_figures_that_moved_are_put_in_force_without_a_word() -> None:
    """Decisions see beliefs that are at most a little behind; only what is proven or taken back is told of."""
    async with house(policy=policy()) as built:
        hub = built.hub
        await hub.patterns.add([*outcomes(6), *outcomes(6, success=False, start=6)])
        before = built.pump.scheduler.books.policy.learned["docs"].arms
        told = len((await hub.events(0, 500)).events)
        change = await hub.patterns.add(outcomes(4, start=12))
        assert change.changed == ()
        after = built.pump.scheduler.books.policy.learned["docs"].arms
        assert after[0].a / (after[0].a + after[0].b) > before[0].a / (before[0].a + before[0].b)
        names = [event.name for event in (await hub.events(0, 500)).events[told:]]
        assert "learning.changed" not in names
