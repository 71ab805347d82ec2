"""What becomes of attempts: retries, dead letters, sideways, upward, late reports, lost workers."""

import msgspec
import pytest

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.fleet import BreakerState, Health, Probe, ProbeStatus
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import Complexity
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, cloud, local


def busy() -> Rig:
    """One local endpoint, one cloud, one worker."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=4))
    rig.up(cloud(), models=("claude",))
    return rig


def test_a_good_attempt_goes_through_every_state_once() -> None:
    """queued, assigned, running, evaluating, succeeded: each with its event."""
    rig = busy()
    rig.chat("t")
    rig.start("t")
    rig.finish("t")

    names = [event.name for event in rig.events if event.task_id == "t" and event.name.startswith("task.")]
    assert names == ["task.submitted", "task.assigned", "task.started", "task.evaluating", "task.succeeded"]
    assert rig.scheduler.books.in_flight == {}
    assert rig.scheduler.books.tasks == {}


def test_three_failed_attempts_make_a_dead_letter_with_the_reason() -> None:
    """With growing delays between them."""
    rig = busy()
    rig.command("t")
    for delay_ms in (2_000, 4_000):
        rig.finish("t", FailureClass.COMMAND, "exit code 1")
        assert rig.state("t") is TaskState.RETRY_WAIT
        rig.pass_ms(delay_ms - 1)
        assert rig.state("t") is TaskState.RETRY_WAIT
        rig.pass_ms(1)
        assert rig.state("t") is TaskState.ASSIGNED
    rig.finish("t", FailureClass.COMMAND, "exit code 1")

    assert rig.state("t") is TaskState.DEAD_LETTER
    failure = rig.rows["t"].failure
    assert failure is not None
    assert "3 of 3 attempts" in failure.message
    assert "exit code 1" in failure.message


def test_an_outage_does_not_use_up_an_attempt_and_goes_elsewhere_at_once() -> None:
    """Sideways: the next choice leaves the failed endpoint out."""
    rig = busy()
    rig.up(local("gpu2", slots=4))
    rig.chat("t")
    first = rig.rows["t"].endpoint
    rig.finish("t", FailureClass.NETWORK, "connection refused")

    assert rig.state("t") is TaskState.ASSIGNED
    assert rig.rows["t"].endpoint != first
    assert rig.rows["t"].attempts_used == 0
    assert rig.rows["t"].attempts_lost == 1
    assert rig.probes == [first]


def test_lost_attempts_are_bounded() -> None:
    """Nothing loops for ever."""
    rig = busy()
    rig.command("t")
    for _ in range(10):
        rig.pass_ms(60_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
        if rig.state("t") is not TaskState.ASSIGNED:
            rig.worker()
        rig.finish("t", FailureClass.ENVIRONMENT, "no such program")

    assert rig.state("t") is TaskState.DEAD_LETTER


def test_the_same_error_three_times_moves_one_tier_up_with_a_fresh_budget() -> None:
    """Numbers and paths in the message do not hide the loop."""
    rig = busy()
    rig.chat("t")
    for attempt in range(3):
        assert rig.rows["t"].tier == "standard"
        rig.finish("t", FailureClass.VERIFICATION, f"test {attempt} failed in /tmp/run{attempt}")
        rig.pass_ms(60_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
        if rig.state("t") is TaskState.QUEUED:
            rig.worker("again")

    assert rig.rows["t"].tier == "complex"
    assert rig.rows["t"].attempts_used == 0
    assert rig.rows["t"].quality_steps == 1


def test_a_capability_failure_moves_up_at_once() -> None:
    """The model could not; another of the same kind would not either."""
    rig = busy()
    rig.chat("t")
    rig.finish("t", FailureClass.CAPABILITY, "no tool was called")

    assert rig.rows["t"].tier == "complex"


@pytest.mark.parametrize("kind", [FailureClass.AUTH, FailureClass.POLICY])
def test_what_a_person_must_decide_goes_to_a_person(kind: FailureClass) -> None:
    """Never routed around."""
    rig = busy()
    rig.chat("t")
    rig.finish("t", kind, "key refused")
    rig.pass_ms(60_000)

    assert rig.state("t") is TaskState.NEEDS_HUMAN


def test_a_refusal_is_final() -> None:
    """A content refusal is never tried elsewhere."""
    rig = busy()
    rig.chat("t")
    rig.finish("t", FailureClass.REFUSAL, "content filter")

    assert rig.state("t") is TaskState.FAILED


def test_a_rate_limit_is_obeyed_and_costs_no_attempt() -> None:
    """The endpoint is left alone until the instant it named."""
    rig = Rig()
    rig.worker()
    rig.up(cloud(), models=("claude",))
    rig.chat("t", Complexity.COMPLEX)
    rig.finish("t", FailureClass.RATE_LIMIT, "429", retry_after_ms=7_000)

    assert rig.state("t") is TaskState.QUEUED
    assert rig.rows["t"].attempts_used == 0
    rig.pass_ms(6_999)
    assert rig.state("t") is TaskState.QUEUED
    rig.pass_ms(1)
    assert rig.state("t") is TaskState.ASSIGNED


def test_a_breaker_opens_after_three_failures_and_lets_one_call_try() -> None:
    """Half open: one at a time, until one succeeds."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=4))
    for i in range(3):
        rig.chat(f"t{i}")
    for i in range(3):
        rig.finish(f"t{i}", FailureClass.SERVER, "500")
    view = rig.scheduler.books.endpoints.views["gpu"]
    assert view.breaker is BreakerState.OPEN
    rig.pass_ms(30_000)
    rig.tell(sig.WorkerRenewed(session_id="s1"))
    if not rig.scheduler.books.workers.states:
        rig.worker("again")

    running = [name for name, row in rig.rows.items() if row.state is TaskState.ASSIGNED]
    assert len(running) == 1
    rig.finish(running[0])
    assert rig.scheduler.books.endpoints.views["gpu"].breaker is BreakerState.CLOSED


