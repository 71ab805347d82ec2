"""Ends that outlive their daemon: on disk before they are told, gone when the hub has them."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import UnreachableError
from ostler.domain.work import Finished, Started
from ostler.workers.attempts import Abilities
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.delivery import Delivery
from ostler.workers.guard import NoGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.spool import JOURNAL, Spool
from tests.workers.fake_hub import FakeHub, FakeLink
from tests.workers.timing_by_hand import HandTiming
from tests.workers.work_made import OFFER, command


def end(task_id: str = "t1", generation: int = 1, output: str = "out") -> Finished:
    return Finished(task_id=task_id, generation=generation, at_ms=5, ok=True, output=output)


def test_an_end_is_kept_until_it_is_dropped(tmp_path: Path) -> None:
    """By task and attempt; other reports are no ends."""
    spool = Spool(tmp_path / "ended")
    spool.put(end("a"))
    spool.put(end("b", 2))
    assert {(one.task_id, one.generation) for one in Spool(tmp_path / "ended").load()} == {("a", 1), ("b", 2)}
    spool.drop([end("a"), Started(task_id="b", generation=2, at_ms=1), end("nobody")])

    assert [one.task_id for one in spool.load()] == ["b"]


def test_a_file_that_tells_nothing_is_taken_away(tmp_path: Path) -> None:
    """Torn, foreign, or half written: it does not hold up the others, and does not come back."""
    spool = Spool(tmp_path)
    spool.put(end())
    (tmp_path / "torn.json").write_text('{"task_id": "x"')
    (tmp_path / "half.partial").write_text("{")
    (tmp_path / "notes.txt").write_text("hello")

    assert [one.task_id for one in spool.load()] == ["t1"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_keeps_nobody_from_working(tmp_path: Path) -> None:
    """The end is told all the same; it only does not outlive the daemon."""
    spool = Spool(tmp_path / "ended")
    (tmp_path / "ended").rmdir()
    spool.put(end())
    spool.drop([end()])

    assert not (tmp_path / "ended").exists()


def test_ends_of_an_earlier_version_are_taken_over(tmp_path: Path) -> None:
    """It kept each in a file of its own; they come before what is new, and are dropped as all others."""
    for number, name in enumerate(("late", "early")):
        path = tmp_path / f"{name}.json"
        path.write_bytes(msgspec.json.encode(end(name)))
        os.utime(path, ns=(10**18 - number, 10**18 - number))

    assert [one.task_id for one in Spool(tmp_path).load()] == ["early", "late"]
    again = Spool(tmp_path)
    assert [one.task_id for one in again.load()] == ["early", "late"]
    again.drop([end("early"), end("late")])
    assert Spool(tmp_path).load() == []


def test_what_was_written_half_costs_nothing_else(tmp_path: Path) -> None:
    """A disk that was full for a moment, or a kill in the middle: ends before and after it come back."""
    spool = Spool(tmp_path)
    spool.put(end("a"))
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b"\n" + msgspec.json.encode(end("torn"))[:-7])
    spool.put(end("b"))
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'\n[["a", 1')

    assert [one.task_id for one in Spool(tmp_path).load()] == ["a", "b"]


def test_a_spool_with_nothing_to_tell_takes_no_room(tmp_path: Path) -> None:
    """Its companion sees by that whether the next daemon has anything to tell."""
    spool = Spool(tmp_path)
    for name in ("a", "b"):
        spool.put(end(name, output="x" * 1_000))
    spool.drop([end("a")])
    assert (tmp_path / JOURNAL).stat().st_size > 2_000
    spool.drop([end("b")])

    assert (tmp_path / JOURNAL).stat().st_size == 0
    assert (tmp_path / JOURNAL).stat().st_mode & 0o077 == 0, "outputs of tasks are nobody else's"


def test_a_journal_that_never_rests_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One end that cannot be told stays, thousands come and go beside it: the size stays within twice what waits."""
    monkeypatch.setattr("ostler.workers.spool.LARGE_BYTES", 10_000)
    spool = Spool(tmp_path)
    spool.put(end("stays", output="y" * 2_000))
    for number in range(300):
        spool.put(end(f"t{number}", output="x" * 500))
        spool.drop([end(f"t{number}")])

    assert (tmp_path / JOURNAL).stat().st_size < 12_000
    assert [one.task_id for one in Spool(tmp_path).load()] == ["stays"]


