"""A loop by hand: what starts, stops, pauses and ends it, and what is counted."""

import msgspec
import pytest

from ostler.domain.errors import ConflictError, InvalidInputError
from ostler.domain.loops import RECENT_KEPT, LoopStatus, ScheduleConfig
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.loops import machine
from ostler.loops.machine import Ended
from tests.loops.made import HALF_HOUR, MINUTE, NOW_MS, Hand, made


def test_the_defaults_are_those_of_the_profile() -> None:
    """Half an hour, without end, 15 ticks of 3 steps, paused for money and after 5 errors in a row."""
    schedule = ScheduleConfig()
    assert schedule.interval_ms == HALF_HOUR
    assert (schedule.max_loops, schedule.ticks_per_loop, schedule.max_steps_per_tick) == (0, 15, 3)
    assert (schedule.stimulus, schedule.auto_pause_on_budget, schedule.auto_pause_on_error_streak) == ("", True, 5)


def test_a_loop_runs_its_ticks_one_after_the_other_and_waits_for_the_next() -> None:
    """The first loop begins at the start; 15 ticks later it waits until half an hour after it began."""
    hand = Hand().start()
    ids = []
    for _ in range(15):
        assert hand.status is LoopStatus.RUNNING
        ids.append(machine.wanted(hand.loop))
        hand.end()
    assert ids == [f"loop-night-1-{tick}-1" for tick in range(1, 16)]
    assert hand.status is LoopStatus.WAITING
    assert hand.loop.next_loop_ms == NOW_MS + HALF_HOUR
    assert machine.wake_ms(hand.loop) == NOW_MS + HALF_HOUR
    assert (hand.loop.loops_completed, hand.loop.total_ticks_run) == (1, 15)
    assert hand.told == ["started", "waiting", "loop_start", *["tick"] * 15, "loop_end", "waiting"]


def test_the_schedule_does_not_drift() -> None:
    """However long loops take and however late anyone looks, they are due whole intervals after the start."""
    hand = Hand(ticks_per_loop=1).start()
    due = [hand.loop.run.due_ms] if hand.loop.run else []
    for late in (0, 7, 29 * MINUTE, 1):
        hand.later(3 * MINUTE)
        hand.end()
        hand.later((hand.loop.next_loop_ms or 0) - hand.now_ms + late)
        assert hand.loop.run is not None
        due.append(hand.loop.run.due_ms)
    assert [(at - NOW_MS) / HALF_HOUR for at in due] == [0, 1, 2, 3, 5]
    assert hand.loop.loops_skipped == 1, "the one that fell due while the late one ran"


def test_max_loops_finishes_and_a_new_start_counts_anew() -> None:
    """Zero is without end; two is two; starting again after that runs again, with new numbers."""
    endless, twice = Hand(ticks_per_loop=1).start(), Hand(ticks_per_loop=1, max_loops=2).start()
    for hand in (endless, twice):
        for _ in range(2):
            hand.end()
            hand.later(HALF_HOUR)
    assert endless.status is LoopStatus.RUNNING
    assert (twice.status, twice.loop.reason, twice.loop.next_loop_ms) == (LoopStatus.FINISHED, "max_loops", None)
    assert twice.told[-1] == "completed"
    twice.start()
    assert twice.status is LoopStatus.RUNNING
    assert machine.wanted(twice.loop) == "loop-night-3-1-1"


def test_five_errors_in_a_row_pause_and_a_good_tick_between_begins_anew() -> None:
    """Four, a good one, then five."""
    hand = Hand().start()
    for _ in range(4):
        hand.end(ok=False)
    hand.end()
    for _ in range(4):
        hand.end(ok=False)
    assert hand.status is LoopStatus.RUNNING
    hand.end(ok=False, error="no such file")
    assert (hand.status, hand.loop.reason) == (LoopStatus.PAUSED, "error_streak")
    assert hand.told[-1] == "auto_paused"
    assert (hand.loop.total_errors, hand.loop.last_error) == (9, "no such file")
    assert machine.wanted(hand.loop) is None