def test_recovery_does_not_stampede() -> None:
    """Slots open one, two, four... with each success."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=8))
    rig.down("gpu")
    for i in range(12):
        rig.chat(f"t{i:02}")
    rig.up(local("gpu", slots=8))

    def running() -> list[str]:
        return sorted(name for name, row in rig.rows.items() if row.state is TaskState.ASSIGNED)

    assert len(running()) == 1
    rig.finish(running()[0])
    assert len(running()) == 2
    rig.finish(running()[0])
    assert len(running()) == 4


def test_a_report_of_an_older_attempt_is_kept_and_changes_nothing() -> None:
    """Generation fencing."""
    rig = busy()
    rig.command("t")
    session = rig.rows["t"].session or ""
    rig.start("t")
    rig.tell(sig.WorkerLeft(session_id=session))
    rig.worker("w2")
    assert rig.rows["t"].generation == 2
    rig.report_finished("t", 1, session)

    assert rig.state("t") is TaskState.ASSIGNED
    (late,) = rig.late
    assert late.generation == 1
    rig.finish("t")
    assert rig.state("t") is TaskState.SUCCEEDED


def test_a_repeated_report_is_harmless() -> None:
    """A worker that heard no answer says it again."""
    rig = busy()
    rig.chat("t")
    session, generation = rig.rows["t"].session or "", rig.rows["t"].generation
    rig.finish("t")
    rig.report_finished("t", generation, session)

    assert rig.state("t") is TaskState.SUCCEEDED
    assert rig.scheduler.books.in_flight == {}


def test_a_silent_worker_is_suspect_then_dead_and_its_work_runs_elsewhere() -> None:
    """Suspect after two heartbeats, dead after fifteen seconds."""
    rig = Rig()
    rig.worker("w1")
    rig.command("t")
    rig.start("t")
    rig.pass_ms(10_000)
    assert [event.metadata["worker"] for event in rig.named("worker.suspect")] == ["w1"]
    rig.pass_ms(4_999)
    assert rig.state("t") is TaskState.RUNNING
    rig.worker("w2")
    rig.pass_ms(1)

    assert rig.named("worker.lost")
    assert rig.rows["t"].worker == "w2"
    assert rig.rows["t"].attempts_used == 0


def test_a_suspect_worker_gets_nothing_new_until_it_is_heard() -> None:
    """A heartbeat clears it."""
    rig = Rig()
    session = rig.worker("w1")
    rig.pass_ms(10_000)
    rig.command("t")
    assert rig.state("t") is TaskState.QUEUED
    rig.tell(sig.WorkerRenewed(session_id=session))

    assert rig.state("t") is TaskState.ASSIGNED


def test_an_assignment_that_nobody_starts_is_taken_back() -> None:
    """The answer to the poll was lost on the way."""
    rig = Rig()
    session = rig.worker("w1")
    rig.command("t")
    for _ in range(60):
        rig.pass_ms(1_000)
        rig.tell(sig.WorkerRenewed(session_id=session))

    assert rig.rows["t"].generation == 2
    assert rig.stops[0].generation == 1


def test_cancelling_a_running_task_stops_it_at_its_worker() -> None:
    """It is cancelled when the worker confirms; whatever the worker says, the reason is the person's."""
    rig = Rig()
    rig.worker()
    rig.command("t")
    rig.start("t")
    rig.tell(sig.Cancel(task_id="t", reason="not needed"))
    assert rig.state("t") is TaskState.RUNNING
    assert [(stop.task_id, stop.generation) for stop in rig.stops] == [("t", 1)]
    rig.finish("t", FailureClass.COMMAND, "killed")

    assert rig.state("t") is TaskState.CANCELLED
    failure = rig.rows["t"].failure
    assert failure is not None
    assert failure.message == "not needed"


