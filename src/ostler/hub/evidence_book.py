"""What outcomes add up to, kept beside the store: read once, then told of each outcome as it becomes durable.

A decision asks the policy, never this; a look at what is proven asks this, never the store. So neither grows with the
number of outcomes that are kept: O(1) for one more, O(types x models) for a look. Later evidence about outcomes that
were kept before (`learning.lessons`) and forgetting build it anew: O(outcomes), in a thread, for they are rare.
"""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ostler.domain.observations import Observation, ObservationQuery, Says
from ostler.domain.ports import Store
from ostler.domain.states import Outcome
from ostler.learning.evidence import Evidence
from ostler.learning.kinds import KindModel, Reader
from ostler.learning.lessons import corrected, newest, touched
from ostler.learning.verifier import Verdicts

ANY = ObservationQuery()
NEWEST = 2_000


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
        """Outcomes that were explored, for the purse of the day."""
        self.rows = 0
        """Everything that is kept, labels and revisions too."""
        self.versions: dict[tuple[str, str], str] = {}
        """(type, model) -> the newest version that has an outcome."""
        self.reader: Reader | None = None
        self._fresh = True
        self._unread = False
        self._newest: frozenset[str] = frozenset()
        """Ids of the newest rows that were read: some of them may still be on their way to `took`."""

    async def load(self) -> None:
        """Read everything anew."""
        found = await self._store.observations(ANY)
        self._fresh = True
        await asyncio.to_thread(self._take, found)
        if not self._fresh:  # outcomes that became durable while we added up
            await self.load()

    def _take(self, found: Sequence[Observation]) -> None:
        known = corrected(found)
        self.evidence = Evidence(known.outcomes)
        self.verdicts, self.looked_at = known.verdicts, known.looked_at
        self.labels = newest(found, Says.LABEL)
        self.explored = [one for one in known.outcomes if one.explored]
        self.versions = {(one.task_type, one.model): one.version for one in known.outcomes if one.version}
        self.rows = len(found)
        self._newest = frozenset(one.id for one in found[-NEWEST:])
        self.reader = self._read_labels()

    def _read_labels(self) -> Reader | None:
        if self._warm is None:
            return None
        if not self.labels:
            return self._warm.reader()
        model = self._warm.copy()
        for label in self.labels.values():
            model.learn_text(label.task_type, label.text)
        return model.reader()

    def learn_later(self, labels: Sequence[Observation]) -> None:
        """Labels that have become durable: the next look reads them."""
        self.labels = {**self.labels, **{one.task_id: one for one in labels}}
        self.rows += len(labels)
        self._unread = True

    async def read_again(self) -> None:
        """Have the reader know all labels."""
        if self._unread:
            self._unread = False
            self.reader = await asyncio.to_thread(self._read_labels)

    def took(self, observations: Sequence[Observation]) -> None:
        """Outcomes of attempts that have become durable, each for the first time."""
        if touched(observations):
            return  # who wrote them loads anew
        self._fresh = False
        for one in observations:
            if one.id in self._newest:
                continue
            self.rows += 1
            label = self.labels.get(one.task_id)
            self.evidence.add(one if label is None else replace(one, task_type=label.task_type))
            if one.proof is Outcome.VERIFIED:
                self.verdicts = self.verdicts.plus(accepted=one.success, good=one.success)
            if one.explored:
                self.explored.append(one)
            if one.version:
                self.versions[one.task_type, one.model] = one.version