def test_after_a_streak_a_resume_goes_on_with_the_next_tick_and_a_new_streak() -> None:
    """It does not pause again at the next error, as a streak that was kept would have it."""
    hand = Hand().start()
    for _ in range(5):
        hand.end(ok=False)
    hand.take(machine.resume(hand.loop, hand.now_ms))
    assert machine.wanted(hand.loop) == "loop-night-1-6-1"
    hand.end(ok=False)
    assert hand.status is LoopStatus.RUNNING
    assert hand.loop.consecutive_errors == 1


def test_errors_pause_nothing_when_the_limit_is_zero() -> None:
    """0 = never."""
    hand = Hand(auto_pause_on_error_streak=0, ticks_per_loop=8).start()
    for _ in range(8):
        hand.end(ok=False)
    assert hand.status is LoopStatus.WAITING
    assert hand.loop.recent[-1].errors == 8


def test_no_money_takes_the_step_back_and_pauses() -> None:
    """Its task is cancelled; resumed, the same step is begun anew under another id and waits for money in the queue."""
    hand = Hand().start()
    hand.end()
    first = machine.wanted(hand.loop)
    assert first is not None
    hand.take(machine.no_money(hand.loop, first, hand.now_ms))
    assert (hand.status, hand.loop.reason, hand.cancelled) == (LoopStatus.PAUSED, "budget_exhausted", [first])
    assert machine.step_ended(hand.loop, first, Ended(ok=False), hand.now_ms) is None, "its end counts no more"
    hand.take(machine.resume(hand.loop, hand.now_ms))
    second = machine.wanted(hand.loop)
    assert second == "loop-night-1-2-1-again-1"
    assert machine.no_money(hand.loop, second, hand.now_ms) is None, "it does not go straight back to pause"
    hand.end()
    third = machine.wanted(hand.loop)
    assert third is not None
    assert machine.no_money(hand.loop, third, hand.now_ms) is not None, "the next one may pause it again"


def test_without_auto_pause_a_step_waits_for_money() -> None:
    """The queue holds it until the window rolls over."""
    hand = Hand(auto_pause_on_budget=False).start()
    assert machine.no_money(hand.loop, machine.wanted(hand.loop) or "", hand.now_ms) is None


def test_a_pause_in_mid_loop_lets_the_tick_end_and_a_resume_goes_on() -> None:
    """What ends in the pause is counted once; nothing new begins; ticks are neither lost nor done twice."""
    hand = Hand(ticks_per_loop=3).start()
    hand.take(machine.pause(hand.loop, hand.now_ms))
    assert (hand.status, hand.loop.reason) == (LoopStatus.PAUSED, "by hand")
    assert machine.wanted(hand.loop) == "loop-night-1-1-1", "the tick under way is not taken back"
    hand.end()
    assert machine.wanted(hand.loop) is None
    assert hand.loop.total_ticks_run == 1
    hand.take(machine.resume(hand.loop, hand.now_ms))
    assert machine.wanted(hand.loop) == "loop-night-1-2-1"
    hand.end_loop()
    assert hand.loop.recent[-1].ticks == 3


def test_the_last_tick_may_end_in_a_pause() -> None:
    """The loop is over, and a resume waits for the next one, not for what was due meanwhile."""
    hand = Hand(ticks_per_loop=1).start()
    hand.take(machine.pause(hand.loop, hand.now_ms))
    hand.end()
    assert (hand.status, hand.loop.run) == (LoopStatus.PAUSED, None)
    hand.later(100 * MINUTE)
    hand.take(machine.resume(hand.loop, hand.now_ms))
    assert (hand.status, hand.loop.next_loop_ms) == (LoopStatus.WAITING, NOW_MS + 4 * HALF_HOUR)
    assert hand.loop.loops_skipped == 3


def test_a_pause_in_the_wait_and_a_resume_are_a_wait_again() -> None:
    """Not running, as the origin had it; the next loop is where it was, if it was not missed."""
    hand = Hand(ticks_per_loop=1).start()
    hand.end()
    hand.take(machine.pause(hand.loop, hand.now_ms))
    hand.later(10 * MINUTE)
    hand.take(machine.resume(hand.loop, hand.now_ms))
    assert (hand.status, hand.loop.next_loop_ms) == (LoopStatus.WAITING, NOW_MS + HALF_HOUR)


