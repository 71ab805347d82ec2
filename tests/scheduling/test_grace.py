"""Suspect before lost, back in time, back after a restart, and a hub that was itself away."""

from msgspec.structs import replace

from ostler.domain.fleet import Held, Session, WorkerOffer
from ostler.domain.policy import SchedulerPolicy
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, three_tiers

HEARTBEAT_MS, DEAD_MS = 5_000, 60_000


def graceful() -> Rig:
    """A rig with a heartbeat of 5 s and an end after 60 s."""
    rules = SchedulerPolicy(heartbeat_ms=HEARTBEAT_MS, session_dead_ms=DEAD_MS)
    return Rig(replace(three_tiers(), scheduler=rules))


def running(*names: str) -> tuple[Rig, str]:
    """A rig with one worker that runs these commands."""
    rig = graceful()
    session = rig.worker("w")
    for name in names:
        rig.command(name)
        rig.start(name)
    return rig, session


def offer(*holds: tuple[str, int], instance: str = "i1") -> WorkerOffer:
    """What the daemon of one lasting name says when it joins."""
    return WorkerOffer(
        name="w", host="w", slots={TaskKind.COMMAND: 4}, instance=instance, holds=tuple(Held(*key) for key in holds)
    )


def join(rig: Rig, offered: WorkerOffer, session_id: str = "s1") -> None:
    """A daemon joins, as the link does it: under the session of its lasting name when there is one."""
    known = rig.scheduler.books.workers.of_instance(offered.instance)
    name = known.session.id if known is not None else session_id
    session = Session(id=name, offer=offered, joined_ms=rig.now_ms, renewed_ms=rig.now_ms)
    rig.tell(sig.WorkerJoined(session=session))


def test_a_suspect_worker_keeps_what_it_has_and_gets_nothing_new() -> None:
    """Until its grace is over; what it holds is not given to anybody else."""
    rig, _ = running("a")
    rig.pass_ms(2 * HEARTBEAT_MS)
    (suspect,) = rig.named("worker.suspect")
    assert suspect.measurements == {"silent_ms": 10_000, "attempts": 1, "grace_ms": 50_000}
    rig.command("b")
    rig.pass_ms(DEAD_MS - 2 * HEARTBEAT_MS - 1)

    assert rig.state("a") is TaskState.RUNNING
    assert rig.state("b") is TaskState.QUEUED
    rig.pass_ms(1)
    assert rig.state("a") is TaskState.QUEUED
    assert len(rig.named("worker.lost")) == 1


def test_a_worker_that_is_heard_of_within_its_grace_goes_on() -> None:
    """At the last moment: nothing was taken back, it says so, and new work comes again."""
    rig, session = running("a")
    rig.command("b", worker="w")
    rig.start("b")
    rig.pass_ms(DEAD_MS - 1)
    rig.tell(sig.WorkerRenewed(session_id=session))

    (returned,) = rig.named("worker.returned")
    assert returned.measurements == {"silent_ms": DEAD_MS - 1, "attempts": 2}
    assert rig.named("task.reclaimed") == []
    rig.finish("a")
    rig.command("c")
    assert rig.state("a") is TaskState.SUCCEEDED
    assert rig.state("c") is TaskState.ASSIGNED


def test_a_daemon_that_comes_back_keeps_what_it_still_holds() -> None:
    """The others are taken back at once, not after the grace: nobody runs them any more."""
    rig = graceful()
    join(rig, offer())
    for name in "abc":
        rig.command(name)
        rig.start(name)
    rig.pass_ms(3_000)
    join(rig, offer(("a", 1), ("c", 1)))

    (resumed,) = rig.named("worker.resumed")
    assert resumed.measurements == {"adopted": 2, "taken_back": 1}
    assert [rig.rows[name].generation for name in "abc"] == [1, 2, 1]
    assert [rig.state(name) for name in "ac"] == [TaskState.RUNNING] * 2
    assert rig.stops == [], "there is nobody to stop it"
    assert len(rig.named("worker.joined")) == 1
    for name in "abc":
        rig.finish(name)
    assert {row.state for row in rig.rows.values()} == {TaskState.SUCCEEDED}


def test_a_daemon_that_comes_back_is_told_again_what_to_end() -> None:
    """What was cancelled while no daemon lived, and what it holds and should not: nobody had been told."""
    rig = graceful()
    join(rig, offer())
    for name in "ab":
        rig.command(name)
        rig.start(name)
    rig.tell(sig.Cancel(task_id="a", reason="enough"))
    before = len(rig.stops)
    join(rig, offer(("a", 1), ("b", 1), ("gone", 4)))

    assert [(stop.task_id, stop.generation) for stop in rig.stops[before:]] == [("a", 1), ("gone", 4)]
    assert rig.state("b") is TaskState.RUNNING
    rig.finish("b")


