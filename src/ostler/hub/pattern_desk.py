"""The hub's side of learning: outcomes are added up, shown, written by hand, forgotten, and put in force.

Where the policy lets history act, what is proven stands in `Policy.learned`, and the scheduler decides by it as by any
other rule. A change of it is told as an event with its evidence. It is looked at again after every change by hand, and
every `LOOK_EVERY_S` when attempts have ended since. Forgetting outcomes takes back what they caused.

O(outcomes x models of a type) for a look; it runs in a thread, so that nobody waits for it.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from ostler.domain.catalog import DIRECT
from ostler.domain.commands import AppendEvents, ForgetObservations, PutObservations
from ostler.domain.event import Event
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.policy import HistoryRule, Learned, LearningPolicy, Policy
from ostler.domain.ports import Store
from ostler.hub.pattern_views import LearnedRow, ObservationList, PatternChange, PatternReport, PatternRow
from ostler.hub.pump import Pump
from ostler.learning.advice import TierModels, advise, is_good
from ostler.learning.belief import believe
from ostler.learning.evidence import Evidence
from ostler.learning.promotion import by_raw
from ostler.scheduling.signals import PolicyChanged

LOOK_EVERY_S = 30.0
ACTS = frozenset({HistoryRule.RAW, HistoryRule.POSTERIOR})
_ALL = ObservationQuery()


class PatternDesk:
    """Outcomes for people, and for decisions."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self._looking: asyncio.Task[None] | None = None
        self._seen = -1
        self._changing = asyncio.Lock()
        """One policy follows the other: what was learned is never put into an older one."""

    async def start(self) -> None:
        """Put what is known in force, and look again now and then."""
        await self.look()
        self._looking = asyncio.create_task(self._look_for_ever(), name="learning")

    async def stop(self) -> None:
        """Look no longer. Safe to repeat."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    @property
    def _policy(self) -> Policy:
        return self._pump.scheduler.books.policy

    async def report(self, query: ObservationQuery) -> PatternReport:
        """Standings of what a query names, by type and model; beliefs lean on all outcomes."""
        policy, found = self._policy, await self._store.observations(_ALL)
        evidence = await asyncio.to_thread(Evidence, found)
        pairs = sorted({(one.task_type, one.model) for one in found if query.names(one)})
        advice = _advice(evidence, policy)
        return PatternReport(
            history=policy.learning.history,
            rate=policy.learning.rate,
            confidence=policy.learning.confidence,
            outcomes=sum(query.names(one) for one in found),
            patterns=tuple(_row(evidence, kind, model, policy) for kind, model in pairs),
            learned=tuple(
                LearnedRow(task_type=kind, learned=learned, in_force=policy.learned.get(kind) == learned)
                for kind, learned in sorted(advice.items())
                if query.task_type in ("", kind)
            ),
            now_ms=self._pump.clock.now_ms(),
        )

    async def evidence(self, task_type: str) -> tuple[str, ...]:
        """What is known of each model of the ladder at a type of work, in words; nothing where history is off."""
        if self._policy.learning.history is HistoryRule.OFF:
            return ()
        found = await self._store.observations(_ALL)
        return evidence_lines(self._policy, task_type, await asyncio.to_thread(Evidence, found)) if found else ()

    async def observations(self, query: ObservationQuery) -> ObservationList:
        """Outcomes as they were kept."""
        return ObservationList(observations=tuple(await self._store.observations(query)))

    async def add(self, observations: Sequence[Observation]) -> PatternChange:
        """Keep outcomes by hand or from a file; those whose id is known are left alone."""
        before = len(await self._store.observations(_ALL))
        await self._pump.apply([PutObservations(observations=tuple(observations))])
        changed = await self.look()
        return PatternChange(count=len(await self._store.observations(_ALL)) - before, changed=changed)

    async def forget(self, query: ObservationQuery) -> PatternChange:
        """Forget outcomes, and with them what they changed."""
        count = len(await self._store.observations(query))
        await self._pump.apply([ForgetObservations(which=query)])
        return PatternChange(count=count, changed=await self.look())

    async def look(self) -> tuple[str, ...]:
        """Put in force what the outcomes prove now; the types for which that is something else than before."""
        async with self._changing:
            return await self._look()

    async def follow_profile(self, policy: Policy) -> None:
        """Put a changed profile in force, with what is learned under its rules."""
        async with self._changing:
            kept = self._policy.learned if policy.learning.history in ACTS else {}
            await self._pump.post(PolicyChanged(policy=msgspec.structs.replace(policy, learned=kept)))
            await self._look()

    async def _look(self) -> tuple[str, ...]:
        policy = self._policy
        learned: dict[str, Learned] = {}
        if policy.learning.history in ACTS:
            evidence = await asyncio.to_thread(Evidence, await self._store.observations(_ALL))
            learned = _advice(evidence, policy)
        before = policy.learned
        changed = tuple(
            kind for kind in sorted({*before, *learned}) if _moves(before.get(kind)) != _moves(learned.get(kind))
        )
        if changed:
            now_ms = self._pump.clock.now_ms()
            events = tuple(_told(kind, before.get(kind), learned.get(kind), now_ms) for kind in changed)
            version = f"{policy.version.partition('+')[0]}+{now_ms:x}" if learned else policy.version.partition("+")[0]
            await self._pump.post(
                PolicyChanged(policy=msgspec.structs.replace(policy, learned=learned, version=version))
            )
            await self._pump.apply([AppendEvents(events=events)])
        return changed

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            ended = sum(self._pump.scheduler.books.ended.values())
            if ended != self._seen and self._policy.learning.history in ACTS:
                self._seen = ended
                with contextlib.suppress(OSError):
                    await self.look()


def evidence_lines(policy: Policy, task_type: str, evidence: Evidence) -> tuple[str, ...]:
    """What is known of each model of the ladder at a type of work, for whoever asks where a task would run."""
    lines = []
    for tier, models in tiers_of(policy):
        for model in models:
            counts = evidence.raw(task_type, model)
            if counts.trials:
                belief = believe(evidence, task_type, model)
                low = belief.low(policy.learning.confidence)
                said = f"{counts.successes:.0f} of {counts.trials:.0f} succeeded, true rate {belief.mean:.0%}"
                above = f"P(> {policy.learning.rate:.0%}) = {belief.above(policy.learning.rate):.2f}"
                prior = f"prior counts {belief.prior_weight:.1f}"
                lines.append(f"{task_type} on {tier}/{model}: {said}, at least {low:.0%}, {above}, {prior}")
    return tuple(lines)


def tiers_of(policy: Policy) -> TierModels:
    """The enabled tiers with their models, the cheapest first."""
    tiers = sorted((tier for tier in policy.catalog.tiers if tier.name != DIRECT), key=lambda tier: tier.rank)
    return [(tier.name, tier.models) for tier in tiers if tier.enabled]


def _advice(evidence: Evidence, policy: Policy) -> dict[str, Learned]:
    return advise(evidence, tiers_of(policy), policy.learning)


def _moves(learned: Learned | None) -> tuple[str, tuple[str, ...]]:
    """What of it moves decisions."""
    return ("", ()) if learned is None else (learned.enough, learned.poor)


def _told(kind: str, before: Learned | None, after: Learned | None, now_ms: int) -> Event:
    was, now = _moves(before), _moves(after)
    evidence = after or before or Learned()
    metadata = {
        "task_type": kind,
        "enough_before": was[0],
        "enough": now[0],
        "poor_before": ", ".join(was[1]),
        "poor": ", ".join(now[1]),
        "evidence": "; ".join(f"{tier}: {said}" for tier, said in evidence.evidence.items()),
    }
    return Event(name="learning.changed", at_ms=now_ms, metadata=metadata)


def _row(evidence: Evidence, kind: str, model: str, policy: Policy) -> PatternRow:
    raw, means, belief = evidence.raw(kind, model), evidence.means(kind, model), believe(evidence, kind, model)
    rule: LearningPolicy = policy.learning
    tier = next((name for name, models in tiers_of(policy) if model in models), "")
    trust = is_good(evidence, kind, model, msgspec.structs.replace(rule, history=HistoryRule.POSTERIOR))
    return PatternRow(
        task_type=kind,
        model=model,
        tier=tier,
        successes=round(raw.successes),
        failures=round(raw.failures),
        weight=round(evidence.of_type(kind, model).trials, 3),
        prior_weight=round(belief.prior_weight, 3),
        mean=round(belief.mean, 4),
        low=round(belief.low(rule.confidence), 4),
        above=round(trust.figure, 4),
        raw_trusted=by_raw(raw, rate=rule.rate, samples_min=rule.samples_min).trusted,
        trusted=trust.trusted and raw.trials >= rule.samples_min,
        mean_duration_ms=means.duration_ms // means.timed if means.timed else None,
        mean_cost_micro_usd=means.cost_micro_usd // means.priced if means.priced else None,
    )
