"""The verdict: each check is a sentence that must hold, and says what breaks it. O(evidence).

Of money, an attempt is charged by rule:

    its call was answered whole, and somebody lived to tell    exactly what the provider billed
    the answer was lost, on the wire or with its worker        what was held or what had come: once, and never nothing
    the provider turned it away                                nothing; what was held when nobody lived to tell
    no call ever came                                          nothing; what was held when nobody could know
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from ostler.domain.ledger import Basis, EntryKind, LedgerEntry
from ostler.domain.states import TaskState
from ostler.domain.trace import attempt_span
from tests.crash.evidence import Evidence
from tests.crash.upstream import FREE, Call, Play

WHOLE = frozenset({Play.ANSWERED, Play.SLOW})
_ENDS = frozenset({EntryKind.SETTLE, EntryKind.RELEASE})


def problems(evidence: Evidence) -> list[str]:
    """Everything that is wrong."""
    return [
        *_lost(evidence),
        *_accepted_twice(evidence),
        *_commands_at_once(evidence),
        *_calls_at_once(evidence),
        *_charges(evidence),
    ]


def _lost(evidence: Evidence) -> Iterator[str]:
    """What was acknowledged is there and over, and nothing is there that nobody sent."""
    tasks = evidence.database.tasks
    for task in sorted(evidence.acknowledged - tasks.keys()):
        yield f"{task} was acknowledged and is lost"
    for task in sorted(tasks.keys() - evidence.sent):
        yield f"{task} was never handed in"
    for name, row in sorted(tasks.items()):
        if row.state is not TaskState.SUCCEEDED:
            yield f"{name} is {row.state.value} in the end: {row.failure}"


def _accepted_twice(evidence: Evidence) -> Iterator[str]:
    """Each task was accepted once and succeeded once, however often it was handed in or reported."""
    for task in sorted(evidence.database.tasks):
        for name in ("task.submitted", "task.succeeded"):
            count = evidence.database.events[task, name]
            if count != 1:
                yield f"{task} has {count} times {name}"


def _commands_at_once(evidence: Evidence) -> Iterator[str]:
    """No command runs beside another run of its task, each attempt starts once, and a success really ended."""
    newest: dict[str, int] = {}
    starts, ended = Counter[tuple[str, int]](), set[tuple[str, int]]()
    for word, task, generation in evidence.log:
        if word == "twice":
            yield f"{task} ran beside another run of it, as its attempt {generation}"
        elif word == "start":
            starts[task, generation] += 1
            newest[task] = max(generation, newest.get(task, 0))
        else:
            ended.add((task, generation))
            if newest.get(task) != generation:
                yield f"{task} ended as its attempt {generation} while attempt {newest.get(task)} was running"
    for (task, generation), count in sorted(starts.items()):
        if count > 1:
            yield f"attempt {generation} of {task} was started {count} times"
    asked = {call.task for call in evidence.calls}
    for name, row in sorted(evidence.database.tasks.items()):
        if int(name[1:]) % 2 == 0 and (name, row.generation) not in ended:
            yield f"{name} succeeded with attempt {row.generation}, which never came to its end"
        if int(name[1:]) % 2 and name not in asked:
            yield f"{name} succeeded, and nobody was asked"


def _calls_at_once(evidence: Evidence) -> Iterator[str]:
    """No task asks twice at once. One that is frozen in the middle of a call cannot hang up: that is no fault."""
    for older, newer in ((one.older, one.newer) for one in evidence.together):
        frozen = evidence.frozen.get(older.key, ())
        if not any(start <= newer.began_s and end >= older.began_s for start, end in frozen):
            yield f"{older.task} was asked by {newer.key} while {older.key} was still asking"


def _charges(evidence: Evidence) -> Iterator[str]:
    """The ledger has each call once, at what the rule says."""
    by_span: dict[str, list[Call]] = {}
    for call in evidence.calls:
        by_span.setdefault(call.span, []).append(call)
    known: set[str] = set()
    for attempt, entries in sorted(evidence.database.ledger.items()):
        task, _, generation = attempt.rpartition("/")
        span = attempt_span(task, int(generation))
        known.add(span)
        calls = by_span.get(span, [])
        if len(calls) > 1:
            yield f"attempt {attempt} asked {len(calls)} times"
        yield from (f"attempt {attempt} {what}" for what in _wrong(entries, calls[0] if calls else None))
        row = evidence.database.tasks.get(task)
        if row is not None and row.state is TaskState.SUCCEEDED and row.generation == int(generation):
            yield from _winner(attempt, entries, calls)
    for span in sorted(by_span.keys() - known):
        yield f"a call for {by_span[span][0].task} was made without a reservation"


def _wrong(entries: Sequence[LedgerEntry], call: Call | None) -> Iterator[str]:
    kinds = Counter(entry.kind for entry in entries)
    ends = sum(kinds[kind] for kind in _ENDS)
    if kinds[EntryKind.RESERVE] != 1 or ends != 1 or kinds[EntryKind.ADJUST] > 1:
        yield f"has {dict(kinds)} in the ledger"
        return
    held, last = entries[0].amount.micro_usd, entries[-1]
    charged = last.amount.micro_usd
    if last.ambiguous:
        if charged != held:
            yield f"is charged {charged} though nobody knows its end, and it held {held}"
    elif call is None or call.play in FREE:
        if charged:
            yield f"is charged {charged}, and the provider did not work"
    elif call.play in WHOLE and charged != call.billed_micro_usd:
        # Stopped in the middle of a whole answer, it is charged what had come.
        if not (last.basis is Basis.ESTIMATED and charged > 0):
            yield f"is charged {charged}, the provider billed {call.billed_micro_usd}"
    elif not charged:
        yield f"is charged nothing, the provider billed {call.billed_micro_usd}"


def _winner(attempt: str, entries: Sequence[LedgerEntry], calls: list[Call]) -> Iterator[str]:
    """Of an attempt that succeeded everything is known."""
    if not calls or calls[0].play not in WHOLE:
        yield f"attempt {attempt} succeeded without a whole answer"
    elif entries[-1].amount.micro_usd != calls[0].billed_micro_usd or entries[-1].ambiguous:
        said, billed = entries[-1].amount.micro_usd, calls[0].billed_micro_usd
        yield f"attempt {attempt} succeeded and is charged {said}, the provider billed {billed}"


def totals(evidence: Evidence) -> dict[str, int]:
    """Micro-dollars: what the provider billed, what the ledger says, and what of it is for ends nobody knows."""
    last = [entries[-1] for entries in evidence.database.ledger.values()]
    return {
        "billed_micro_usd": sum(call.billed_micro_usd for call in evidence.calls),
        "ledger_micro_usd": sum(entry.amount.micro_usd for entry in last),
        "ambiguous_micro_usd": sum(entry.amount.micro_usd for entry in last if entry.ambiguous),
        "ambiguous_attempts": sum(entry.ambiguous for entry in last),
    }
