"""Tests of the attempts of a worker: slots, order, repetition, limits of time; runners are played by hand."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostler.domain.errors import NotAllowedError
from ostler.domain.states import FailureClass, Outcome
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Assignment, Finished, Report, Started
from ostler.workers import attempts
from ostler.workers.attempts import Abilities, AttemptPool
from ostler.workers.book import Entry
from ostler.workers.commands import CommandHost
from ostler.workers.guard import NoGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.verification import Verifier
from tests.workers.played import PlayedRunner
from tests.workers.timing_by_hand import HandTiming, settle
from tests.workers.work_made import OFFER, chat, command

ANYTHING = WorkerRules(kinds=frozenset(TaskKind), commands=("*",))


class Pool:
    """A pool with two slots for commands and one for chats, and everything it reports."""

    def __init__(self, *, rules: WorkerRules = ANYTHING, verifier: Verifier | None = None) -> None:
        self.timing = HandTiming()
        self.has_right = True
        self.reports: list[Report] = []
        self.runner = PlayedRunner()
        abilities = Abilities(
            rules=rules,
            runners={TaskKind.COMMAND: self.runner, TaskKind.CHAT: self.runner},
            verifier=verifier,
        )
        self.pool = AttemptPool(
            abilities,
            OFFER.slots,
            identity="me",
            timing=self.timing,
            emit=self.reports.append,
            has_right=lambda: self.has_right,
        )

    async def start(self, *assignments: Assignment) -> list[bool]:
        news = [self.pool.start(assignment, "s1") for assignment in assignments]
        await settle()
        return news

    @property
    def ends(self) -> list[tuple[str, int, FailureClass | None]]:
        """The ends reported so far."""
        return [
            (report.task_id, report.generation, report.failure.kind if report.failure else None)
            for report in self.reports
            if isinstance(report, Finished)
        ]


@pytest.mark.parametrize("turns", range(4))
async def test_what_was_accepted_begins_only_with_the_right_to_run(turns: int) -> None:
    """However few turns lie between an assignment and the end of the lease: it runs under it, or it never began, is
    told as lost and leaves its slot. A frozen daemon goes on wherever it was, and others may have its work by then.
    """
    pool = Pool()
    for number in range(3):
        pool.pool.start(command("true", task_id=f"t{number}"), "s1")
    for _ in range(turns):
        await asyncio.sleep(0)
    begun = len(pool.runner.runs)
    pool.has_right = False
    await settle()

    assert len(pool.runner.runs) == begun
    running = {run.key for run in pool.runner.runs}
    assert not any(run.has_right() for run in pool.runner.runs), "what they begin elsewhere is under the same lease"
    assert {report.task_id for report in pool.reports if isinstance(report, Started)} == {task for task, _ in running}
    for key in sorted(running):
        pool.runner.end(*key)
        await settle()
    ended = {(task, generation): kind for task, generation, kind in pool.ends}
    assert len(ended) == 3
    assert {key for key, kind in ended.items() if kind is FailureClass.WORKER_LOST} == ended.keys() - running
    assert len(pool.pool) == 0

    pool.has_right = True
    await pool.start(command("true", task_id="t8"), command("true", task_id="t9"))
    assert len(pool.runner.open) == 2
    await pool.pool.abandon()


async def test_an_attempt_starts_runs_and_ends() -> None:
    """The start is reported when it runs, the end when it has ended, and then nothing of it is left."""
    pool = Pool()

    await pool.start(command("true"))
    assert [type(report) for report in pool.reports] == [Started]
    assert len(pool.pool) == 1

    pool.runner.end()
    await pool.pool.all_ended()
    assert pool.ends == [("t1", 1, None)]
    assert len(pool.pool) == 0


async def test_processes_are_marked_with_worker_session_task_and_attempt() -> None:
    """The tags say whose a process is, at each level at which somebody may have to find it."""
    pool = Pool()

    await pool.start(command("true", generation=3))

    assert pool.runner.runs[0].tags == {
        "OSTLER_WORKER": "me",
        "OSTLER_SESSION": "s1",
        "OSTLER_TASK": "t1",
        "OSTLER_ATTEMPT": "t1.3",
    }
    await pool.pool.abandon()


async def test_no_more_run_than_slots_were_offered() -> None:
    """One too many waits until a slot of its own kind is free, and is not reported as started before."""
    pool = Pool()

    await pool.start(*(command("true", task_id=f"t{number}") for number in (1, 2, 3)), chat(task_id="c1"))

    assert set(pool.runner.open) == {("t1", 1), ("t2", 1), ("c1", 1)}
    pool.runner.end("t1")
    await settle()
    assert set(pool.runner.open) == {("t2", 1), ("t3", 1), ("c1", 1)}
    await pool.pool.abandon()


async def test_a_slot_that_stays_taken_is_not_waited_for_long() -> None:
    """An attempt that gets no slot is given back before the hub gives it to somebody else by itself."""
    pool = Pool()
    await pool.start(*(command("true", task_id=f"t{number}") for number in (1, 2, 3)))

    await pool.timing.advance(attempts.SLOT_WAIT_S)

    assert pool.ends == [("t3", 1, FailureClass.WORKER_LOST)]
    assert set(pool.runner.open) == {("t1", 1), ("t2", 1)}
    await pool.pool.abandon()


async def test_the_same_assignment_again_is_nothing_new() -> None:
    """An assignment may be handed out again while it runs and after it has ended; it runs once."""
    pool = Pool()

    assert await pool.start(command("true"), command("true")) == [True, False]
    pool.runner.end()
    await pool.pool.all_ended()
    assert await pool.start(command("true")) == [False]

    assert len(pool.runner.runs) == 1
    assert pool.ends == [("t1", 1, None)]


async def test_a_newer_attempt_takes_the_place_of_an_older_one() -> None:
    """Two attempts of one task never overlap: the older is ended first, and one older still is not started."""
    pool = Pool()
    await pool.start(command("true", generation=2))

    news = await pool.start(command("true", generation=3), command("true", generation=1))

    assert news == [True, False]
    assert pool.ends == [("t1", 2, FailureClass.WORKER_LOST)]
    assert set(pool.runner.open) == {("t1", 3)}
    assert pool.runner.most_open == 1
    await pool.pool.abandon()


async def test_a_newer_attempt_waits_for_the_older_one_to_be_dead() -> None:
    """However long the older one takes to die, the newer one does not begin before, though there is a free slot."""
    pool = Pool()
    pool.runner.dies_slowly.clear()
    await pool.start(command("true", generation=2))

    await pool.start(command("true", generation=3))
    assert set(pool.runner.open) == {("t1", 2)}

    pool.runner.dies_slowly.set()
    await settle()
    assert set(pool.runner.open) == {("t1", 3)}
    await pool.pool.abandon()


async def test_a_cancelled_attempt_ends_as_cancelled() -> None:
    """A request of the hub ends the run with that class; asking again is nothing new."""
    pool = Pool()
    await pool.start(command("true"))

    assert pool.pool.cancel(("t1", 1))
    assert not pool.pool.cancel(("t1", 1))
    await pool.pool.all_ended()

    assert pool.ends == [("t1", 1, FailureClass.CANCELLED)]
    assert not pool.pool.cancel(("t1", 1))


async def test_an_attempt_that_waits_for_a_slot_can_be_cancelled() -> None:
    """It ends without having been started."""
    pool = Pool()
    await pool.start(*(command("true", task_id=f"t{number}") for number in (1, 2, 3)))

    pool.pool.cancel(("t3", 1))
    await settle()

    assert pool.ends == [("t3", 1, FailureClass.CANCELLED)]
    assert len([report for report in pool.reports if isinstance(report, Started)]) == 2
    await pool.pool.abandon()


async def test_cancelling_what_never_came_is_answered() -> None:
    """The hub learns that the attempt does not run here; should its assignment still come, it is not started."""
    pool = Pool()

    assert pool.pool.cancel(("t1", 1))
    assert pool.ends == [("t1", 1, FailureClass.CANCELLED)]

    assert await pool.start(command("true")) == [False]
    assert pool.runner.runs == []


async def test_a_kind_that_was_not_offered_is_refused() -> None:
    """Work of a kind without a runner or slots ends at once, refused."""
    pool = Pool()
    agent = command("true")
    agent = Assignment(
        task_id="t1", generation=1, tier="x", spec=type(agent.spec)(id="t1", kind=TaskKind.AGENT, prompt="p")
    )

    await pool.start(agent)

    assert pool.ends == [("t1", 1, FailureClass.POLICY)]


async def test_a_kind_that_the_rules_forbid_is_refused() -> None:
    """An offer that promises too much does not widen the rules."""
    pool = Pool(rules=WorkerRules(kinds=frozenset({TaskKind.CHAT})))

    await pool.start(command("true"))

    assert pool.ends == [("t1", 1, FailureClass.POLICY)]
    assert pool.runner.runs == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [(NotAllowedError("no"), FailureClass.POLICY), (RuntimeError("bug"), FailureClass.ENVIRONMENT)],
)
async def test_whatever_a_runner_does_the_end_is_reported(error: Exception, kind: FailureClass) -> None:
    """A refusal and a mistake of a runner are ends like others, and the slot is free again."""
    pool = Pool()
    await pool.start(chat())

    pool.runner.end(error=error)
    await settle()
    assert pool.ends == [("t1", 1, kind)]

    await pool.start(chat(task_id="t2"))
    assert set(pool.runner.open) == {("t2", 1)}
    await pool.pool.abandon()


async def test_time_runs_out() -> None:
    """The task's own limit ends the attempt as timed out."""
    pool = Pool()
    await pool.start(command("true", timeout_s=30.0))

    await pool.timing.advance(29.9)
    assert pool.ends == []
    await pool.timing.advance(0.2)

    assert pool.ends == [("t1", 1, FailureClass.TIMEOUT)]


