"""Tests of a daemon that follows one that was killed, by hand: what it takes up, when, and what it gives up."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Started
from ostler.workers.attempts import Abilities
from ostler.workers.book import Entry
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.guard import Spared
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Key
from tests.workers.daemon_bench import Bench
from tests.workers.fake_hub import FakeLink
from tests.workers.timing_by_hand import settle
from tests.workers.work_made import OFFER, command


class Pages:
    """A book in memory."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = {entry.key: entry for entry in entries}
        self.dead: set[Key] = set()
        self.cleared: set[Key] | None = None

    def begin(self, entry: Entry) -> Path | None:
        self.entries[entry.key] = entry
        return Path("/book")

    def end(self, key: Key) -> None:
        self.entries.pop(key, None)

    def load(self) -> tuple[Entry, ...]:
        return tuple(self.entries.values())

    def can_be_taken_up(self, key: Key) -> bool:
        return key in self.entries and key not in self.dead

    def folder_of(self, key: Key) -> Path | None:
        return Path("/book")

    def clear(self, kept: Collection[Key]) -> None:
        self.cleared = set(kept)


def left(task_id: str = "t1", session_id: str = "s1", **changes: object) -> Entry:
    """What an earlier daemon left five seconds ago."""
    assignment = command("true", task_id=task_id, **changes)  # type: ignore[arg-type]
    return Entry(assignment=assignment, session_id=session_id, begun_ms=1_234, begun_us=-5_000_000)


class Succession(Bench):
    """A daemon that finds a book. `left_ms`: what is left of the right that the last one had."""

    def __init__(self, book: Pages, *, left_ms: int = 9_000, slots: int = 2) -> None:
        super().__init__()
        self.book = book
        self.guard.window_left_ms = left_ms
        self.worker = Worker(
            FakeLink(self.hub),
            replace(OFFER, slots={TaskKind.COMMAND: slots, TaskKind.CHAT: 1}, instance="i1"),
            Abilities(
                rules=WorkerRules(kinds=frozenset(TaskKind)),
                runners={TaskKind.COMMAND: self.runner, TaskKind.CHAT: self.runner},
            ),
            WorkerSettings(identity="me", stop_grace_s=10, book=book),
            timing=self.timing,
            guard=self.guard,
            on_note=self.notes.append,
        )


def played(book: Pages, scenario: object, **options: int) -> None:
    """Play a scenario with a daemon, and stop it."""

    async def whole() -> None:
        bench = Succession(book, **options)
        await scenario(bench)  # type: ignore[operator]
        await bench.stop()
        await settle()
        assert bench.runner.open == {}

    asyncio.run(whole())


def test_what_was_left_is_held_at_the_join_and_goes_on() -> None:
    """It is spared, told, begun where it was, and its end is reported as if nothing had happened."""
    book = Pages(left())

    async def scenario(bench: Succession) -> None:
        await bench.started()
        assert bench.guard.spared == Spared(sessions=frozenset({"s1"}), attempts=frozenset({"t1.1"}))
        assert book.cleared == {("t1", 1)}
        assert [[(held.task_id, held.generation) for held in offer.holds] for offer in bench.hub.offers] == [
            [("t1", 1)]
        ]
        (run,) = bench.runner.runs
        assert (run.before_us, run.folder) == (5_000_000, Path("/book"))
        await bench.timing.advance(0.5)
        assert bench.hub.reports(Started) == [Started(task_id="t1", generation=1, at_ms=1_234)]
        bench.runner.end()
        await bench.timing.advance(0.5)
        assert bench.kinds() == {("t1", 1): None}
        assert book.entries == {}

    played(book, scenario)


def test_nothing_goes_on_before_the_hub_has_answered() -> None:
    """The join alone gives no right: only an acknowledged heartbeat does."""

    async def scenario(bench: Succession) -> None:
        bench.hub.silent.add("heartbeat")
        await bench.started()
        await bench.timing.advance(1)
        assert bench.hub.offers != []
        assert bench.runner.runs == []
        bench.hub.silent.clear()
        await bench.timing.advance(8)
        assert [run.key for run in bench.runner.runs] == [("t1", 1)]

    played(Pages(left()), scenario)


def test_another_session_means_that_it_was_given_up() -> None:
    """The hub may have given it to somebody else: it is ended, and its end is told."""
    book = Pages(left(session_id="an-earlier-one"))

    async def scenario(bench: Succession) -> None:
        await bench.started()
        await bench.timing.advance(0.5)
        assert bench.guard.ended == ["t1.1"]
        assert bench.runner.runs == []
        assert bench.kinds() == {("t1", 1): FailureClass.WORKER_LOST}
        assert book.entries == {}

    played(book, scenario)


