"""Tests of the daemon's sessions, with a hub in memory and time that is moved by hand."""

import pytest
from msgspec.structs import replace

from ostler.domain.errors import ConflictError, NotAllowedError, UnreachableError
from ostler.domain.fleet import HostReport
from ostler.domain.states import FailureClass
from ostler.domain.work import Poll
from ostler.workers.daemon import SessionLostError
from tests.workers.daemon_bench import LEASE_S, Bench, bench
from tests.workers.fake_hub import FakeLink
from tests.workers.timing_by_hand import settle
from tests.workers.work_made import OFFER, chat, command

__all__ = ["bench"]


async def test_a_worker_joins_with_its_offer(bench: Bench) -> None:
    """Leftovers are cleaned away before it joins, its joins are numbered under a name of this process, and it asks for
    work only when it knows its lease.
    """
    assert bench.worker.session is not None
    offer = bench.worker.session.offer
    assert (offer, offer.joins) == (replace(OFFER, life=offer.life, joins=1), 1)
    assert offer.life
    assert bench.guard.said == ["clean", "open s1"]
    assert bench.hub.calls[:3] == ["join", "heartbeat", "poll"]


async def test_work_is_run_and_reported(bench: Bench) -> None:
    """An assignment is started, its progress through the stages reported, its end too."""
    await bench.give(command("true"), chat(task_id="c1"))
    assert bench.worker.running == 2
    assert bench.hub.is_started("t1")

    bench.runner.end("t1")
    bench.runner.end("c1")
    await settle()

    assert bench.kinds() == {("t1", 1): None, ("c1", 1): None}
    assert bench.worker.running == 0


async def test_a_heartbeat_comes_three_times_a_lease(bench: Bench) -> None:
    """Each carries a report of the machine that was not sent before."""
    await bench.timing.advance(2 * LEASE_S + 0.1)

    assert len(bench.hub.beats) == 7
    times_ms = [report.at_ms for _, _, report in bench.hub.beats if report is not None]
    assert len(times_ms) >= 5
    assert sorted(set(times_ms)) == times_ms


async def test_a_machine_that_cannot_be_measured_still_works(bench: Bench) -> None:
    """A broken or hanging measurement takes nothing from the heartbeat."""
    bench.measuring.is_broken = True
    await bench.timing.advance(LEASE_S)
    bench.measuring.hangs = True
    await bench.timing.advance(LEASE_S)

    assert len(bench.hub.beats) == 7
    assert bench.hub.beats[-1][2] is None
    assert any("no such sensor" in note for note in bench.notes)


async def test_the_reaper_is_told_how_long_to_wait(bench: Bench) -> None:
    """Each acknowledged heartbeat gives the guard a window that ends before the lease does."""
    await bench.timing.advance(LEASE_S)

    assert bench.guard.windows_ms == [13_500] * 4


async def test_a_short_outage_costs_nothing(bench: Bench) -> None:
    """While the lease is good, attempts run on without the hub, and their ends wait for it."""
    await bench.give(command("true"), command("true", task_id="t2"))
    bench.hub.is_down = True
    await bench.timing.advance(4)
    bench.runner.end("t1")
    await bench.timing.advance(3)
    assert set(bench.runner.open) == {("t2", 1)}

    bench.hub.is_down = False
    await bench.timing.advance(5)

    assert bench.kinds() == {("t1", 1): None}
    assert bench.hub.calls.count("join") == 1


async def test_attempts_are_dead_before_the_lease_ends(bench: Bench) -> None:
    """When no heartbeat was acknowledged for most of the lease, the worker kills its attempts itself, before the hub
    gives them to somebody else.
    """
    await bench.timing.advance(0.1)
    await bench.give(command("true"))
    last_beat_ms = bench.hub.beats[-1][1]
    bench.hub.is_down = True

    for _ in range(200):
        if bench.runner.open:
            await bench.timing.advance(0.1)

    assert 0.7 * LEASE_S < (bench.timing.now_ms() - last_beat_ms) / 1000 < 0.9 * LEASE_S
    assert bench.guard.said[-1] == "rest"

    bench.hub.is_down = False
    await bench.timing.advance(10)
    assert bench.kinds() == {("t1", 1): FailureClass.WORKER_LOST}
    assert bench.hub.heard[-1][0] == "s2"


async def test_a_silent_hub_is_no_hub(bench: Bench) -> None:
    """Heartbeats that get no answer at all end the session as refused ones do."""
    await bench.give(command("true"))
    bench.hub.silent.add("heartbeat")

    await bench.timing.advance(LEASE_S)

    assert bench.runner.open == {}


async def test_a_lost_session_is_replaced(bench: Bench) -> None:
    """When the hub does not know the session any more, attempts are killed and the worker joins again."""
    await bench.give(command("true"))
    bench.hub.forget("s1")

    await bench.timing.advance(6)

    assert bench.runner.open == {}
    assert bench.worker.session is not None
    assert bench.worker.session.id == "s2"
    assert bench.kinds() == {("t1", 1): FailureClass.WORKER_LOST}
    assert any("s1 is lost" in note for note in bench.notes)


async def test_nothing_is_joined_while_something_still_dies(bench: Bench) -> None:
    """The worker joins again only when the last attempt of the lost session is dead."""
    await bench.give(command("true"))
    bench.runner.dies_slowly.clear()
    bench.hub.forget("s1")
    await bench.timing.advance(30)
    assert bench.hub.calls.count("join") == 1

    bench.runner.dies_slowly.set()
    await bench.timing.advance(1)

    assert bench.hub.calls.count("join") == 2


