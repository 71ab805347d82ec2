"""Verdicts on live calls, kept for a moment: calls that ask the same at the same state of the fleet share one record.

A verdict is kept with all that it was made from: the question (`call_shape` and the places that failed), the rules, the
number of the fleet's state (`Endpoints.epoch`, which counts changed views), and every count of calls in flight that the
decision looked at, no others. While all of these are the same, deciding anew could differ only in what time and
measurements move: ages, reports of hosts, measured speeds. Those are at most `VALID_MS` old.

Not kept: what a limit of the budget was asked about, as sums change with every paid call; a wait that hangs on when the
call came (for a fallback, a rate limit, an outage), and on managed hosts all but a route to a place that is usable now,
because what swaps cost depends on all that waits.

The record's `task_id` is the key of all this instead of the id of one call, and its `decided_ms` is when it was made: a
call's own record says both, and the store keeps a shared record once.

Cost: O(endpoints that the question looked at) for a look-up; entries are bounded, and all go when the state changes.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from hashlib import blake2b
from typing import TypeVar

from msgspec.structs import replace

from ostler.domain.decision import Route, RouteRequest, Verdict
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.ledger import Span, Spent
from ostler.domain.live import LiveCall
from ostler.domain.policy import Policy
from ostler.domain.states import WaitCode
from ostler.routing.decide import decide
from ostler.routing.ladder import Ladder

VALID_MS = 1_000
MAX_KEPT = 4_096
"""Verdicts kept at once; then all are forgotten."""

K = TypeVar("K", bound=Hashable)


class Noted(Mapping[K, int]):
    """Counts, and which of them were asked for."""

    __slots__ = ("_counts", "asked")

    def __init__(self, counts: Mapping[K, int]) -> None:
        self._counts = counts
        self.asked: dict[K, None] = {}

    def __getitem__(self, key: K) -> int:
        self.asked[key] = None
        return self._counts[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)


class Asked:
    """The sums of the ledger, and whether any was asked for."""

    __slots__ = ("_spent", "were")

    def __init__(self, spent: Callable[[Span], Spent] | None) -> None:
        self._spent = spent
        self.were = False

    def __call__(self, span: Span) -> Spent:
        """A sum, and that it was asked for."""
        self.were = True
        return self._spent(span) if self._spent is not None else Spent()


class _Question:
    """What is known of one question: the counts that its verdicts have looked at, and the verdicts by their values."""

    __slots__ = ("models", "places", "verdicts")

    def __init__(self) -> None:
        self.places: tuple[str, ...] = ()
        self.models: tuple[tuple[str, str], ...] = ()
        self.verdicts: dict[tuple[int, ...], tuple[int, Verdict]] = {}


class Verdicts:
    """All verdicts that are kept."""

    def __init__(self) -> None:
        self._questions: dict[Hashable, _Question] = {}
        self._kept = 0
        self._epoch = -1
        self._policy: Policy | None = None
        self._ladder: Ladder | None = None

    def known(self, key: Hashable, epoch: int, policy: Policy, counts: "Counts", now_ms: int) -> Verdict | None:
        """The verdict on an equal call (see `calls.Question`) at an equal state, if one was made a moment ago."""
        if epoch != self._epoch or policy is not self._policy:
            return None
        question = self._questions.get(key)
        if question is None:
            return None
        found = question.verdicts.get(counts.of(question.places, question.models))
        return found[1] if found is not None and 0 <= now_ms - found[0] < VALID_MS else None

    def decide(
        self, call: LiveCall, key: Hashable, snapshot: FleetSnapshot, policy: Policy, *, epoch: int, managed: bool
    ) -> Verdict:
        """Decide for a call at the instant of a snapshot, and keep the verdict if it may be kept."""
        now_ms = snapshot.taken_ms
        if policy is not self._policy or self._ladder is None:
            self._ladder = Ladder(policy.catalog)
        if epoch != self._epoch or policy is not self._policy or self._kept >= MAX_KEPT:
            self._questions.clear()
            self._kept, self._epoch, self._policy = 0, epoch, policy
        places, models = Noted(snapshot.in_flight), Noted(snapshot.in_flight_by_model)
        sums = Asked(snapshot.spent)
        spent = sums if snapshot.spent is not None else None
        watched = replace(snapshot, in_flight=places, in_flight_by_model=models, spent=spent)
        verdict = decide(request_of(call, policy, now_ms), watched, policy, ladder=self._ladder)
        if sums.were or not _may_be_kept(verdict, policy, managed=managed):
            return verdict
        question = self._questions.setdefault(key, _Question())
        if not (places.asked.keys() <= set(question.places) and models.asked.keys() <= set(question.models)):
            question.places = tuple(sorted({*question.places, *places.asked}))
            question.models = tuple(sorted({*question.models, *models.asked}))
            self._kept -= len(question.verdicts)
            question.verdicts.clear()
        counts = Counts(snapshot.in_flight, snapshot.in_flight_by_model).of(question.places, question.models)
        verdict = _shared(verdict, (key, epoch, counts, policy.version))
        question.verdicts[counts] = (now_ms, verdict)
        self._kept += 1
        return verdict


class Counts:
    """Calls in flight, by place and by model at a place."""

    __slots__ = ("_models", "_places")

    def __init__(self, places: Mapping[str, int], models: Mapping[tuple[str, str], int]) -> None:
        self._places = places
        self._models = models

    def of(self, places: tuple[str, ...], models: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
        """The counts of these, in order."""
        found = [self._places.get(place, 0) for place in places]
        if models:
            found += [self._models.get(model, 0) for model in models]
        return tuple(found)


def request_of(call: LiveCall, policy: Policy, now_ms: int) -> RouteRequest:
    """The question as it is put to `decide`. Since when a call waits matters only where calls wait for their tier."""
    queued_ms = call.offered_ms if policy.gateway.fallback_wait_ms else now_ms
    return RouteRequest(
        facts=call.facts,
        now_ms=now_ms,
        queued_ms=queued_ms,
        excluded=call.excluded,
        charged=call.charged,
        limits=call.limits,
        live=True,
    )


def _may_be_kept(verdict: Verdict, policy: Policy, *, managed: bool) -> bool:
    if verdict.decision.fallback_used and policy.gateway.fallback_wait_ms:
        return False  # how long it had waited before it left its tier is its own
    return isinstance(verdict, Route) or (verdict.wait.code is WaitCode.CAPACITY and not managed)


def _shared(verdict: Verdict, key: Hashable) -> Verdict:
    """The verdict with a record that belongs to no single call."""
    name = f"call-{blake2b(repr(key).encode(), digest_size=8).hexdigest()}"
    decision = replace(verdict.decision, task_id=name)
    return Route(decision=decision) if isinstance(verdict, Route) else replace(verdict, decision=decision)
