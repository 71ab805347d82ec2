"""Whatever people, time and tasks do to a loop, in any order: what it says of itself is true."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ostler.domain.loops import LoopStatus, ScheduleConfig
from ostler.loops import machine
from ostler.loops.machine import Ended, Step
from tests.loops.made import HALF_HOUR, NOW_MS, made

STARTABLE = (LoopStatus.IDLE, LoopStatus.STOPPED, LoopStatus.FINISHED)
GOING = (LoopStatus.WAITING, LoopStatus.RUNNING)
SAID = st.sampled_from(["same", "LOOP: continue", "LOOP: end", "LOOP: stop why", "LOOP: objective x", ""]) | st.text(
    max_size=20
)


class Loops(RuleBasedStateMachine):
    """One loop, its clock, and every task that was ever handed in."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = made(ticks_per_loop=3, max_steps_per_tick=2, auto_pause_on_error_streak=2, max_loops=4)
        self.now_ms = NOW_MS
        self.ended: set[str] = set()
        self.open: str | None = None

    def take(self, step: Step | None) -> None:
        if step is None:
            return
        before = self.loop
        self.loop = step.loop
        for task_id in step.cancel:
            self.ended.add(task_id)
        assert self.loop.loops_begun >= before.loops_begun
        assert all(event.metadata["loop"] == "night" for event in step.events)

    @precondition(lambda self: self.loop.status in STARTABLE)
    @rule()
    def start(self) -> None:
        self.take(machine.start(self.loop, self.now_ms))
        assert self.loop.loops_since_start == 0

    @rule()
    def stop(self) -> None:
        self.take(machine.stop(self.loop, self.now_ms))
        assert machine.wanted(self.loop) is None

    @precondition(lambda self: self.loop.status in GOING)
    @rule()
    def pause(self) -> None:
        self.take(machine.pause(self.loop, self.now_ms))

    @precondition(lambda self: self.loop.status is LoopStatus.PAUSED)
    @rule()
    def resume(self) -> None:
        self.take(machine.resume(self.loop, self.now_ms))
        assert self.loop.status in GOING

    @rule(ms=st.sampled_from([1, 60_000, HALF_HOUR - 1, HALF_HOUR, 5 * HALF_HOUR + 7]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.take(machine.due(self.loop, self.now_ms))
        assert machine.due(self.loop, self.now_ms) is None or self.loop.schedule.catch_up

    @precondition(lambda self: machine.wanted(self.loop) is not None)
    @rule(ok=st.booleans(), said=SAID, cost=st.integers(0, 9))
    def the_step_ends(self, ok: bool, said: str, cost: int) -> None:
        task_id = machine.wanted(self.loop) or ""
        assert task_id not in self.ended, "a task was wanted again after it had ended"
        before = self.loop
        ended = Ended(ok=ok, output=said, error="broke", cost_micro_usd=cost)
        self.take(machine.step_ended(self.loop, task_id, ended, self.now_ms, summarize_every=3))
        self.ended.add(task_id)
        assert self.loop.total_cost_micro_usd == before.total_cost_micro_usd + cost
        assert machine.step_ended(self.loop, task_id, ended, self.now_ms) is None, "an end counts once"

    @precondition(lambda self: machine.wanted(self.loop) is not None)
    @rule()
    def there_is_no_money(self) -> None:
        task_id = machine.wanted(self.loop) or ""
        self.take(machine.no_money(self.loop, task_id, self.now_ms))

    @precondition(lambda self: self.loop.summarizing is not None)
    @rule()
    def older_answers_are_summarised(self) -> None:
        job = self.loop.summarizing
        assert job is not None
        task_id = machine.summary_id(self.loop, job)
        self.take(machine.summarized(self.loop, task_id, "short", "model", self.now_ms))
        assert self.loop.summarizing is None

    @rule(minutes=st.sampled_from([10, 30]), ticks=st.integers(1, 4), loops=st.integers(0, 5), late=st.booleans())
    def the_schedule_changes(self, minutes: int, ticks: int, loops: int, late: bool) -> None:
        fields = {"interval_minutes": minutes, "ticks_per_loop": ticks, "max_loops": loops, "catch_up": late}
        changed: ScheduleConfig = msgspec.structs.replace(self.loop.schedule, **fields)
        self.take(machine.change(self.loop, changed, self.now_ms))

    @invariant()
    def running_is_never_a_lie(self) -> None:
        """`running` means that a step is with the queue; nothing is in an idle, stopped or finished loop."""
        run, status = self.loop.run, self.loop.status
        if status is LoopStatus.RUNNING:
            assert run is not None
            assert run.pending
        if status in (*STARTABLE, LoopStatus.WAITING):
            assert run is None

    @invariant()
    def waiting_knows_for_what(self) -> None:
        """A waiting loop has an instant; one that is over has none."""
        if self.loop.status is LoopStatus.WAITING:
            assert self.loop.next_loop_ms is not None
        if self.loop.status in (LoopStatus.STOPPED, LoopStatus.FINISHED):
            assert self.loop.next_loop_ms is None

    @invariant()
    def counts_add_up(self) -> None:
        """Loops that are over and the one under way are those that began; steps keep to their limits."""
        loop = self.loop
        stopped = sum(done.outcome == "stopped" for done in loop.recent)
        if loop.loops_begun <= 50:
            assert loop.loops_completed + stopped + (loop.run is not None) == loop.loops_begun
        assert loop.consecutive_errors <= loop.total_errors <= loop.total_ticks_run
        assert loop.run is None or loop.run.step <= loop.schedule.max_steps_per_tick
        assert len(loop.history) <= 10
        assert loop.total_cost_micro_usd >= sum(done.cost_micro_usd for done in loop.recent)


TestLoops = Loops.TestCase
TestLoops.settings = settings(max_examples=60, stateful_step_count=40)