async def test_the_deadline_of_the_hub_counts_as_well() -> None:
    """Whichever of limit and deadline comes first ends the attempt; one in the past ends it at once."""
    pool = Pool()
    now_ms = pool.timing.now_ms()
    await pool.start(
        command("true", timeout_s=30.0, deadline_ms=now_ms + 5_000),
        command("true", task_id="t2", deadline_ms=now_ms - 1),
    )
    assert pool.ends == [("t2", 1, FailureClass.TIMEOUT)]

    await pool.timing.advance(5.0)

    assert pool.ends[1:] == [("t1", 1, FailureClass.TIMEOUT)]
    assert isinstance(pool.reports[-1], Finished)
    assert pool.reports[-1].failure is not None
    assert "deadline" in pool.reports[-1].failure.message


async def test_stopping_all_reports_every_attempt_as_lost_to_the_worker() -> None:
    """What a worker gives up because of itself is no failure of the task."""
    pool = Pool()
    await pool.start(command("true"), chat(task_id="c1"))

    pool.pool.stop_all("the worker was stopped")
    await pool.pool.all_ended()

    assert sorted(pool.ends) == [("c1", 1, FailureClass.WORKER_LOST), ("t1", 1, FailureClass.WORKER_LOST)]


async def test_checks_need_a_verifier() -> None:
    """A worker that cannot check refuses work that wants to be checked, instead of passing it unchecked."""
    pool = Pool()

    await pool.start(chat(verify=(("true",),)))

    assert pool.ends == [("t1", 1, FailureClass.POLICY)]
    assert pool.runner.runs == []


