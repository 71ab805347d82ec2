"""What observers of a hub are told: what is durable, once, and nothing that was refused."""

from collections.abc import Sequence

from structlog.testing import capture_logs

from ostler.domain.commands import (
    AppendEvents,
    Applied,
    Command,
    LateReport,
    PutKey,
    RevokeKey,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.event import Event
from ostler.domain.fleet import WorkerOffer
from ostler.domain.live import GatewayKey
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished, Progress, Started
from ostler.hub.gateway_views import KeyWish
from ostler.hub.life_signs import LifeSigns
from ostler.telemetry.durable import events_of
from tests.hub.house import house

SPEC = TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))


class Observer:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, applied: Sequence[tuple[Command, Applied]]) -> None:
        self.events += events_of(applied)


def facts(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.name, event.task_id) for event in events]


async def test_an_observer_is_told_of_all_that_the_log_of_events_has() -> None:
    """Through submit, assignment, report, cancel, keys and late reports: the same events in the same order."""
    async with house() as built:
        observer = Observer()
        built.pump.observers.append(observer)
        hub, link = built.hub, built.hub.link
        session = (await link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1}))).id
        await hub.submit([SPEC])
        await hub.submit([SPEC])
        (given,) = (await link.poll(session, 1_000)).assignments
        await link.report(session, [Started(task_id="t", generation=given.generation, at_ms=1)])
        await link.report(session, [Finished(task_id="t", generation=given.generation, at_ms=2, ok=True)])
        late = Finished(task_id="t", generation=given.generation + 5, at_ms=3, ok=True)
        await link.report(session, [late])
        await hub.gateway.make_key(KeyWish(name="laptop"))
        await hub.gateway.revoke_key("laptop")
        await hub.gateway.revoke_key("laptop")
        await hub.gateway.book.stop()

        stored = await built.store.events(limit=1_000)

    assert facts(observer.events) == facts(stored)
    assert {"task.submitted", "task.assigned", "task.succeeded", "key.created", "key.revoked"} <= {
        event.name for event in stored
    }


def test_only_what_was_new_is_among_the_events() -> None:
    """A task that was there already, and a key that was revoked already, say nothing again."""
    event = Event(name="key.revoked", at_ms=1)
    key = GatewayKey(name="k", key_hash="h", created_ms=1)

    silent: list[tuple[Command, Applied]] = [
        (PutKey(key=key, event=event), Applied()),
        (RevokeKey(name="k", at_ms=1, event=event), Applied()),
        (SubmitTasks(tasks=()), Applied()),
    ]
    told: list[tuple[Command, Applied]] = [
        (RevokeKey(name="k", at_ms=1, event=event), Applied(last_seq=4)),
        (AppendEvents(events=(event, event)), Applied(last_seq=6)),
        (LateReport(task_id="t", generation=1, at_ms=1, body=b"", event=event), Applied(last_seq=7)),
    ]

    assert list(events_of(silent)) == []
    assert list(events_of(told)) == [event] * 4
    assert UpdateTask not in {type(command) for command, _ in silent}


def test_the_newest_sign_of_an_attempt_counts() -> None:
    """One row for each task; an older attempt's does not speak for a newer one; the end forgets it."""
    signs = LifeSigns()
    signs.heard(Started(task_id="a", generation=1, at_ms=1), 10)
    signs.heard(Progress(task_id="a", generation=1, at_ms=2, output_tokens=5, tail="x"), 20)
    signs.heard(Started(task_id="b", generation=2, at_ms=3), 30)

    sign = signs.of("a", 1)
    assert sign is not None
    assert (sign.heard_ms, sign.output_tokens) == (20, 5)
    assert "x" not in repr(sign)
    assert signs.of("a", 2) is None

    signs.heard(Finished(task_id="a", generation=1, at_ms=4, ok=True), 40)
    assert signs.of("a", 1) is None
    signs.keep(frozenset())
    assert signs.of("b", 2) is None


async def test_an_observer_that_fails_stops_nothing_and_nobody_else() -> None:
    """A mistake in what only looks is a line in the log: the work goes on, and the others are told."""

    def broken(applied: Sequence[tuple[Command, Applied]]) -> None:
        raise KeyError("nothing of yours")

    async with house() as built:
        observer = Observer()
        built.pump.observers[:0] = [broken]
        built.pump.observers.append(observer)
        with capture_logs() as lines:
            await built.hub.submit([SPEC])
            session = (await built.hub.link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1}))).id
            poll = await built.hub.link.poll(session, 1_000)

    assert [assignment.task_id for assignment in poll.assignments] == ["t"]
    assert {"task.submitted", "task.assigned"} <= {event.name for event in observer.events}
    assert {(line["event"], line["kind"]) for line in lines} == {("an observer failed", "KeyError")}
