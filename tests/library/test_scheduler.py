"""The checks of the ladder by subject: the scheduler (39-44 of 44), and what else `TickScheduler` does."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ostler import BudgetTracker, ScheduleConfig, TickScheduler
from ostler.app.tick_scheduler import Tick, TickResult
from ostler.domain.errors import ConflictError, InvalidInputError
from ostler.store.errors import StoreError
from ostler.store.state_file import Stored
from tests.e2e.process import until


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "data" / "shared" / "agi_loop_state.json"


def soon(**fields: object) -> ScheduleConfig:
    """A schedule of a millisecond, once."""
    quick = {"interval_minutes": 1 / 60_000, "max_loops": 1, "ticks_per_loop": 3}
    return msgspec.convert({**quick, **fields}, ScheduleConfig)


def say(tick: Tick) -> str:
    return f"answer {tick.name}"


def over(scheduler: TickScheduler) -> dict[str, Any]:
    """Run it to its end in the thread."""
    scheduler.start()
    assert scheduler.join(30)
    return dict(scheduler.status())


def test_the_defaults_are_half_an_hour_and_fifteen_ticks(state: Path) -> None:
    """39. And asking makes no file."""
    found = TickScheduler(say, path=state).status()
    schedule = found["schedule"]
    assert (found["status"], found["countdown_s"]) == ("idle", None)
    assert (schedule["interval_hours"], schedule["interval_minutes"], schedule["max_loops"]) == (0, 30, 0)
    assert (schedule["ticks_per_loop"], schedule["max_steps_per_tick"], schedule["stimulus"]) == (15, 3, "")
    assert not state.exists()


def test_a_finite_schedule_runs_its_loops_and_ends(state: Path) -> None:
    """40. Two loops of three ticks; the record has both, the newest first."""
    ticks: list[str] = []

    def run(tick: Tick) -> str:
        ticks.append(tick.name)
        return say(tick)

    found = over(TickScheduler(run, soon(max_loops=2), path=state))
    assert ticks == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]
    assert (found["status"], found["reason"], found["loops_completed"]) == ("finished", "max_loops", 2)
    assert [loop["number"] for loop in found["recent_loops"]] == [2, 1]


def test_five_errors_in_a_row_pause(state: Path) -> None:
    """41. An exception and a result with an error are failed ticks; resumed, it goes on at the next one."""
    ticks: list[int] = []

    def run(tick: Tick) -> TickResult | str:
        ticks.append(tick.tick)
        if len(ticks) in (1, 3, 5):
            raise OSError("no such file")
        return TickResult(error="refused") if len(ticks) < 6 else say(tick)

    scheduler = TickScheduler(run, soon(ticks_per_loop=7), path=state)
    scheduler.start()
    until(lambda: scheduler.status()["status"] == "paused", "it pauses")
    found = scheduler.status()
    assert (found["reason"], found["total_errors"], found["last_error"]) == ("error_streak", 5, "OSError: no such file")
    scheduler.resume()
    assert scheduler.join(30)
    assert ticks == [1, 2, 3, 4, 5, 6, 7]


def test_a_budget_that_is_used_up_pauses(state: Path, tmp_path: Path) -> None:
    """42. Before the tick, not after it; resumed it waits for money."""
    budget = BudgetTracker(tmp_path / "budget.db", session="loop")
    budget.record(25.00)
    ticks: list[int] = []
    scheduler = TickScheduler(lambda tick: ticks.append(tick.tick), soon(), path=state, budget=budget)
    scheduler.start()
    until(lambda: scheduler.status()["status"] == "paused", "it pauses")
    assert scheduler.status()["reason"] == "budget_exhausted"
    assert scheduler.status()["budget"]["level"] == "exhausted"
    scheduler.resume()
    assert scheduler.status()["status"] == "running"
    scheduler.stop(30)
    assert ticks == []
    assert scheduler.status()["status"] == "stopped"


def test_state_survives_a_restart(state: Path) -> None:
    """43. Counts and record; a new start counts its loops anew, with new numbers."""
    over(TickScheduler(say, soon(), path=state))
    again = TickScheduler(say, soon(), path=state)
    assert again.status()["loops_completed"] == 1
    found = over(again)
    assert (found["loops_completed"], found["total_ticks_run"]) == (2, 6)
    assert [loop["number"] for loop in found["recent_loops"]] == [2, 1]


def test_it_can_be_paused_resumed_and_stopped(state: Path) -> None:
    """44. A pause begins nothing new; a stop is for good until the next start."""
    ticks: list[int] = []
    scheduler = TickScheduler(lambda tick: ticks.append(tick.tick), soon(interval_minutes=60, max_loops=0), path=state)
    scheduler.start()
    until(lambda: scheduler.status()["loops_completed"] == 1, "its first loop is over")
    assert 3_500 < scheduler.status()["countdown_s"] <= 3_600
    scheduler.pause()
    assert scheduler.status()["status"] == "paused"
    scheduler.resume()
    assert scheduler.status()["status"] == "waiting"
    scheduler.stop(30)
    assert scheduler.status()["status"] == "stopped"
    assert scheduler.join(0)


def test_an_interval_of_nothing_is_refused(state: Path) -> None:
    """When it is made, and when it is changed."""
    with pytest.raises(InvalidInputError, match="never stop"):
        TickScheduler(say, ScheduleConfig(interval_minutes=0), path=state)
    scheduler = TickScheduler(say, path=state)
    with pytest.raises(InvalidInputError, match="never stop"):
        scheduler.update(interval_minutes=0)
    assert scheduler.update(interval_minutes=5, max_loops=3).interval_ms == 300_000


def test_a_change_holds_while_it_runs(state: Path) -> None:
    """The loop that is under way goes by the new number of ticks."""
    done: list[int] = []

    def run(tick: Tick) -> str:
        done.append(tick.tick)
        if tick.tick == 1:
            scheduler.update(ticks_per_loop=2)
        return say(tick)

    scheduler = TickScheduler(run, soon(ticks_per_loop=9), path=state)
    over(scheduler)
    assert done == [1, 2]


def test_an_agent_asks_for_steps_and_ends_itself(state: Path) -> None:
    """By lines of its answer; what it said before is handed to it."""
    seen: list[tuple[str, int, str, tuple[str, ...]]] = []
    answers = iter(["half\nLOOP: continue", "whole", "LOOP: stop enough"])

    def run(tick: Tick) -> str:
        seen.append((tick.name, tick.step, tick.said.partition("\n")[0], tick.history))
        return next(answers)

    found = over(TickScheduler(run, soon(), path=state))
    assert seen == [("1.1", 1, "", ()), ("1.1", 2, "half", ()), ("1.2", 1, "", ("whole",))]
    assert (found["status"], found["reason"]) == ("finished", "agent: enough")


def test_listeners_are_told_and_one_that_fails_stops_nothing(state: Path) -> None:
    """Names as the origin has them, with their fields."""
    told: list[tuple[str, Any]] = []
    scheduler = TickScheduler(lambda tick: TickResult(text=say(tick), cost=0.25), soon(), path=state)

    def broken(name: str, fields: Mapping[str, Any]) -> None:
        told.append((name, fields["loop"]))
        raise OSError(name)

    scheduler.add_listener(broken)
    found = over(scheduler)
    names = ["started", "waiting", "loop_start", "tick", "tick", "tick", "loop_end", "completed"]
    assert told == [(name, "agi_loop_state") for name in names]
    assert scheduler.listener_errors == len(names)
    assert found["total_cost"] == 0.75


def test_a_coroutine_runs_in_the_callers_event_loop(state: Path) -> None:
    """Others go on meanwhile; cancelled, it is interrupted, and can be taken up."""
    beats = 0

    async def run(tick: Tick) -> str:
        await asyncio.sleep(0.05)
        return say(tick)

    async def main() -> None:
        nonlocal beats
        task = asyncio.create_task(TickScheduler(run, soon(), path=state).run())
        while not task.done():
            beats += 1
            await asyncio.sleep(0.005)
        await task

    asyncio.run(main())
    assert beats > 5
    assert TickScheduler(run, path=state).status()["total_ticks_run"] == 3


def test_one_process_at_a_time_runs_a_file(state: Path) -> None:
    """The second is refused, and sees that the first runs."""
    first = TickScheduler(say, soon(interval_minutes=60, max_loops=0), path=state)
    first.start()
    until(lambda: first.status()["loops_completed"] == 1, "it waits")
    second = TickScheduler(say, path=state)
    assert second.status()["status"] == "waiting"
    with pytest.raises(ConflictError):
        second.start()
    with pytest.raises(ConflictError):
        first.start()
    first.stop(30)


CHILD = """
import sys, time
from pathlib import Path
from ostler import ScheduleConfig, TickScheduler