def test_a_stop_cancels_what_is_under_way_and_a_start_begins_anew() -> None:
    """The interrupted loop is in the record; its late end counts no more; numbers are never given twice."""
    hand = Hand().start()
    hand.end()
    task_id = machine.wanted(hand.loop)
    hand.take(machine.stop(hand.loop, hand.now_ms))
    assert (hand.status, hand.cancelled) == (LoopStatus.STOPPED, [task_id])
    assert [(done.outcome, done.ticks) for done in hand.loop.recent] == [("stopped", 1)]
    assert machine.step_ended(hand.loop, str(task_id), Ended(ok=True), hand.now_ms) is None
    before = hand.loop
    hand.take(machine.stop(hand.loop, hand.now_ms))
    assert hand.loop == before, "a second stop changes nothing"
    hand.later(MINUTE)
    hand.start()
    assert machine.wanted(hand.loop) == "loop-night-2-1-1"
    assert hand.loop.anchor_ms == NOW_MS + MINUTE


def test_what_cannot_be_done_in_a_state_is_refused_with_what_to_do() -> None:
    """Start of what runs or is paused, pause of what does not run, resume of what is not paused."""
    idle, running = Hand(), Hand().start()
    paused = Hand().start()
    paused.take(machine.pause(paused.loop, paused.now_ms))
    refused = [
        (machine.start, running),
        (machine.start, paused),
        (machine.pause, idle),
        (machine.resume, running),
        (machine.resume, idle),
    ]
    for call, hand in refused:
        with pytest.raises(ConflictError, match="loop night is") as caught:
            call(hand.loop, NOW_MS)
        assert caught.value.remedy


def test_an_agent_may_ask_for_steps_up_to_the_limit() -> None:
    """Three steps are one tick; the fourth is the next tick whatever it asks."""
    hand = Hand().start()
    ids = []
    for _ in range(4):
        ids.append(machine.wanted(hand.loop))
        hand.end("not done yet\nLOOP: continue")
    assert ids == ["loop-night-1-1-1", "loop-night-1-1-2", "loop-night-1-1-3", "loop-night-1-2-1"]
    assert hand.loop.total_ticks_run == 1


def test_an_agent_may_end_its_loop_or_its_schedule() -> None:
    """`end` waits for the next loop; `stop` is for good, with its reason."""
    ending, stopping = Hand().start(), Hand().start()
    ending.end("nothing to do\nLOOP: end")
    stopping.end("LOOP: stop the roof is mended")
    assert (ending.status, ending.loop.recent[-1].outcome) == (LoopStatus.WAITING, "agent_ended")
    assert (stopping.status, stopping.loop.reason) == (LoopStatus.FINISHED, "agent: the roof is mended")


def test_equal_answers_in_a_row_end_a_loop_before_its_time() -> None:
    """Two by default, white space and case aside; the next loop has its chance; 0 lets it be."""
    hand, patient = Hand().start(), Hand(identical_ticks=0).start()
    for one in (hand, patient):
        one.end("Nothing new.")
        one.end("nothing  new.\n")
    assert (hand.status, hand.loop.recent[-1].outcome) == (LoopStatus.WAITING, "no_progress")
    assert patient.status is LoopStatus.RUNNING
    hand.later(HALF_HOUR)
    hand.end("Nothing new.")
    assert hand.status is LoopStatus.RUNNING, "an answer of the loop before does not count"


def test_a_command_may_say_the_same_each_time() -> None:
    """Nothing is wrong with `ok`; and nobody is paid to summarise it."""
    hand = Hand(ticks_per_loop=12)
    hand.loop = msgspec.structs.replace(hand.loop, work=TaskSpec(id="work", kind=TaskKind.COMMAND, argv=("make",)))
    hand.start()
    for _ in range(11):
        hand.end("ok")
    assert hand.status is LoopStatus.RUNNING
    assert hand.loop.summarizing is None
    hand.end("ok")
    assert hand.loop.recent[-1].outcome == "completed"


def test_what_an_agent_keeps_in_mind_is_kept() -> None:
    """Aims, decisions and errors by its own word; a failed tick is an error."""
    hand = Hand().start()
    hand.end("LOOP: objective mend the roof\nLOOP: objective feed the cat\nLOOP: decision slate")
    hand.end("LOOP: reached feed the cat")
    hand.end(ok=False, error="ladder broke")
    assert hand.loop.working.objectives == ("mend the roof",)
    assert hand.loop.working.decisions == ("slate",)
    assert hand.loop.working.errors == ("ladder broke",)