def test_a_worker_that_does_not_confirm_is_not_waited_for() -> None:
    """After the grace the task is cancelled and the slot is free."""
    rig = Rig()
    session = rig.worker(command=1)
    rig.command("t")
    rig.start("t")
    rig.tell(sig.Cancel(task_id="t"))
    for _ in range(15):
        rig.pass_ms(1_000)
        rig.tell(sig.WorkerRenewed(session_id=session))

    assert rig.state("t") is TaskState.CANCELLED
    rig.command("u")
    assert rig.state("u") is TaskState.ASSIGNED


def test_a_task_that_succeeded_while_being_cancelled_has_succeeded() -> None:
    """The worker was faster."""
    rig = Rig()
    rig.worker()
    rig.command("t")
    rig.start("t")
    rig.tell(sig.Cancel(task_id="t"))
    rig.finish("t")

    assert rig.state("t") is TaskState.SUCCEEDED
    rig.pass_ms(60_000)
    assert rig.state("t") is TaskState.SUCCEEDED


def test_a_refused_assignment_is_decided_again_on_the_stored_row() -> None:
    """No slot leaks, nothing is lost."""
    rig = Rig()
    rig.worker(command=1)
    (name,) = ["t"]
    rig.rows.clear()
    rig.refuse_next.add(name)
    rig.command(name)

    assert len(rig.named("scheduler.refused")) == 1
    assert rig.state(name) is TaskState.ASSIGNED
    assert rig.scheduler.books.workers.states["s1"].attempts == {"t": 1}


def test_wishes_about_unknown_or_ended_tasks_are_refused() -> None:
    """With nothing changed."""
    rig = Rig()
    rig.worker()
    with pytest.raises(NotFoundError):
        rig.tell(sig.Cancel(task_id="nobody"))
    rig.command("t")
    rig.finish("t")
    with pytest.raises(ConflictError):
        rig.tell(sig.Retry(task=rig.rows["t"]))


def test_a_retried_task_starts_with_a_fresh_budget() -> None:
    """By hand, from the dead letter."""
    rig = Rig()
    rig.worker()
    rig.command("t", max_attempts=1)
    rig.finish("t", FailureClass.COMMAND)
    assert rig.state("t") is TaskState.DEAD_LETTER
    rig.tell(sig.Retry(task=rig.rows["t"]))

    assert rig.state("t") is TaskState.ASSIGNED
    assert rig.rows["t"].generation == 2
    assert rig.rows["t"].attempts_used == 0


def test_a_key_that_is_refused_takes_the_endpoint_out() -> None:
    """No other task runs into the same wall."""
    rig = busy()
    rig.chat("t", Complexity.COMPLEX)
    rig.finish("t", FailureClass.AUTH, "401")
    rig.chat("u", Complexity.COMPLEX)

    assert rig.state("u") is TaskState.QUEUED
    rig.probe("anthropic", ProbeStatus.AVAILABLE, models=("claude",))
    assert rig.state("u") is TaskState.ASSIGNED


def test_a_listing_that_times_out_during_our_own_call_is_no_outage() -> None:
    """Some engines list nothing while they generate; a refused connection counts all the same."""
    rig = busy()
    rig.chat("t")
    name = rig.rows["t"].endpoint or ""
    late = Probe(endpoint=name, status=ProbeStatus.UNAVAILABLE, at_ms=rig.now_ms, timed_out=True)
    for _ in range(5):
        rig.tell(sig.Probed(probe=late))
    assert rig.scheduler.books.endpoints.views[name].health is Health.UP
    rig.finish("t")
    for _ in range(2):
        rig.tell(sig.Probed(probe=late))
    assert rig.scheduler.books.endpoints.views[name].health is Health.DOWN
    rig.up(local("gpu", slots=4))
    rig.chat("u")
    rig.down(rig.rows["u"].endpoint or "")
    assert rig.scheduler.books.endpoints.views["gpu"].health is Health.DOWN


def test_a_local_engine_serves_only_declared_models_that_it_lists() -> None:
    """One that lists others would answer with another model in silence; a cloud lists less than it takes."""
    rig = Rig()
    rig.worker()
    rig.up(msgspec.structs.replace(local("gpu"), models=("qwen",)), models=("other",))
    rig.up(cloud(), models=("dated-name",))
    rig.chat("t")
    rig.chat("u", Complexity.COMPLEX)

    assert rig.state("t") is TaskState.QUEUED
    assert rig.scheduler.books.endpoints.unlisted("gpu") == ("qwen",)
    assert rig.state("u") is TaskState.ASSIGNED
