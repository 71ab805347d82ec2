"""Ends that outlive their daemon: on disk before they are told, gone when the hub has them."""

import asyncio
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import UnreachableError
from ostler.domain.work import Finished, Started
from ostler.workers.attempts import Abilities
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.delivery import Delivery
from ostler.workers.guard import NoGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.spool import Spool
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