def test_an_attempt_of_another_generation_is_not_adopted() -> None:
    """What was given to somebody else meanwhile stays there."""
    rig = graceful()
    join(rig, offer())
    rig.command("a")
    rig.start("a")
    rig.pass_ms(DEAD_MS)
    other = rig.worker("other")
    rig.start("a")
    join(rig, offer(("a", 1)), "s9")

    assert rig.rows["a"].generation == 2
    assert rig.rows["a"].session == other
    assert rig.named("worker.resumed") == [], "its session had ended: it is a new one"


def test_two_machines_under_one_name_do_not_take_over_from_each_other() -> None:
    """A lasting name is of one daemon; the name that people give may be used twice."""
    rig = graceful()
    join(rig, offer(instance="here"), "s1")
    rig.command("a")
    rig.start("a")
    join(rig, offer(instance="there"), "s2")

    assert rig.state("a") is TaskState.RUNNING
    assert len(rig.named("worker.joined")) == 2


def test_a_daemon_without_a_lasting_name_is_always_new() -> None:
    """An empty name means nobody."""
    rig = graceful()
    join(rig, offer(instance=""), "s1")
    join(rig, offer(instance=""), "s2")

    assert len(rig.scheduler.books.workers) == 2


def test_what_a_daemon_held_is_not_kept_with_its_session() -> None:
    """It was true at the join only."""
    rig = graceful()
    join(rig, offer(("a", 1)))

    assert rig.scheduler.books.workers.states["s1"].session.offer.holds == ()


def test_a_hub_that_was_paused_blames_nobody() -> None:
    """An hour of suspend: the workers called all the time. Each has its whole grace from the moment the hub is back."""
    rig, session = running("a")
    rig.now_ms += 3_600_000
    rig.tell(sig.Wake())

    (stalled,) = rig.named("hub.stalled")
    assert stalled.measurements == {"stalled_ms": 3_600_000 - 2 * HEARTBEAT_MS, "workers": 1}
    assert rig.named("worker.lost") == rig.named("worker.suspect") == []
    rig.pass_ms(DEAD_MS - 1)
    assert rig.state("a") is TaskState.RUNNING
    rig.tell(sig.WorkerRenewed(session_id=session))
    assert rig.named("worker.lost") == []


def test_a_worker_that_is_dead_indeed_is_lost_after_the_pause() -> None:
    """The pause costs one grace, not for ever."""
    rig, _ = running("a")
    rig.now_ms += 3_600_000
    rig.tell(sig.Wake())
    rig.pass_ms(DEAD_MS)

    assert len(rig.named("worker.lost")) == 1


def test_a_pause_in_the_middle_of_a_grace_is_noticed() -> None:
    """The hub looks at a suspect worker with each heartbeat, so a pause is never taken for its silence."""
    rig, _ = running("a")
    rig.pass_ms(3 * HEARTBEAT_MS + 1)
    rig.now_ms += DEAD_MS
    rig.tell(sig.Wake())

    assert len(rig.named("hub.stalled")) == 1
    assert rig.named("worker.lost") == []


def test_a_first_signal_after_a_pause_does_not_end_a_worker_either() -> None:
    """Whatever comes first: the pause is seen before anything is made of it."""
    rig, _ = running("a")
    rig.now_ms += 3_600_000
    rig.command("b")

    assert rig.named("worker.lost") == []
    assert rig.state("a") is TaskState.RUNNING


def test_a_start_that_the_hub_could_not_hear_of_is_waited_for_again() -> None:
    """The term for a start begins anew after a pause, too."""
    rig = graceful()
    rig.worker("w")
    rig.command("a")
    rig.now_ms += 3_600_000
    rig.tell(sig.Wake())

    assert rig.state("a") is TaskState.ASSIGNED
    assert rig.rows["a"].generation == 1
    rig.start("a")
    assert rig.state("a") is TaskState.RUNNING


def test_a_clock_that_is_put_back_keeps_no_dead_worker_alive() -> None:
    """By ten minutes, once: the term begins anew from the new time, it does not last ten minutes longer."""
    rig, _ = running("a")
    rig.now_ms -= 600_000
    rig.tell(sig.Wake())
    rig.pass_ms(DEAD_MS)

    assert len(rig.named("worker.lost")) == 1


def test_a_small_delay_is_no_pause() -> None:
    """A busy machine is late now and then; that is part of the term."""
    rig, _ = running("a")
    rig.pass_ms(2 * HEARTBEAT_MS - 1)
    rig.now_ms += HEARTBEAT_MS
    rig.tell(sig.Wake())

    assert rig.named("hub.stalled") == []
    assert len(rig.named("worker.suspect")) == 1


def test_a_worker_is_judged_by_the_heartbeat_it_was_told() -> None:
    """A profile with shorter heartbeats holds for it from its next join on; until then it is not called silent."""
    rig = graceful()
    told = Session(id="s1", offer=offer(), joined_ms=rig.now_ms, renewed_ms=rig.now_ms, heartbeat_ms=20_000)
    rig.tell(sig.WorkerJoined(session=told))
    rig.pass_ms(39_999)
    assert rig.named("worker.suspect") == []
    rig.pass_ms(1)

    assert len(rig.named("worker.suspect")) == 1
