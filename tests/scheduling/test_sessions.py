"""The life of a worker session to the millisecond, and taking over every state after a restart."""

import msgspec
import pytest

from ostler.domain.commands import DropSession, PutSessions, UpdateTask
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.policy import SchedulerPolicy
from ostler.domain.states import FINAL_STATES, FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Complexity, Task, TaskKind, TaskSpec
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Apply
from tests.scheduling.rig import HandClock, Rig, cloud, local, three_tiers


def with_terms(heartbeat_ms: int, dead_ms: int) -> Rig:
    """A scheduler with such terms for its workers."""
    rules = SchedulerPolicy(heartbeat_ms=heartbeat_ms, session_dead_ms=dead_ms)
    return Rig(msgspec.structs.replace(three_tiers(), scheduler=rules))


@pytest.mark.parametrize(("heartbeat_ms", "dead_ms"), [(5_000, 15_000), (1_000, 30_000), (5_000, 10_001)])
def test_suspect_after_two_heartbeats_and_dead_after_the_term(heartbeat_ms: int, dead_ms: int) -> None:
    """Neither a millisecond early; each said once, with how long it was silent."""
    rig = with_terms(heartbeat_ms, dead_ms)
    rig.worker("w")
    rig.command("t")
    rig.pass_ms(2 * heartbeat_ms - 1)
    assert rig.named("worker.suspect") == []
    rig.pass_ms(1)
    (suspect,) = rig.named("worker.suspect")
    assert suspect.measurements == {
        "silent_ms": 2 * heartbeat_ms,
        "attempts": 1,
        "grace_ms": dead_ms - 2 * heartbeat_ms,
    }
    assert suspect.metadata == {"session": "s1", "worker": "w", "host": "w"}
    rig.pass_ms(dead_ms - 2 * heartbeat_ms - 1)
    assert rig.named("worker.lost") == []
    rig.pass_ms(1)
    (lost,) = rig.named("worker.lost")
    assert lost.measurements == {"attempts": 1}
    rig.pass_ms(10 * dead_ms)

    assert len(rig.named("worker.suspect")) == len(rig.named("worker.lost")) == 1
    assert Apply(command=DropSession(session_id="s1")) in rig.effects


@pytest.mark.parametrize(("heartbeat_ms", "dead_ms"), [(5_000, 8_000), (5_000, 10_000)])
def test_a_short_term_is_kept_even_before_a_worker_would_be_suspect(heartbeat_ms: int, dead_ms: int) -> None:
    """The term is what a worker was promised: it stops its attempts then, and others may start them."""
    rig = with_terms(heartbeat_ms, dead_ms)
    rig.worker("w")
    rig.pass_ms(dead_ms - 1)
    assert rig.named("worker.lost") == []
    rig.pass_ms(1)

    assert len(rig.named("worker.lost")) == 1
    assert len(rig.scheduler.books.workers) == 0


def test_a_lease_of_its_own_replaces_the_term() -> None:
    """A session that says how long it may be silent is suspect like any other, lost neither before nor after that, and
    the hub's answer to its silence tells what is left of it; the sessions beside it keep the term of all.
    """
    rig = with_terms(5_000, 15_000)
    rig.worker("other")
    offer = WorkerOffer(name="inside", host="inside", slots={TaskKind.COMMAND: 1}, builtin=True)
    rig.tell(sig.WorkerJoined(session=Session(id="s9", offer=offer, joined_ms=0, renewed_ms=0, lease_ms=60_000)))
    rig.pass_ms(10_000)
    grace = {event.metadata["worker"]: event.measurements["grace_ms"] for event in rig.named("worker.suspect")}
    assert grace == {"inside": 50_000, "other": 5_000}
    rig.pass_ms(49_999)
    assert [event.metadata["worker"] for event in rig.named("worker.lost")] == ["other"]
    rig.pass_ms(1)
    assert [event.metadata["worker"] for event in rig.named("worker.lost")] == ["other", "inside"]


def test_each_heartbeat_starts_the_term_anew() -> None:
    """For ever, with nothing said."""
    rig = with_terms(5_000, 15_000)
    session = rig.worker()
    for _ in range(20):
        rig.pass_ms(9_999)
        rig.tell(sig.WorkerRenewed(session_id=session))
    assert rig.named("worker.suspect") == []
    rig.pass_ms(10_000)
    assert len(rig.named("worker.suspect")) == 1
    rig.tell(sig.WorkerRenewed(session_id=session))
    rig.pass_ms(10_000)

    assert len(rig.named("worker.suspect")) == 2, "suspect again, after it had been heard"
    assert rig.named("worker.lost") == []