def test_at_every_tenth_tick_older_answers_are_to_be_summarised() -> None:
    """The newest one stays; the summary goes into the working set, once."""
    hand = Hand().start()
    for _ in range(10):
        hand.end()
    job = hand.loop.summarizing
    assert job is not None
    assert (job.at_tick, len(job.texts), hand.loop.history) == (10, 9, ("answer 10",))
    task_id = machine.summary_id(hand.loop, job)
    hand.take(machine.summarized(hand.loop, task_id, "nine answers", "model", hand.now_ms))
    assert hand.loop.working.summaries == ("nine answers",)
    assert machine.summarized(hand.loop, task_id, "again", "model", hand.now_ms) is None


def test_a_schedule_may_be_changed_while_it_runs() -> None:
    """Ticks of this loop go by the new number; a new interval counts from now; other changes move nothing."""
    hand = Hand(ticks_per_loop=5).start()
    hand.end()
    hand.later(MINUTE)
    shorter = msgspec.structs.replace(hand.loop.schedule, ticks_per_loop=2, interval_minutes=10)
    hand.take(machine.change(hand.loop, shorter, hand.now_ms))
    assert hand.told[-1] == "changed"
    hand.end()
    assert (hand.status, hand.loop.next_loop_ms) == (LoopStatus.WAITING, NOW_MS + 11 * MINUTE)
    louder = msgspec.structs.replace(shorter, stimulus="hurry")
    hand.take(machine.change(hand.loop, louder, hand.now_ms + MINUTE))
    assert hand.loop.next_loop_ms == NOW_MS + 11 * MINUTE
    fewer = msgspec.structs.replace(louder, max_loops=1)
    hand.take(machine.change(hand.loop, fewer, hand.now_ms))
    assert hand.status is LoopStatus.FINISHED


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"interval_minutes": 0}, "interval_minutes"),
        ({"interval_minutes": -1}, "interval_minutes"),
        ({"interval_minutes": float("nan")}, "interval_minutes"),
        ({"interval_hours": float("inf")}, "interval_hours"),
        ({"max_loops": -1}, "max_loops"),
        ({"ticks_per_loop": 0}, "ticks_per_loop"),
        ({"max_steps_per_tick": 0}, "max_steps_per_tick"),
        ({"auto_pause_on_error_streak": -1}, "auto_pause_on_error_streak"),
        ({"identical_ticks": 1}, "identical_ticks"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"cron": "61 * * * *"}, "cron, minute"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(fields: dict[str, object], where: str) -> None:
    """An interval of 0 above all: it would spin."""
    with pytest.raises(InvalidInputError) as caught:
        machine.change(made(), msgspec.structs.replace(ScheduleConfig(), **fields), NOW_MS)
    assert caught.value.where == where


def test_the_newest_fifty_loops_are_on_record() -> None:
    """Oldest first, with ticks, errors and cost."""
    hand = Hand(ticks_per_loop=1).start()
    for number in range(RECENT_KEPT + 5):
        hand.end(cost=number)
        hand.later(HALF_HOUR)
    assert [done.number for done in hand.loop.recent] == list(range(6, RECENT_KEPT + 6))
    assert hand.loop.recent[-1].cost_micro_usd == RECENT_KEPT + 4
    assert hand.loop.total_cost_micro_usd == sum(range(RECENT_KEPT + 5))


def test_missed_loops_are_caught_up_where_the_schedule_says_so() -> None:
    """One after the other, each with the instant at which it was due."""
    hand = Hand(ticks_per_loop=1, catch_up=True).start()
    hand.end()
    hand.later(3 * HALF_HOUR + MINUTE)
    due = []
    while hand.loop.run is not None:
        due.append((hand.loop.run.due_ms - NOW_MS) // HALF_HOUR)
        hand.end()
        hand.later(0)
    assert due == [1, 2, 3]
    assert hand.loop.loops_skipped == 0


def test_a_first_loop_may_wait() -> None:
    """`wait_first`: one interval after the start."""
    hand = Hand(wait_first=True).start()
    assert (hand.status, hand.loop.next_loop_ms) == (LoopStatus.WAITING, NOW_MS + HALF_HOUR)
