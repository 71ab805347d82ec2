"""What outcomes add up to, kept beside the store: read once, then told of each outcome as it becomes durable.

A decision asks the policy, never this; a look at what is proven asks this, never the store. So neither grows with the
number of outcomes that are kept: O(1) for one more, O(types x models) for a look. Later evidence about outcomes that
were kept before (`learning.lessons`) and forgetting build it anew: O(outcomes), in a thread, for they are rare.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ostler.domain.observations import Observation, ObservationQuery, Says
from ostler.domain.ports import Store
from ostler.domain.states import Outcome
from ostler.learning.evidence import Evidence
from ostler.learning.kinds import KindModel, Reader
from ostler.learning.lessons import Corrected, corrected, newest, touched
from ostler.learning.verifier import Verdicts

ANY = ObservationQuery()
NEWEST = 2_000


class _Read(NamedTuple):
    """Everything that is kept, added up."""

    known: Corrected
    evidence: Evidence
    labels: Mapping[str, Observation]
    reader: Reader | None
    rows: int
    newest: frozenset[str]


class EvidenceBook:
    """Evidence of all outcomes, verdicts of checks, and what texts of known types teach. `warm`: what is known of texts
    before anybody labelled any.
    """

    def __init__(self, store: Store, warm: KindModel | None = None) -> None:
        self._store = store
        self._warm = warm
        self.evidence = Evidence()
        self.verdicts = Verdicts()
        self.looked_at = 0
        self.labels: Mapping[str, Observation] = {}
        self.explored: list[Observation] = []
        """Outcomes that were explored, as of the last reading: for the purse of the day at the start."""
        self.rows = 0
        """Everything that is kept, labels and revisions too."""
        self.versions: dict[tuple[str, str], str] = {}
        """(type, model) -> the newest version that has an outcome."""
        self.reader: Reader | None = None
        self._one_reading = asyncio.Lock()
        self._meanwhile: list[Observation] | None = None
        """What became durable since a reading began; `None` = nobody reads."""
        self._unread = False
        self._newest: frozenset[str] = frozenset()
        """Ids of the newest rows that were read: of some of them `took` may be told later."""

    async def load(self) -> None:
        """Read everything anew. What becomes durable while that goes on is added at its end, each once."""
        async with self._one_reading:
            self._meanwhile = []
            try:
                found = await self._store.observations(ANY)
                self._take(await asyncio.to_thread(self._added_up, found))
            finally:
                later, self._meanwhile = self._meanwhile, None
                fresh = [one for one in later if one.id not in self._newest]
                self.took([one for one in fresh if one.says is Says.OUTCOME])
                if labels := [one for one in fresh if one.says is Says.LABEL]:
                    self.learn_later(labels)

    def _added_up(self, found: Sequence[Observation]) -> _Read:
        known, labels = corrected(found), newest(found, Says.LABEL)
        return _Read(
            known=known,
            evidence=Evidence(known.outcomes),
            labels=labels,
            reader=self._reader_of(labels),
            rows=len(found),
            newest=frozenset(one.id for one in found[-NEWEST:]),
        )

    def _take(self, read: _Read) -> None:
        known = read.known
        self.evidence, self.labels, self.reader = read.evidence, read.labels, read.reader
        self.verdicts, self.looked_at = known.verdicts, known.looked_at
        self.explored = [one for one in known.outcomes if one.explored]
        self.versions = {(one.task_type, one.model): one.version for one in known.outcomes if one.version}
        self.rows, self._newest, self._unread = read.rows, read.newest, False

    def _reader_of(self, labels: Mapping[str, Observation]) -> Reader | None:
        if self._warm is None:
            return None
        if not labels:
            return self._warm.reader()
        model = self._warm.copy()
        for label in labels.values():
            model.learn_text(label.task_type, label.text)
        return model.reader()

    def learn_later(self, labels: Sequence[Observation]) -> None:
        """Labels that have become durable: the next look reads them."""
        if self._meanwhile is not None:
            self._meanwhile += labels
            return
        self.labels = {**self.labels, **{one.task_id: one for one in labels}}
        self.rows += len(labels)
        self._unread = True

    async def read_again(self) -> None:
        """Have the reader know all labels."""
        if self._unread:
            self._unread = False
            self.reader = await asyncio.to_thread(self._reader_of, self.labels)

    def took(self, observations: Sequence[Observation]) -> None:
        """Outcomes of attempts that have become durable, each for the first time."""
        if touched(observations):
            return  # who wrote them loads anew
        if self._meanwhile is not None:
            self._meanwhile += observations
            return
        for one in observations:
            if one.id in self._newest:
                continue
            self.rows += 1
            label = self.labels.get(one.task_id)
            self.evidence.add(one if label is None else replace(one, task_type=label.task_type))
            if one.proof is Outcome.VERIFIED:
                self.verdicts = self.verdicts.plus(accepted=one.success, good=one.success)
            if one.version:
                self.versions[one.task_type, one.model] = one.version