def test_a_heartbeat_keeps_the_newest_report_of_the_machine() -> None:
    """One without a report leaves the last one; one of an unknown session changes nothing."""
    rig = Rig()
    session = rig.worker("w")
    report = HostReport(host="w", at_ms=rig.now_ms, cpu_percent=10.0)
    rig.tell(sig.WorkerRenewed(session_id=session, report=report))
    rig.tell(sig.WorkerRenewed(session_id=session))
    assert rig.scheduler.books.snapshot(rig.now_ms).reports == {"w": report}
    assert rig.tell(sig.WorkerRenewed(session_id="nobody", report=report)) == []
    assert rig.tell(sig.WorkerLeft(session_id="nobody")) == []


def test_a_joined_session_is_stored_and_one_that_left_is_dropped() -> None:
    """So a restart knows who may still come back."""
    rig = Rig()
    session = rig.worker("w")
    rig.tell(sig.WorkerLeft(session_id=session))

    commands = [effect.command for effect in rig.effects if isinstance(effect, Apply)]
    (put, drop) = commands
    assert isinstance(put, PutSessions)
    assert put.sessions[0].id == session
    assert drop == DropSession(session_id=session)
    assert [event.name for event in rig.events] == ["worker.joined", "worker.left"]


def test_what_a_killed_worker_ran_is_given_out_at_once() -> None:
    """Its companion says that nothing of it lives: nobody waits for the end of the lease, and it is told as a loss."""
    rig = Rig()
    session = rig.worker("w")
    rig.command("t")
    rig.start("t")
    other = rig.worker("other")

    rig.tell(sig.WorkerLeft(session_id=session, died=True))

    assert (rig.state("t"), rig.rows["t"].session) == (TaskState.ASSIGNED, other)
    (lost,) = rig.named("worker.lost")
    assert lost.measurements == {"attempts": 1}
    assert rig.named("worker.left") == []


def test_the_record_of_an_attempt_that_was_lost_for_the_last_time_says_how_it_ended() -> None:
    """It is not under way for ever, and does not count against the task."""
    rig = Rig()
    rig.command("t")
    for _ in range(10):
        rig.pass_ms(30_000)
        session = rig.worker()
        rig.start("t")
        rig.tell(sig.WorkerLeft(session_id=session))
    assert rig.state("t") is TaskState.DEAD_LETTER

    last = attempts(rig)["t", rig.rows["t"].generation]
    assert (last.ok, last.finished_ms, last.counted) == (False, rig.rows["t"].finished_ms, False)


def test_the_record_of_an_attempt_whose_worker_never_confirmed_the_stop_says_so() -> None:
    """The task is cancelled; its attempt is not shown as under way."""
    rig = Rig()
    session = rig.worker()
    rig.command("t")
    rig.start("t")
    rig.tell(sig.Cancel(task_id="t", reason="enough"))
    for _ in range(15):
        rig.pass_ms(1_000)
        rig.tell(sig.WorkerRenewed(session_id=session))
    assert rig.state("t") is TaskState.CANCELLED

    last = attempts(rig)["t", 1]
    assert (last.ok, last.counted) == (False, False)
    assert last.failure is not None
    assert last.failure.kind is FailureClass.CANCELLED


def attempts(rig: Rig) -> dict[tuple[str, int], Attempt]:
    """The records of attempts as the store has them."""
    found: dict[tuple[str, int], Attempt] = {}
    for effect in rig.effects:
        command = getattr(effect, "command", None)
        if isinstance(command, UpdateTask) and command.attempt is not None:
            found[command.attempt.task_id, command.attempt.generation] = command.attempt
    return found


# -- restart -----------------------------------------------------------------------------------------------------------


def restarted(
    rig: Rig, *, builtin: bool = False, settled: dict[str, bool] | None = None, alone: bool = True, lease_ms: int = 0
) -> Session:
    """A new scheduler over the rows of the old one, with one session that was joined before."""
    offer = WorkerOffer(name="w1", host="w1", slots={TaskKind.COMMAND: 4, TaskKind.CHAT: 4}, builtin=builtin)
    session = Session(id="s1", offer=offer, joined_ms=rig.now_ms, renewed_ms=rig.now_ms, lease_ms=lease_ms)
    rig.scheduler = Scheduler(rig.policy, HandClock())
    rig.events.clear()
    tasks = tuple(row for row in rig.rows.values() if row.state not in FINAL_STATES)
    rig.tell(sig.Restored(tasks=tasks, sessions=(session,), settled=settled or {}, alone=alone))
    return session