def run(tick):
    with open(sys.argv[2], "a") as trace:
        trace.write(tick.name + " ")
    if sys.argv[3] == "hang" and tick.name == "1.2":
        time.sleep(60)
    return "answer " + tick.name

config = ScheduleConfig(interval_minutes=1 / 60_000, max_loops=1, ticks_per_loop=4)
scheduler = TickScheduler(run, config, path=sys.argv[1], repeat_interrupted=sys.argv[4] == "again")
scheduler.start()
scheduler.join()
"""


@pytest.mark.parametrize(
    ("rule", "trace", "errors"),
    [("skip", "1.1 1.2 1.3 1.4", 1), ("again", "1.1 1.2 1.2 1.3 1.4", 0)],
)
def test_a_process_that_is_killed_in_a_tick_leaves_the_truth_behind(
    state: Path, tmp_path: Path, rule: str, trace: str, errors: int
) -> None:
    """`interrupted`, not `running`; the next start goes on by the rule that was chosen."""
    traces = tmp_path / "trace"
    command = [sys.executable, "-c", CHILD, str(state), str(traces)]
    child = subprocess.Popen([*command, "hang", rule])
    until(lambda: traces.exists() and "1.2" in traces.read_text(), "the second tick began")
    child.kill()
    child.wait(10)
    assert TickScheduler(say, path=state).status()["status"] == "interrupted"
    subprocess.run([*command, "go", rule], check=True, timeout=60)
    assert traces.read_text().split() == trace.split()
    found = TickScheduler(say, path=state).status()
    assert (found["status"], found["total_ticks_run"], found["total_errors"]) == ("finished", 4, errors)


def test_a_file_that_is_torn_is_not_taken_for_a_fresh_start(state: Path) -> None:
    """The state before it is used; with none, it is an error."""
    over(TickScheduler(say, soon(), path=state))
    state.write_text(json.dumps({"format": "ostler.loop/1"}))
    assert TickScheduler(say, path=state).status()["total_ticks_run"] == 2
    state.replace(state.with_name(state.name + ".previous"))
    state.write_text("{")
    with pytest.raises(StoreError, match="torn"):
        TickScheduler(say, path=state).start()


def test_a_schedule_may_be_a_cron_expression(state: Path) -> None:
    """Its first loop waits for the instant that it names."""
    clock = Clock()
    make: Callable[[], TickScheduler] = lambda: TickScheduler(  # noqa: E731 -- made twice
        say, ScheduleConfig(cron="0 9 * * *", max_loops=1, ticks_per_loop=1), path=state, now_ms=clock
    )
    scheduler = make()
    scheduler.start()
    until(lambda: scheduler.status()["status"] == "waiting", "it waits")
    due_ms = scheduler.status()["next_loop_ms"]
    assert (due_ms // 3_600_000) % 24 == 9
    clock.now_ms = due_ms
    assert scheduler.join(30)
    assert scheduler.status()["loops_completed"] == 1


def test_a_scheduler_that_waits_rests(state: Path) -> None:
    """It looks at its file now and then, whatever it stored itself; a tick it is asked for comes at once."""
    clock = Clock()
    looks = 0

    def now_ms() -> int:
        nonlocal looks
        looks += 1
        return clock.now_ms

    scheduler = TickScheduler(say, soon(interval_minutes=60, max_loops=2), path=state, now_ms=now_ms)
    scheduler.start()
    until(lambda: scheduler.status()["loops_completed"] == 1, "its first loop is over")
    looks = 0
    assert not scheduler.join(0.5)
    assert looks < 10
    clock.now_ms += 3_600_000
    scheduler.update(stimulus="go on")
    assert scheduler.join(30)
    assert scheduler.status()["loops_completed"] == 2


def test_a_coroutine_that_waits_rests(state: Path) -> None:
    """As in the thread."""
    looks = 0

    def now_ms() -> int:
        nonlocal looks
        looks += 1
        return Clock().now_ms

    async def main() -> None:
        scheduler = TickScheduler(say, soon(interval_minutes=60, max_loops=2), path=state, now_ms=now_ms)
        task = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.5)
        scheduler.stop()
        await task

    asyncio.run(main())
    assert looks < 30


def test_a_file_that_cannot_be_written_stops_no_schedule(state: Path) -> None:
    """What a tick said is kept until it can be stored; meanwhile no other tick runs, and the status says why."""
    full = True
    ticks: list[str] = []

    def run(tick: Tick) -> str:
        ticks.append(tick.name)
        return say(tick)

    scheduler = TickScheduler(run, soon(), path=state)
    write = scheduler._file._write

    def written(stored: Stored, body: bytes) -> None:
        if full and ticks:
            raise OSError(28, "No space left on device")
        write(stored, body)

    scheduler._file._write = written  # type: ignore[method-assign]
    scheduler.start()
    until(lambda: scheduler.status()["failing"] != "", "it has noticed")
    assert "No space left" in scheduler.status()["failing"]
    assert ticks == ["1.1"]
    full = False
    assert scheduler.join(30)
    found = scheduler.status()
    assert ticks == ["1.1", "1.2", "1.3"]
    assert (found["status"], found["failing"], found["total_errors"]) == ("finished", "", 0)


@pytest.mark.parametrize(("rule", "ticks"), [(False, ["1.2", "1.3"]), (True, ["1.1", "1.2", "1.3"])])
def test_a_pause_does_not_make_an_interrupted_tick_run_twice(state: Path, rule: bool, ticks: list[str]) -> None:
    """Paused while its tick was under way, then gone: the rule for interrupted ticks holds for it as for any other."""
    left = state.with_name("left.json")
    seen: list[str] = []

    def run(tick: Tick) -> str:
        if tick.name == "1.1" and not left.exists():
            scheduler.pause()
            left.write_bytes(state.read_bytes())  # what a process that dies now leaves behind
        return say(tick)

    def go_on(tick: Tick) -> str:
        seen.append(tick.name)
        return say(tick)

    scheduler = TickScheduler(run, soon(), path=state)
    scheduler.start()
    until(lambda: scheduler.status()["total_ticks_run"] == 1, "its tick has ended")
    scheduler.stop(30)
    again = TickScheduler(go_on, path=left, repeat_interrupted=rule)
    again.start()
    assert again.join(30)
    assert seen == ticks
    assert (again.status()["total_ticks_run"], again.status()["total_errors"]) == (3, int(not rule))