def checking_pool(*programs: str) -> Pool:
    host = CommandHost(WorkerRules(commands=programs), NoGuard(), environ={"PATH": "/usr/bin:/bin"})
    return Pool(verifier=Verifier(host))


async def test_good_work_of_any_kind_is_checked() -> None:
    """A model call with checks is verified by them like a command."""
    pool = checking_pool("true")
    await pool.start(chat(verify=(("true",),)))

    pool.runner.end()
    await pool.pool.all_ended()

    (finished,) = [report for report in pool.reports if isinstance(report, Finished)]
    assert (finished.ok, finished.outcome) == (True, Outcome.VERIFIED)


async def test_failed_work_is_not_checked() -> None:
    """What failed keeps its own failure."""
    pool = checking_pool("false")
    await pool.start(chat(verify=(("false",),)))

    pool.pool.cancel(("t1", 1))
    await pool.pool.all_ended()

    assert pool.ends == [("t1", 1, FailureClass.CANCELLED)]


async def test_a_check_that_is_not_allowed_stops_the_work_before_it_begins() -> None:
    """Nobody pays for a model call whose check the worker may not run."""
    pool = checking_pool("true")

    await pool.start(chat(verify=(("true",), ("rm", "x"))))

    assert pool.ends == [("t1", 1, FailureClass.POLICY)]
    assert pool.runner.runs == []