def test_a_journal_of_much_that_waits_is_not_written_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again when it has doubled."""
    monkeypatch.setattr("ostler.workers.spool.LARGE_BYTES", 1_000)
    spool = Spool(tmp_path)
    for number in range(40):
        spool.put(end(f"stays{number}", output="y" * 100))
    inode = (tmp_path / JOURNAL).stat().st_ino
    spool.put(end("goes"))
    for _ in range(3):
        spool.drop([end("goes")])
        spool.put(end("goes"))

    assert (tmp_path / JOURNAL).stat().st_ino == inode
    assert len(Spool(tmp_path).load()) == 41


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "drop", "restart"]), st.sampled_from("abc"), st.integers(1, 3)), max_size=40
    )
)
@settings(max_examples=30)
def test_after_any_history_the_disk_holds_what_was_put_and_not_dropped(
    tmp_path_factory: object, steps: list[tuple[str, str, int]]
) -> None:
    """Whoever reads it next finds just that, in the order in which it came."""
    folder = tmp_path_factory.mktemp("spool")  # type: ignore[attr-defined]
    spool, waiting = Spool(folder), dict[tuple[str, int], Finished]()
    for verb, name, generation in steps:
        if verb == "put":
            waiting.setdefault((name, generation), end(name, generation))
            spool.put(end(name, generation))
        elif verb == "drop":
            waiting.pop((name, generation), None)
            spool.drop([end(name, generation)])
        else:
            spool = Spool(folder)
            spool.load()

    assert Spool(folder).load() == list(waiting.values())


@given(task_id=st.text(min_size=1, max_size=300), generation=st.integers(1, 10**6), output=st.text(max_size=200))
@settings(max_examples=50)
def test_whatever_a_task_is_called_its_end_comes_back(
    tmp_path_factory: object, task_id: str, generation: int, output: str
) -> None:
    """No name is too long for a file, or leads out of the folder."""
    folder = tmp_path_factory.mktemp("spool")  # type: ignore[attr-defined]
    spool = Spool(folder)
    spool.put(end(task_id, generation, output))

    assert spool.load() == [end(task_id, generation, output)]
    assert len(list(folder.iterdir())) == 1


async def test_a_delivery_keeps_an_end_until_the_hub_has_it(tmp_path: Path) -> None:
    """A refused call loses nothing; a confirmed one leaves nothing."""
    timing, spool = HandTiming(), Spool(tmp_path)
    hub = FakeHub(timing)
    session = hub.new_session(OFFER)
    delivery = Delivery(FakeLink(hub), timing, spool)
    delivery.add(Started(task_id="t1", generation=1, at_ms=1))
    assert spool.load() == []
    delivery.add(end())
    assert spool.load() == [end()]
    hub.refusals["report"] = [UnreachableError("no answer")]
    running = asyncio.create_task(delivery.run(session.id))
    await timing.advance(0.05)
    assert spool.load() == [end()]
    await timing.advance(5)
    running.cancel()

    assert spool.load() == []
    assert hub.ends() == {("t1", 1): end()}


def daemon(hub: FakeHub, timing: HandTiming, folder: Path) -> Worker:
    """A daemon over a spool that outlives it."""
    return Worker(
        FakeLink(hub),
        OFFER,
        Abilities(rules=WorkerRules(), runners={}),
        WorkerSettings(identity="me", spool=Spool(folder)),
        timing=timing,
        guard=NoGuard(),
    )


async def test_the_next_daemon_tells_what_the_last_one_could_not(tmp_path: Path) -> None:
    """It names it at the join, so that the hub keeps the attempt for it, and does not start it again."""
    Spool(tmp_path).put(end("done", 3))
    timing = HandTiming()
    hub = FakeHub(timing)
    worker = daemon(hub, timing, tmp_path)
    worker.start()
    await timing.advance(1)
    assert [[(held.task_id, held.generation) for held in offer.holds] for offer in hub.offers] == [[("done", 3)]]
    assert hub.ends() == {("done", 3): end("done", 3)}
    hub.give(command("true", task_id="done", generation=3))
    await timing.advance(2)
    await worker.stop(0)

    assert not hub.is_started("done", 3)
    assert Spool(tmp_path).load() == []
