"""Keys of the gateway for attempts of agents: one for each attempt, for its decided model, worthless at its end.

Every call of a model that an agent makes comes with the key of its attempt, so that it is routed, limited and charged
like any call, and stands in the books under its task. The key itself is in no record: only its hash is stored, and the
worker gets it with the assignment.

Invariants: no key outlives its attempt. An attempt that ends revokes its own; a hub that starts revokes those of
attempts that are not under way, which a crash may have left.
"""

import contextlib
from collections.abc import Iterable, Sequence

import msgspec

from ostler.domain.errors import NotFoundError, OstlerError
from ostler.domain.live import CallRecord
from ostler.domain.money import exact_usd_text
from ostler.domain.ports import CallQuery, Store
from ostler.domain.states import LEASED_STATES, Failure, FailureClass
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.domain.work import Finished, ModelRoute, Report
from ostler.hub.errands import Errands
from ostler.hub.gateway_desk import GatewayDesk
from ostler.hub.gateway_views import KeyWish
from ostler.hub.handing import Equipment

PREFIX = "agent/"
NOTE_CHARACTERS = 1_500
"""Of the words an earlier attempt left."""
CALLS_LISTED = 20
_CALLS_READ = 1_000


class AttemptKeys:
    """Makes and revokes the keys; tells what was called with them."""

    def __init__(self, desk: GatewayDesk, store: Store) -> None:
        self._desk = desk
        self._store = store
        self.enabled = True
        """Whether there is a gateway to use a key at."""
        self.max_cost_micro_usd: int | None = None
        """What one attempt may cost."""
        self.judge: str | None = None
        """Tier that is asked for its opinion."""
        self._unsure: set[str] = set()
        """Keys that may be stored, although nobody heard so."""
        self._revoking = Errands("the revocation of a key")

    async def equip(self, task: Task, route: ModelRoute | None) -> Equipment:
        """The key of an attempt that is about to be handed out, and what earlier ones left to be known.

        It opens the model that was decided and, where a judge is to be asked, those of its tier.
        """
        notes = await self._notes(task) if task.generation > 1 else ()
        if not self.enabled or route is None:
            return Equipment(notes=notes)
        judging = self._desk.models_of(self.judge) if self.judge is not None else ()
        wish = KeyWish(
            name=name_of(task.id, task.generation),
            models=tuple(dict.fromkeys((route.model, *judging))),
            task=task.id,
            priority=task.priority,
            local_only=task.facts.local_only,
            limit_micro_usd=self.max_cost_micro_usd,
        )
        try:
            made = await self._desk.make_key(wish)
        except OstlerError:
            self._unsure.add(wish.name)
            raise
        return Equipment(key=made.key, judge=self.judge if judging and self.judge else "", notes=notes)

    def as_paid(self, report: Report) -> Report:
        """A report as it is to be taken: a run that failed because it has cost all that it may needs a person, whatever
        its program made of the refusal. What it did is kept.
        """
        if not isinstance(report, Finished) or report.ok or self.max_cost_micro_usd is None:
            return report
        key = self._desk.ring.named(name_of(report.task_id, report.generation))
        if key is None or key.limit_micro_usd is None:
            return report
        use, limit = self._desk.ring.use(key), exact_usd_text(key.limit_micro_usd)
        if use.micro_usd < key.limit_micro_usd and not use.has_refused:
            return report
        spent = exact_usd_text(use.micro_usd)
        message = f"the run has cost {spent}, and one may cost {limit} (agents.max_cost): its next call was refused"
        failure = Failure(kind=FailureClass.POLICY, message=message, at_ms=report.at_ms)
        return msgspec.structs.replace(report, failure=failure)

    def ended(self, task: Task, generation: int) -> None:
        """An attempt has ended: its key opens nothing from now on, also when that is not durable yet."""
        name = name_of(task.id, generation)
        if self._desk.ring.close(name) or name in self._unsure:
            self._unsure.discard(name)
            _ = self._revoking.begin(self._revoke(name))

    async def _revoke(self, name: str) -> None:
        with contextlib.suppress(NotFoundError):  # of one that was never heard of
            await self._desk.revoke_key(name)

    async def take_up(self, tasks: Iterable[Task]) -> None:
        """Revoke what a crash left: keys of attempts that are not under way."""
        leased = (task for task in tasks if task.state in LEASED_STATES and task.facts.kind is TaskKind.AGENT)
        under_way = {name_of(task.id, task.generation) for task in leased}
        for key in self._desk.ring.every_key():
            if key.name.startswith(PREFIX) and key.revoked_ms is None and key.name not in under_way:
                await self._desk.revoke_key(key.name)

    async def stop(self) -> None:
        """Wait for what is being revoked."""
        await self._revoking.wait()

    async def call_lines(self, attempts: Sequence[Attempt]) -> tuple[str, ...]:
        """What was called in these attempts, in words; nothing when nothing was."""
        calls: list[CallRecord] = []
        for attempt in attempts:
            query = CallQuery(key=name_of(attempt.task_id, attempt.generation), limit=_CALLS_READ)
            calls += reversed((await self._desk.calls(query)).calls)
        if not calls:
            return ()
        lines = [f"  {_line(call)}" for call in calls[-CALLS_LISTED:]]
        left_out = len(calls) - len(lines)
        return (f"Calls of its agent: {_sum(calls)}", *([f"  ({left_out} earlier ones)"] if left_out else []), *lines)

    async def _notes(self, task: Task) -> tuple[str, ...]:
        detail = await self._store.task(task.id)
        earlier = [one for one in detail.attempts if one.generation < task.generation] if detail else []
        output = (detail.output or "").strip() if detail else ""
        notes = [_note(attempt) for attempt in earlier if attempt.failure is not None]
        if notes and output:
            notes[-1] += f" Its last words: {output[-NOTE_CHARACTERS:]}"
        for one in task.answers:
            how = "Nobody answered in time, the default is" if one.by_default else "The answer"
            notes.append(f"A person was asked: {one.asked} {how}: {one.text}")
        return tuple(notes)


def name_of(task_id: str, generation: int) -> str:
    """The name of the key of an attempt."""
    return f"{PREFIX}{task_id}.{generation}"


def _note(attempt: Attempt) -> str:
    failure, evidence = attempt.failure, attempt.evidence
    why = f"{failure.kind.value}: {failure.message}" if failure is not None else "no reason is known"
    work = f" Its work is on branch {evidence.branch}." if evidence is not None and evidence.branch else ""
    return f"Attempt {attempt.generation} with {attempt.model or 'no model'} failed ({why}).{work}"


def _line(call: CallRecord) -> str:
    tokens = f"{sum(one.input_tokens for one in call.attempts)} + {sum(one.output_tokens for one in call.attempts)}"
    how = f"failed: {call.message} [{call.failure.value}]" if call.failure is not None else f"{tokens} tokens"
    return f"{call.id} {call.model or call.asked_model} on {call.endpoint or 'no endpoint'}: {how}"


def _sum(calls: Sequence[CallRecord]) -> str:
    tokens_in = sum(one.input_tokens for call in calls for one in call.attempts)
    tokens_out = sum(one.output_tokens for call in calls for one in call.attempts)
    known = [call.cost_micro_usd for call in calls if call.cost_micro_usd is not None]
    unknown = len(calls) - len(known)
    money = exact_usd_text(sum(known)) + (f" and {unknown} of unknown price" if unknown else "")
    failed = sum(call.failure is not None for call in calls)
    failures = f", {failed} failed" if failed else ""
    return f"{len(calls)}{failures}; {tokens_in} tokens in, {tokens_out} out; {money}"