async def test_abandoned_attempts_report_nothing() -> None:
    """A daemon that is itself cancelled has nobody to report to; its runs have ended all the same."""
    pool = Pool()
    await pool.start(command("true"), command("true", task_id="t2"), command("true", task_id="t3"))

    await pool.pool.abandon()

    assert pool.ends == []
    assert pool.runner.open == {}
    assert len(pool.pool) == 0


async def test_memory_of_ended_tasks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ended tasks are forgotten, running ones never."""
    monkeypatch.setattr(attempts, "TASKS_KEPT", 3)
    pool = Pool()
    await pool.start(command("true", task_id="long"))
    for number in range(10):
        pool.pool.cancel((f"x{number}", 1))

    assert len(pool.pool._newest) <= 4
    assert await pool.start(command("true", task_id="long")) == [False]
    await pool.pool.abandon()


STEP = st.tuples(st.sampled_from(["start", "start", "cancel", "end", "wait"]), st.integers(0, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=25))
def test_slots_order_and_ends_hold_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    """In any order of assignments, cancellations and ends: never two attempts of a task at once, never more than the
    slots, no attempt twice, and exactly one end for each attempt that was taken on.
    """

    async def scenario() -> None:
        pool = Pool()
        taken: set[tuple[str, int]] = set()
        for action, number, generation in steps:
            key = (f"t{number}", generation)
            assignment = command("true", task_id=key[0], generation=generation)
            if action == "start" and pool.pool.start(assignment, "s1"):
                taken.add(key)
            if action == "cancel" and pool.pool.cancel(key):
                taken.add(key)
            if action == "end" and key in pool.runner.open and not pool.runner.open[key].done():
                pool.runner.end(*key)
            if action == "wait":
                await pool.timing.advance(1.0)
            open_tasks = [task_id for task_id, _ in pool.runner.open]
            assert len(open_tasks) == len(set(open_tasks)) <= 2
            await settle()
        pool.pool.stop_all("over")
        await pool.pool.all_ended()

        keys = [run.key for run in pool.runner.runs]
        assert len(keys) == len(set(keys))
        assert sorted((task_id, generation) for task_id, generation, _ in pool.ends) == sorted(taken)

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", range(4))
async def test_what_is_ended_before_it_began_is_over(turns: int) -> None:
    """However few turns of the loop lie between: it is in hand no longer, and has no slot."""
    pool = Pool()
    pool.pool.start(command("true", task_id="new"), "s1")
    entry = Entry(assignment=command("true", task_id="old"), session_id="s1", begun_ms=1, begun_us=1)
    pool.pool.take_up(entry)
    for _ in range(turns):
        await asyncio.sleep(0)
    await pool.pool.abandon()

    async with asyncio.timeout(5):
        await pool.pool.all_ended()
    assert (len(pool.pool), pool.pool._runs) == (0, {})
    assert set(pool.pool._busy.values()) == {0}
