"""The hub's side of learning: outcomes are added up, shown, written by hand, forgotten, and put in force.

Where the policy lets history act, what is learned stands in `Policy.learned`, and the scheduler decides by it as by any
other rule. A change of it is told as an event with its evidence. It is looked at again after every change by hand, and
every `LOOK_EVERY_S` when attempts have ended since. Forgetting outcomes takes back what they caused.

O(types x models) for a look, however many outcomes there are; it runs in a thread, so that nobody waits for it.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from ostler.domain.commands import AppendEvents, ForgetObservations, PutObservations
from ostler.domain.errors import OstlerError
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.policy import HistoryRule, Learned, Policy
from ostler.domain.ports import Store
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.evidence_book import EvidenceBook
from ostler.hub.pattern_rows import check_row, drifted, evidence_lines, learn, moves, proven, row, told
from ostler.hub.pattern_views import LearnedRow, ObservationList, PatternChange, PatternReport
from ostler.hub.pump import Pump
from ostler.learning.kinds import KindModel, Reader
from ostler.learning.lessons import label_of
from ostler.scheduling.signals import PolicyChanged

LOOK_EVERY_S = 30.0
ACTS = frozenset({HistoryRule.RAW, HistoryRule.POSTERIOR})
WAITING_COSTS_MS = 10
"""A changed policy puts every waiting task into its class anew: figures alone do so the less often the more wait."""
STATED_MAX = 400
"""So many texts of a type that tasks stated themselves are learned from; what is said by hand is learned always."""


class PatternDesk:
    """Outcomes for people, and for decisions."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self.book = EvidenceBook(store)
        self._loaded = False
        self._looking: asyncio.Task[None] | None = None
        self._seen = -1
        self._stated: dict[str, int] = {}
        self._drift_from_ms = 0
        """From then on figures that have moved are put in force, though they prove nothing new."""
        self._changing = asyncio.Lock()
        """One policy follows the other: what was learned is never put into an older one."""
        pump.observed = self.book.took

    async def start(self, warm: KindModel | None = None) -> None:
        """Put what is known in force, and look again now and then. `warm`: what is known of texts to begin with."""
        if warm is not None:
            self.book = EvidenceBook(self._store, warm)
            self._pump.observed = self.book.took
        await self._read()
        self._pump.scheduler.books.exploration.restore(self.book.explored, self._pump.clock.now_ms())
        await self.look()
        self._looking = asyncio.create_task(self._look_for_ever(), name="learning")

    async def stop(self) -> None:
        """Look no longer. Safe to repeat."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    @property
    def reader(self) -> Reader | None:
        """What tells the type of a text; `None` where only the tables of words do."""
        return self.book.reader if self._policy.learning.read_types else None

    @property
    def _policy(self) -> Policy:
        return self._pump.scheduler.books.policy

    async def _read(self) -> None:
        await self.book.load()
        self._loaded = True
        self._stated = {}
        for label in self.book.labels.values():
            self._stated[label.task_type] = self._stated.get(label.task_type, 0) + 1

    async def _known(self) -> EvidenceBook:
        if not self._loaded:
            await self._read()
        return self.book

    async def report(self, query: ObservationQuery) -> PatternReport:
        """Standings of what a query names, by type and model; beliefs lean on all outcomes."""
        policy, book = self._policy, await self._known()
        rows = [row(book, kind, model, policy) for kind, model in book.evidence.pairs()]
        shown = tuple(one for one in rows if _is_named(one.task_type, one.model, one.tier, one.version, query))
        advice = proven(book.evidence, policy)
        return PatternReport(
            history=policy.learning.history,
            rate=policy.learning.rate,
            confidence=policy.learning.confidence,
            outcomes=sum(one.successes + one.failures for one in shown),
            patterns=shown,
            learned=tuple(
                LearnedRow(task_type=kind, learned=learned, in_force=_in_force(policy, kind, learned))
                for kind, learned in sorted(advice.items())
                if query.task_type in ("", kind)
            ),
            checks=check_row(book),
            labels=len(book.labels),
            explore_left_micro_usd=self._explore_left(),
            now_ms=self._pump.clock.now_ms(),
        )

    def _explore_left(self) -> int:
        limit = round(self._policy.learning.explore_usd_day * 1_000_000)
        return self._pump.scheduler.books.exploration.left(self._pump.clock.now_ms(), limit)

    async def evidence(self, task_type: str) -> tuple[str, ...]:
        """What is known of each model of the ladder at a type of work, in words; nothing where history is off."""
        if self._policy.learning.history is HistoryRule.OFF:
            return ()
        return evidence_lines(self._policy, task_type, (await self._known()).evidence)

    async def observations(self, query: ObservationQuery) -> ObservationList:
        """Outcomes as they were kept, with labels and revisions."""
        found = await self._store.observations(msgspec.structs.replace(query, version=""))
        return ObservationList(observations=tuple(one for one in found if query.names(one)))

    async def add(self, observations: Sequence[Observation]) -> PatternChange:
        """Keep outcomes by hand or from a file; those whose id is known are left alone."""
        before = (await self._known()).rows
        await self._pump.apply([PutObservations(observations=tuple(observations))])
        await self._read()
        changed = await self.look()
        return PatternChange(count=self.book.rows - before, changed=changed)

    async def forget(self, query: ObservationQuery) -> PatternChange:
        """Forget outcomes, and with them what they changed."""
        found = (await self.observations(query)).observations
        ids = tuple(one.id for one in found) if query.version else ()
        if found:
            await self._pump.apply([ForgetObservations(which=query, ids=ids)])
        await self._read()
        return PatternChange(count=len(found), changed=await self.look())

    async def labelled(self, specs: Sequence[TaskSpec]) -> None:
        """Learn from new tasks that say themselves of which type they are."""
        labels = []
        for spec in specs:
            kind = spec.task_type
            if not kind or spec.kind is TaskKind.COMMAND or self._stated.get(kind, 0) >= STATED_MAX:
                continue
            self._stated[kind] = self._stated.get(kind, 0) + 1
            labels.append(label_of(spec, kind, self._pump.clock.now_ms(), by_hand=False))
        if labels and self.reader is not None:
            await self._pump.apply([PutObservations(observations=tuple(labels))])
            self.book.learn_later(labels)

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
        policy, book = self._policy, await self._known()
        await book.read_again()
        learned: dict[str, Learned] = {}
        if policy.learning.history in ACTS:
            learned = await asyncio.to_thread(learn, book.evidence.copy(), book.verdicts.rates(), policy)
        before = policy.learned
        changed = tuple(
            kind for kind in sorted({*before, *learned}) if moves(before.get(kind)) != moves(learned.get(kind))
        )
        now_ms = self._pump.clock.now_ms()
        if changed:  # told first: what could not be told is not put in force, and the next look tries again
            events = tuple(told(kind, before.get(kind), learned.get(kind), now_ms) for kind in changed)
            await self._pump.apply([AppendEvents(events=events)])
        if changed or (now_ms >= self._drift_from_ms and drifted(before, learned)):
            self._drift_from_ms = now_ms + WAITING_COSTS_MS * len(self._pump.scheduler.books.tasks)
            version = f"{policy.version.partition('+')[0]}+{now_ms:x}" if learned else policy.version.partition("+")[0]
            await self._pump.post(
                PolicyChanged(policy=msgspec.structs.replace(policy, learned=learned, version=version))
            )
        return changed

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            rows = self.book.rows
            if rows != self._seen:
                with contextlib.suppress(OstlerError):  # a store that fails is told of by whoever must write
                    await self.look()
                    self._seen = rows


def _is_named(kind: str, model: str, tier: str, version: str, query: ObservationQuery) -> bool:
    named = query.task_type in ("", kind) and query.model in ("", model)
    return named and query.tier in ("", tier) and query.version in ("", version)


def _in_force(policy: Policy, kind: str, learned: Learned) -> bool:
    now = policy.learned.get(kind)
    return now is not None and (now.enough, now.poor) == (learned.enough, learned.poor)