def in_state(state: TaskState) -> Rig:
    """A rig whose task `t` is in a state that is not final."""
    rig = Rig()
    if state is TaskState.QUEUED:
        rig.command("t", requires=["rare"])
        return rig
    rig.worker()
    rig.command("t", not_before_ms=rig.now_ms + 60_000 if state is TaskState.SCHEDULED else None)
    if state in (TaskState.RUNNING, TaskState.EVALUATING):
        rig.start("t")
    if state is TaskState.EVALUATING:
        row = rig.rows["t"]
        rig.rows["t"] = msgspec.structs.replace(row, state=state, prev_state=row.state)
    elif state is TaskState.RETRY_WAIT:
        rig.finish("t", FailureClass.COMMAND)
    elif state is TaskState.NEEDS_HUMAN:
        rig.finish("t", FailureClass.POLICY)
    return rig


OPEN_STATES = [state for state in TaskState if state not in FINAL_STATES]


@pytest.mark.parametrize("builtin", [False, True])
@pytest.mark.parametrize("state", OPEN_STATES)
def test_every_state_goes_on_after_a_restart(state: TaskState, builtin: bool) -> None:
    """What is leased to a worker elsewhere stays with it; the worker inside died, and its attempt is taken back."""
    rig = in_state(state)
    assert rig.state("t") is state
    session = restarted(rig, builtin=builtin)
    leased = state in (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.EVALUATING)
    if leased and builtin:
        assert rig.state("t") is TaskState.QUEUED
        assert rig.rows["t"].attempts_used == 0
        assert [event.metadata["reason"] for event in rig.named("task.reclaimed")] == [
            "the hub restarted and its worker with it"
        ]
        assert Apply(command=DropSession(session_id=session.id)) in rig.effects
    else:
        assert rig.state("t") is state
    held = {} if builtin or not leased else {"t": rig.rows["t"].generation}
    assert {name: state.attempts for name, state in rig.scheduler.books.workers.states.items()} == (
        {} if builtin else {"s1": held}
    )
    rig.worker("new", capabilities=("rare",))
    if state is TaskState.NEEDS_HUMAN:
        rig.tell(sig.Retry(task=rig.rows["t"]))
    for _ in range(9):
        rig.pass_ms(9_000)
        for name in rig.scheduler.books.workers.states:
            if name != "s1" or state is not TaskState.EVALUATING:
                rig.tell(sig.WorkerRenewed(session_id=name))
    rig.finish("t")

    assert rig.state("t") is TaskState.SUCCEEDED


@pytest.mark.parametrize("state", [TaskState.ASSIGNED, TaskState.RUNNING])
def test_what_the_worker_inside_another_hub_ran_is_waited_for_as_long_as_that_may_go_on(state: TaskState) -> None:
    """The hub before may be frozen. Its worker gets nothing new meanwhile; who joins does."""
    rig = in_state(state)
    session = restarted(rig, builtin=True, alone=False, lease_ms=6_000)
    rig.command("new")
    assert (rig.state("t"), rig.state("new")) == (state, TaskState.QUEUED)
    assert rig.scheduler.books.workers.states[session.id].suspect
    rig.pass_ms(5_999)
    assert rig.state("t") is state
    assert rig.state("new") is TaskState.QUEUED
    rig.pass_ms(1)
    assert rig.state("t") is TaskState.QUEUED
    assert [event.metadata["worker"] for event in rig.named("worker.lost")] == ["w1"]
    assert Apply(command=DropSession(session_id=session.id)) in rig.effects


def test_the_lease_of_a_hub_that_was_alone_does_not_outlive_its_store() -> None:
    """Tasks that were moved from a hub that was alone to one of several wait for its worker no longer than for any."""
    rig = in_state(TaskState.RUNNING)
    restarted(rig, builtin=True, alone=False, lease_ms=30 * 24 * 3_600_000)
    rig.pass_ms(14_999)
    assert rig.state("t") is TaskState.RUNNING
    rig.pass_ms(1)
    assert rig.state("t") is TaskState.QUEUED
    assert len(rig.named("worker.lost")) == 1