def test_what_died_meanwhile_is_not_held() -> None:
    """Between the look at the book and the join its supervisor ended it: the hub is told that nobody has it."""
    book = Pages(left("t1"), left("t2"))
    book.dead.add(("t2", 1))

    async def scenario(bench: Succession) -> None:
        await bench.started()
        (offer,) = bench.hub.offers
        assert [held.task_id for held in offer.holds] == ["t1"]
        assert [run.key for run in bench.runner.runs] == [("t1", 1)]
        assert bench.guard.ended == ["t2.1"]

    played(book, scenario)


def test_without_a_right_nothing_is_taken_up() -> None:
    """The window of the last daemon's heartbeat is over: all of it is cleaned away before the join."""
    book = Pages(left())

    async def scenario(bench: Succession) -> None:
        await bench.started()
        assert bench.guard.spared == Spared()
        assert book.cleared == set()
        assert bench.hub.offers[0].holds == ()
        assert bench.runner.runs == []

    played(book, scenario, left_ms=0)


def test_it_has_its_slot_however_many_there_are() -> None:
    """A profile that offers less now does not push out what runs; what is new waits until one is free."""
    book = Pages(left("t1"), left("t2"))

    async def scenario(bench: Succession) -> None:
        await bench.started()
        await bench.give(command("true", task_id="new"))
        assert [run.key[0] for run in bench.runner.runs] == ["t1", "t2"]
        bench.runner.end("t1")
        await bench.timing.advance(0.5)
        assert [run.key[0] for run in bench.runner.runs] == ["t1", "t2"]
        bench.runner.end("t2")
        await bench.timing.advance(0.5)
        assert [run.key[0] for run in bench.runner.runs] == ["t1", "t2", "new"]

    played(book, scenario, slots=1)


def test_its_time_goes_on_from_where_it_began() -> None:
    """Of ten seconds five are over; a time that is over already ends it at once, with what it has."""
    book = Pages(left("t1", timeout_s=10.0), left("t2", timeout_s=3.0))

    async def scenario(bench: Succession) -> None:
        await bench.started()
        await bench.timing.advance(0.5)
        assert bench.kinds() == {("t2", 1): FailureClass.TIMEOUT}
        assert [run.key[0] for run in bench.runner.runs] == ["t1", "t2"], "it is taken up to be ended"
        await bench.timing.advance(5)
        assert bench.kinds() == {("t1", 1): FailureClass.TIMEOUT, ("t2", 1): FailureClass.TIMEOUT}

    played(book, scenario)


def test_it_is_not_begun_again_when_the_hub_hands_it_out() -> None:
    """The hub had not heard of its start."""

    async def scenario(bench: Succession) -> None:
        await bench.started()
        await bench.give(command("true"))
        await bench.timing.advance(2)
        assert len(bench.runner.runs) == 1

    played(Pages(left()), scenario)


def test_a_command_is_in_the_book_while_it_runs_and_a_call_never() -> None:
    """A model call that was cut off cannot be taken up."""
    book = Pages()

    async def scenario(bench: Succession) -> None:
        await bench.started()
        await bench.give(command("true"))
        assert set(book.entries) == {("t1", 1)}
        assert book.entries["t1", 1].session_id == "s1"
        bench.runner.end()
        await bench.timing.advance(0.5)
        assert book.entries == {}

    played(book, scenario)


def test_a_daemon_that_is_stopped_before_it_joined_leaves_nothing() -> None:
    """It was asked to end, so what it could have taken up ends with it."""
    book = Pages(left())

    async def scenario(bench: Succession) -> None:
        bench.hub.is_down = True
        await bench.started()
        assert bench.guard.ended == []

    played(book, scenario)
    assert book.entries == {}


def test_a_kind_that_is_not_offered_any_more_ends_it() -> None:
    """The profile changed with the restart: it is told as against the rules."""
    entry = left()
    agent = replace(entry.assignment, spec=replace(entry.assignment.spec, kind=TaskKind.AGENT))

    async def scenario(bench: Succession) -> None:
        await bench.started()
        await bench.timing.advance(0.5)
        assert bench.kinds() == {("t1", 1): FailureClass.POLICY}

    played(Pages(replace(entry, assignment=agent)), scenario)