async def test_a_suspended_machine_has_lost_its_lease(bench: Bench) -> None:
    """After a sleep of the machine that outlasted the lease, attempts are killed within a second or so."""
    await bench.give(command("true"))

    bench.timing.jump(3_600)
    await bench.timing.advance(1.1)

    assert bench.runner.open == {}


async def test_work_that_comes_too_late_is_not_started(bench: Bench) -> None:
    """An answer that took longer than the lease brings no work, whoever else has it by now."""
    bench.timing.jump(3_600)

    with pytest.raises(SessionLostError):
        bench.worker._take("s1", Poll(assignments=(command("true"),)))

    assert bench.runner.runs == []


async def test_work_whose_lease_ended_before_it_began_is_not_begun(bench: Bench) -> None:
    """Accepted in time, and then the machine slept before it had its turn."""
    bench.worker._take("s1", Poll(assignments=(command("true"),)))
    bench.timing.jump(3_600)
    await bench.timing.advance(3)

    assert bench.runner.runs == []
    assert bench.hub.calls.count("join") == 2
    assert list(bench.kinds().values()) == [FailureClass.WORKER_LOST]


async def test_a_guard_that_is_gone_ends_the_session(bench: Bench) -> None:
    """Without the reaper nothing runs on: attempts are killed, and the next session has a new one."""
    await bench.give(command("true"))
    bench.guard.is_lost = True

    await bench.timing.advance(6)

    assert bench.runner.open == {}
    assert bench.guard.said == ["clean", "open s1", "rest", "open s2"]


async def test_a_wish_of_the_hub_is_obeyed(bench: Bench) -> None:
    """A cancelled attempt is killed and reported, and repeating the wish changes nothing."""
    await bench.give(command("true"))

    bench.hub.cancel("t1", 1)
    await bench.timing.advance(1)

    assert bench.kinds() == {("t1", 1): FailureClass.CANCELLED}
    assert bench.runner.open == {}


async def test_cancel_and_new_work_in_one_answer(bench: Bench) -> None:
    """The slot that a cancellation frees is taken by what came with it, one after the other."""
    await bench.give(chat(task_id="c1"))

    bench.hub.cancel("c1", 1)
    await bench.give(chat(task_id="c2"))
    await bench.timing.advance(1)

    assert set(bench.runner.open) == {("c2", 1)}
    assert bench.runner.most_open == 1


async def test_polling_does_not_spin(bench: Bench) -> None:
    """A hub that repeats itself at once is asked some times a second, not as fast as it can answer; one that says it
    shuts down, less often.
    """
    await bench.give(*(command("true", task_id=f"t{number}") for number in range(3)))
    bench.hub.calls.clear()
    await bench.timing.advance(1)
    assert 0 < bench.hub.calls.count("poll") <= 21

    bench.hub.drain = True
    await bench.timing.advance(1)
    bench.hub.calls.clear()
    await bench.timing.advance(5)
    assert 0 < bench.hub.calls.count("poll") <= 6


async def test_a_failing_poll_is_tried_again(bench: Bench) -> None:
    """Any trouble with a poll but a lost session is tried again later."""
    bench.hub.refusals["poll"] = [UnreachableError("away"), ConflictError("busy"), NotAllowedError("odd")]
    await bench.timing.advance(12)

    await bench.give(command("true"))

    assert set(bench.runner.open) == {("t1", 1)}


async def test_a_worker_the_hub_will_not_have_says_so() -> None:
    """A refused token is not tried for ever: the daemon ends with the hub's words, each time it is asked."""
    bench = Bench()
    bench.hub.refusals["join"] = [NotAllowedError("this token was revoked")]
    await bench.started()

    with pytest.raises(NotAllowedError, match="revoked"):
        await bench.worker.closed()
    with pytest.raises(NotAllowedError, match="revoked"):
        await bench.worker.stop()


async def test_a_mistake_in_the_daemon_leaves_nothing_running() -> None:
    """An error nobody foresaw ends the daemon, and its attempts with it."""

    class BrokenLink(FakeLink):
        async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
            if self._hub.is_started("t1"):
                raise ZeroDivisionError
            return await super().heartbeat(session_id, report)

    bench = Bench()
    bench.worker._link = BrokenLink(bench.hub)
    await bench.started()
    await bench.give(command("true"))

    await bench.timing.advance(LEASE_S)
    with pytest.raises(ZeroDivisionError):
        await bench.worker.closed()

    assert bench.runner.open == {}
    assert bench.guard.said[-1] == "close"


async def test_a_join_tells_what_is_still_to_be_told(bench: Bench) -> None:
    """Work that ended while the hub could not be heard is named when the daemon joins again: the hub may keep it for
    this daemon. What was reported is not.
    """
    bench.hub.give(command("true", task_id="told"))
    await bench.timing.advance(1)
    bench.runner.end("told", 1)
    await bench.timing.advance(1)
    bench.hub.give(command("true", task_id="untold"))
    await bench.timing.advance(1)
    bench.hub.is_down = True
    bench.runner.end("untold", 1)
    await bench.timing.advance(LEASE_S)
    bench.hub.is_down = False
    await bench.timing.advance(LEASE_S)

    assert [[held.task_id for held in offer.holds] for offer in bench.hub.offers] == [[], ["untold"]]
    assert bench.hub.ends()["untold", 1].ok