def test_a_restored_assignment_that_nobody_starts_is_taken_back_after_its_term() -> None:
    """The mail was lost with the old process."""
    rig = in_state(TaskState.ASSIGNED)
    restarted(rig)
    for _ in range(59):
        rig.pass_ms(1_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
    assert rig.rows["t"].generation == 1
    rig.pass_ms(1_000)

    assert rig.rows["t"].generation == 2


def test_a_session_that_does_not_come_back_after_a_restart_is_dead_after_a_full_term() -> None:
    """Counted from the start of the new process: the worker could not reach the old one."""
    rig = in_state(TaskState.RUNNING)
    rig.now_ms += 3_600_000
    restarted(rig)
    rig.pass_ms(14_999)
    assert rig.state("t") is TaskState.RUNNING
    rig.pass_ms(1)

    assert rig.state("t") is TaskState.QUEUED
    assert len(rig.named("worker.lost")) == 1


def test_a_restart_does_not_prolong_the_time_to_live_of_what_waits() -> None:
    """It counts from when the task became eligible, whatever reason it waits for now."""
    rig = Rig()
    rig.chat("t", requires=["rare"])
    assert rig.wait_code("t") == "no_worker"
    rig.pass_ms(500_000)
    restarted(rig)
    rig.pass_ms(99_999)
    assert rig.state("t") is TaskState.QUEUED
    rig.pass_ms(1)

    assert rig.state("t") is TaskState.EXPIRED


@pytest.mark.parametrize(
    ("met", "state"), [(True, TaskState.ASSIGNED), (False, TaskState.CANCELLED), (None, TaskState.CANCELLED)]
)
def test_needs_on_tasks_that_ended_before_the_restart_are_settled(met: bool | None, state: TaskState) -> None:
    """Met ones free the task, others end it with the reason."""
    rig = Rig()
    rig.rows["t"] = _waiting_for(rig, "gone")
    restarted(rig, settled={} if met is None else {"gone": met})

    assert rig.state("t") is state
    if state is TaskState.CANCELLED:
        failure = rig.rows["t"].failure
        assert failure is not None
        assert "needs gone" in failure.message


def _waiting_for(rig: Rig, needed: str) -> Task:
    rig.command("t")
    wait = Wait(code=WaitCode.DEPS, since_ms=rig.now_ms, detail=f"needs {needed}")
    return msgspec.structs.replace(rig.rows["t"], needs=(needed,), wait=wait, eligible_ms=None)


@pytest.mark.parametrize(("optional", "state"), [(True, TaskState.ASSIGNED), (False, TaskState.CANCELLED)])
def test_an_attempt_that_the_restart_itself_ends_for_good_settles_what_needs_it(
    optional: bool, state: TaskState
) -> None:
    """The tenth attempt that is lost ends its task; whoever needs it is known by then."""
    rig = Rig()
    rig.worker()
    rig.submit(
        TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("true",), optional=optional),
        TaskSpec(id="b", kind=TaskKind.COMMAND, argv=("true",), needs=("a",)),
    )
    rig.rows["a"] = msgspec.structs.replace(rig.rows["a"], attempts_lost=9)
    restarted(rig, builtin=True)
    rig.worker()

    assert rig.state("a") is TaskState.DEAD_LETTER
    assert rig.state("b") is state


def test_needs_on_open_tasks_are_taken_up_whatever_their_state() -> None:
    """On one that runs elsewhere, and on one that waits itself."""
    rig = Rig()
    rig.worker()
    rig.submit(
        TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("true",)),
        TaskSpec(id="b", kind=TaskKind.COMMAND, argv=("true",), needs=("a",)),
        TaskSpec(id="c", kind=TaskKind.COMMAND, argv=("true",), needs=("b",)),
    )
    rig.start("a")
    restarted(rig)
    for name in "abc":
        assert rig.state(name) is not TaskState.CANCELLED
        rig.finish(name)

    assert {row.state for row in rig.rows.values()} == {TaskState.SUCCEEDED}


def test_a_paused_task_is_paused_after_a_restart() -> None:
    """What a person said outlives the process."""
    rig = Rig()
    rig.command("t")
    rig.tell(sig.Pause(task_id="t"))
    restarted(rig)

    assert rig.wait_code("t") == "paused"
    rig.tell(sig.Resume(task_id="t"))
    assert rig.state("t") is TaskState.ASSIGNED


def test_slots_of_restored_attempts_are_taken() -> None:
    """The endpoint is not given more than it has because the hub was away."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=1))
    rig.up(cloud(), models=("claude",))
    rig.chat("t")
    rig.start("t")
    restarted(rig)
    rig.up(local("gpu", slots=1))
    rig.chat("u", Complexity.STANDARD)

    assert rig.scheduler.books.in_flight == {"gpu": 1}
    assert rig.wait_code("u") == "capacity"
    rig.finish("t")
    assert rig.rows["u"].endpoint == "gpu"
