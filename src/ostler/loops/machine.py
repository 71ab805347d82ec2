r"""The steps of a loop: each takes a loop and the time, and gives the loop after it with what is to be told.

    idle, stopped, finished --start--> waiting --due--> running --last tick ends--> waiting | finished
                                          ^  \             |  \
                                          |   +--pause--+   |   +--pause, budget, 5 errors in a row--> paused
                                          +----resume---+---+---------------------resume--------------+
    anything --stop--> stopped

1. due: the loop begins with its tick 1; instants that passed meanwhile are skipped and counted, unless `catch_up`.
2. a step ends well: another step of the tick if the agent asked and may, else the next tick, else the loop is over.
   Equal answers in a row (not of commands), or the agent's own word, end the loop before its time.
3. a step ends badly: its tick has failed; the next tick follows. So many failed ticks in a row pause the loop.
4. no money for a step: it is taken back and the loop pauses; resumed by hand it waits for money in the queue.
5. pause: nothing new begins; what is under way ends and counts. resume: on from there. A streak begins anew.
6. the last loop is over, or the agent says stop: finished. A start begins to count anew.

Pure; O(1) but for the counting of skipped instants of a cron expression.
"""

from typing import NamedTuple

import msgspec

from ostler.domain.errors import ConflictError
from ostler.domain.event import Event, Scalar
from ostler.domain.loops import (
    HISTORY_CHARS,
    HISTORY_KEPT,
    RECENT_KEPT,
    Loop,
    LoopDone,
    LoopRun,
    LoopStatus,
    ScheduleConfig,
    Summarizing,
)
from ostler.domain.schedules import check
from ostler.domain.tasks import TaskKind
from ostler.loops.schedule import due_between, first_due, next_due
from ostler.loops.wishes import Wishes, fingerprint, wishes

ERROR_CHARS = 500
BUDGET = "budget_exhausted"
ERRORS = "error_streak"
BY_HAND = "by hand"


class Step(NamedTuple):
    """What became of a loop, what to tell of it, and tasks that are to be cancelled."""

    loop: Loop
    events: tuple[Event, ...] = ()
    cancel: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the task of a step ended."""

    ok: bool
    output: str = ""
    error: str = ""
    cost_micro_usd: int = 0


def step_id(loop: Loop, run: LoopRun) -> str:
    """The id of the task of a step: the same whoever asks, and never that of another step."""
    again = f"-again-{run.again}" if run.again else ""
    return f"loop-{loop.name}-{run.number}-{run.tick}-{run.step}{again}"


def first_step_id(name: str, number: int) -> str:
    """The id of the task that a loop of a name begins with."""
    return f"loop-{name}-{number}-1-1"


def summary_id(loop: Loop, summarizing: Summarizing) -> str:
    """The id of the task that summarises."""
    of_loop = f"{summarizing.number}-" if summarizing.number else ""
    return f"loop-{loop.name}-summary-{of_loop}{summarizing.at_tick}"


def taken_back(loop: Loop, run: LoopRun) -> str | None:
    """The id of the task of this step that was taken back when there was no money, if one was."""
    return step_id(loop, msgspec.structs.replace(run, again=run.again - 1)) if run.again else None


def wanted(loop: Loop) -> str | None:
    """The id of the step that has to be in the queue, if one has to."""
    return step_id(loop, loop.run) if loop.run is not None and loop.run.pending else None


def wake_ms(loop: Loop) -> int | None:
    """When to look at it unasked."""
    return loop.next_loop_ms if loop.status is LoopStatus.WAITING else None


def start(loop: Loop, now_ms: int) -> Step:
    """Begin the schedule. Raises `ConflictError` when it runs already."""
    if loop.status in (LoopStatus.WAITING, LoopStatus.RUNNING):
        raise ConflictError(f"loop {loop.name} is {loop.status.value}", remedy="it needs no start")
    if loop.status is LoopStatus.PAUSED:
        raise ConflictError(f"loop {loop.name} is paused", remedy="resume it, or stop it first")
    begun = msgspec.structs.replace(
        loop,
        status=LoopStatus.WAITING,
        reason="",
        anchor_ms=now_ms,
        next_loop_ms=first_due(loop.schedule, now_ms),
        run=None,
        started_ms=now_ms,
        **_NEW_COUNT,
    )
    told = (_event(begun, "loop.started", now_ms), _waiting(begun, now_ms))
    return Step(begun, told)


_NEW_COUNT = {"loops_since_start": 0, "consecutive_errors": 0, "same_answers": 0, "fingerprint": "", "patient": False}


def stop(loop: Loop, now_ms: int, reason: str = BY_HAND) -> Step:
    """End the schedule; a step under way is cancelled. Twice is as once."""
    if loop.status is LoopStatus.STOPPED:
        return Step(loop)
    cancel = tuple(filter(None, [wanted(loop), summary_id(loop, loop.summarizing) if loop.summarizing else None]))
    stopped = loop if loop.run is None else _closed(loop, loop.run, "stopped", now_ms).loop
    stopped = msgspec.structs.replace(
        stopped, status=LoopStatus.STOPPED, reason=reason, next_loop_ms=None, run=None, summarizing=None
    )
    return Step(stopped, (_event(stopped, "loop.stopped", now_ms, reason=reason),), cancel)


def pause(loop: Loop, now_ms: int, reason: str = BY_HAND) -> Step:
    """Begin nothing new. What is under way ends and counts. Raises `ConflictError` when nothing would begin anyway."""
    if loop.status is LoopStatus.PAUSED:
        return Step(loop)
    if loop.status not in (LoopStatus.WAITING, LoopStatus.RUNNING):
        raise ConflictError(f"loop {loop.name} is {loop.status.value}", remedy="start it first")
    paused = msgspec.structs.replace(loop, status=LoopStatus.PAUSED, reason=reason)
    name = "loop.paused" if reason == BY_HAND else "loop.auto_paused"
    return Step(paused, (_event(paused, name, now_ms, reason=reason),))


def resume(loop: Loop, now_ms: int) -> Step:
    """Go on: with the step under way, the next tick of a loop that was interrupted, or the next loop that is due."""
    if loop.status is not LoopStatus.PAUSED:
        raise ConflictError(f"loop {loop.name} is {loop.status.value}, not paused", remedy="start it, or leave it")
    # A loop that is up to no more ticks was only waiting to be counted; that has happened already.
    going = msgspec.structs.replace(
        loop, reason="", consecutive_errors=0, same_answers=0, patient=loop.patient or loop.reason == BUDGET
    )
    if going.run is not None:
        run = msgspec.structs.replace(going.run, pending=True)
        going = msgspec.structs.replace(going, status=LoopStatus.RUNNING, run=run)
        return Step(going, (_event(going, "loop.resumed", now_ms),))
    going = msgspec.structs.replace(going, status=LoopStatus.WAITING)
    if not going.schedule.catch_up:
        going = _without_missed(going, now_ms, keep_last=False)
    return Step(going, (_event(going, "loop.resumed", now_ms), _waiting(going, now_ms)))


def change(loop: Loop, schedule: ScheduleConfig, now_ms: int) -> Step:
    """Another schedule from now on, also for a loop under way. A changed interval begins to count now; unchanged times
    stay where they were. Raises `InvalidInputError` for one that cannot be.
    """
    check(schedule)
    before = loop.schedule
    changed = msgspec.structs.replace(loop, schedule=schedule)
    moved = (before.interval_ms, before.cron, before.time_zone) != (
        schedule.interval_ms,
        schedule.cron,
        schedule.time_zone,
    )
    if moved and loop.next_loop_ms is not None:
        next_ms = next_due(schedule, now_ms, now_ms)
        changed = msgspec.structs.replace(changed, anchor_ms=now_ms, next_loop_ms=next_ms)
    if loop.status is LoopStatus.WAITING and 0 < schedule.max_loops <= loop.loops_since_start:
        changed = _finished(changed, "max_loops")
    told = [_event(changed, "loop.changed", now_ms)]
    if moved and changed.status is LoopStatus.WAITING:
        told.append(_waiting(changed, now_ms))
    return Step(changed, tuple(told))


def due(loop: Loop, now_ms: int) -> Step | None:
    """Begin a loop, if one is due."""
    if loop.status is not LoopStatus.WAITING or loop.next_loop_ms is None or loop.next_loop_ms > now_ms:
        return None
    if not loop.schedule.catch_up:
        loop = _without_missed(loop, now_ms, keep_last=True)
    due_ms = loop.next_loop_ms or now_ms
    run = LoopRun(number=loop.loops_begun + 1, due_ms=due_ms, started_ms=now_ms)
    begun = msgspec.structs.replace(
        loop,
        status=LoopStatus.RUNNING,
        run=run,
        loops_begun=run.number,
        last_loop_ms=now_ms,
        next_loop_ms=next_due(loop.schedule, loop.anchor_ms or due_ms, due_ms),
    )
    event = Event(
        name="loop.loop_start",
        at_ms=now_ms,
        measurements={"late_ms": now_ms - due_ms},
        metadata={"loop": loop.name, "number": run.number},
    )
    return Step(begun, (event,))


def no_money(loop: Loop, task_id: str, now_ms: int) -> Step | None:
    """The step under way waits for money: where the schedule says so it is taken back, and the loop pauses."""
    run = loop.run
    if run is None or wanted(loop) != task_id or loop.patient or not loop.schedule.auto_pause_on_budget:
        return None
    waiting = msgspec.structs.replace(run, pending=False, again=run.again + 1)
    paused = pause(msgspec.structs.replace(loop, run=waiting), now_ms, BUDGET)
    return Step(msgspec.structs.replace(paused.loop, reason=BUDGET), paused.events, (task_id,))


def step_ended(
    loop: Loop, task_id: str, ended: Ended, now_ms: int, *, summarize_every: int = 0, keep: int = HISTORY_KEPT
) -> Step | None:
    """The task of a step has ended. `None` when it is not the step that is under way: it has been counted before.
    `summarize_every`: after so many ticks their answers are to be summarised; 0 = never. `keep`: answers that are kept
    as they are, at most.
    """
    run = loop.run
    if run is None or wanted(loop) != task_id:
        return None
    asked = wishes(ended.output) if ended.ok else Wishes()
    run = msgspec.structs.replace(
        run,
        pending=False,
        steps=run.steps + 1,
        errors=run.errors + (not ended.ok),
        cost_micro_usd=run.cost_micro_usd + ended.cost_micro_usd,
    )
    loop = msgspec.structs.replace(
        loop,
        run=run,
        working=asked.applied(loop.working),
        total_cost_micro_usd=loop.total_cost_micro_usd + ended.cost_micro_usd,
        patient=False,
    )
    if ended.ok and asked.go_on and not (asked.stop or asked.end) and run.step < loop.schedule.max_steps_per_tick:
        further = msgspec.structs.replace(run, step=run.step + 1, again=0, said=ended.output[:HISTORY_CHARS])
        return _going_on(loop, further, ())
    loop = _tick_counted(loop, ended, summarize_every, keep)
    return _after_tick(loop, run, asked, _tick_told(loop, run, ended, now_ms), now_ms)


def _tick_told(loop: Loop, run: LoopRun, ended: Ended, now_ms: int) -> Event:
    return Event(
        name="loop.tick",
        at_ms=now_ms,
        measurements={"steps": run.step, "cost_micro_usd": ended.cost_micro_usd},
        metadata={
            "loop": loop.name,
            "number": run.number,
            "tick": run.tick,
            "ok": ended.ok,
            "error": ended.error[:200],
        },
    )


def _tick_counted(loop: Loop, ended: Ended, summarize_every: int, keep: int) -> Loop:
    if not ended.ok:
        return msgspec.structs.replace(
            loop,
            total_ticks_run=loop.total_ticks_run + 1,
            total_errors=loop.total_errors + 1,
            consecutive_errors=loop.consecutive_errors + 1,
            last_error=ended.error[:ERROR_CHARS],
            working=loop.working.added("errors", ended.error[:ERROR_CHARS]),
        )
    mark = fingerprint(ended.output)
    counted = msgspec.structs.replace(
        loop,
        total_ticks_run=loop.total_ticks_run + 1,
        consecutive_errors=0,
        same_answers=loop.same_answers + 1 if mark == loop.fingerprint else 1,
        fingerprint=mark,
        history=(*loop.history, ended.output[:HISTORY_CHARS])[-keep:],
    )
    if (
        not _talks(loop)
        or not summarize_every
        or counted.total_ticks_run % summarize_every
        or counted.summarizing is not None
    ):
        return counted
    older = counted.history[:-1]
    if not older:
        return counted
    job = Summarizing(number=loop.loops_begun, at_tick=counted.total_ticks_run, texts=older)
    return msgspec.structs.replace(counted, summarizing=job, history=counted.history[-1:])


def _after_tick(loop: Loop, run: LoopRun, asked: Wishes, told: Event, now_ms: int) -> Step:
    """The next tick, or the end of the loop; then whether it pauses."""
    stuck = _talks(loop) and 0 < loop.schedule.identical_ticks <= loop.same_answers
    streak = 0 < loop.schedule.auto_pause_on_error_streak <= loop.consecutive_errors
    last = run.tick >= loop.schedule.ticks_per_loop
    if asked.stop or asked.end or stuck or last:
        outcome = "agent_ended" if asked.stop or asked.end else "no_progress" if stuck and not last else "completed"
        over = _closed(loop, run, outcome, now_ms)
        step = _over(over.loop, asked, (told, *over.events), now_ms)
    else:
        step = _going_on(loop, msgspec.structs.replace(run, tick=run.tick + 1, step=1, again=0, said=""), (told,))
    if streak and step.loop.status in (LoopStatus.WAITING, LoopStatus.RUNNING):
        held = step.loop
        if held.run is not None:
            held = msgspec.structs.replace(held, run=msgspec.structs.replace(held.run, pending=False))
        paused = pause(held, now_ms, ERRORS)
        return Step(paused.loop, (*step.events, *paused.events))
    return step


def _talks(loop: Loop) -> bool:
    """A command may well say the same each time, and nobody reads its older words."""
    return loop.work.kind is not TaskKind.COMMAND


def _going_on(loop: Loop, run: LoopRun, told: tuple[Event, ...]) -> Step:
    """With another step, at once unless the loop is paused."""
    pending = loop.status is LoopStatus.RUNNING
    return Step(msgspec.structs.replace(loop, run=msgspec.structs.replace(run, pending=pending)), told)


def _closed(loop: Loop, run: LoopRun, outcome: str, now_ms: int) -> Step:
    """A loop is over."""
    done = LoopDone(
        number=run.number,
        due_ms=run.due_ms,
        started_ms=run.started_ms,
        ended_ms=now_ms,
        ticks=run.tick - (outcome == "stopped"),
        errors=run.errors,
        cost_micro_usd=run.cost_micro_usd,
        outcome=outcome,
    )
    closed = msgspec.structs.replace(
        loop,
        run=None,
        loops_completed=loop.loops_completed + (outcome != "stopped"),
        loops_since_start=loop.loops_since_start + 1,
        same_answers=0,
        fingerprint="",
        recent=(*loop.recent, done)[-RECENT_KEPT:],
    )
    event = Event(
        name="loop.loop_end",
        at_ms=now_ms,
        measurements={
            "duration_ms": now_ms - run.started_ms,
            "ticks": done.ticks,
            "errors": done.errors,
            "cost_micro_usd": done.cost_micro_usd,
        },
        metadata={"loop": loop.name, "number": run.number, "outcome": outcome},
    )
    return Step(closed, (event,))


def _over(loop: Loop, asked: Wishes, told: tuple[Event, ...], now_ms: int) -> Step:
    """After a loop: the end of the schedule, or the wait for the next one. A pause stays a pause."""
    if asked.stop:
        ended = _finished(loop, f"agent: {asked.why}" if asked.why else "agent")
    elif 0 < loop.schedule.max_loops <= loop.loops_since_start:
        ended = _finished(loop, "max_loops")
    else:
        if not loop.schedule.catch_up:
            loop = _without_missed(loop, now_ms, keep_last=False)
        if loop.status is LoopStatus.PAUSED:
            return Step(loop, told)
        waiting = msgspec.structs.replace(loop, status=LoopStatus.WAITING)
        return Step(waiting, (*told, _waiting(waiting, now_ms)))
    return Step(ended, (*told, _event(ended, "loop.completed", now_ms, reason=ended.reason)))


def _finished(loop: Loop, reason: str) -> Loop:
    return msgspec.structs.replace(loop, status=LoopStatus.FINISHED, reason=reason, next_loop_ms=None)


def _without_missed(loop: Loop, now_ms: int, *, keep_last: bool) -> Loop:
    """Skip and count what has been due by now; `keep_last`: all but the last of it, which is run late."""
    if loop.next_loop_ms is None or loop.next_loop_ms > now_ms:
        return loop
    anchor_ms = loop.anchor_ms or loop.next_loop_ms
    missed = due_between(loop.schedule, anchor_ms, loop.next_loop_ms, now_ms) - keep_last
    next_ms = next_due(loop.schedule, anchor_ms, now_ms)
    if keep_last:
        next_ms = loop.next_loop_ms
        for _ in range(missed if loop.schedule.cron else 0):
            next_ms = next_due(loop.schedule, anchor_ms, next_ms)
        if not loop.schedule.cron:
            next_ms += missed * loop.schedule.interval_ms
    return msgspec.structs.replace(loop, next_loop_ms=next_ms, loops_skipped=loop.loops_skipped + missed)


def summarized(loop: Loop, task_id: str, text: str, by: str, now_ms: int) -> Step | None:
    """Older answers are summarised; `None` when that was counted before."""
    job = loop.summarizing
    if job is None or summary_id(loop, job) != task_id:
        return None
    kept = msgspec.structs.replace(loop, summarizing=None, working=loop.working.added("summaries", text))
    event = Event(
        name="loop.summarized",
        at_ms=now_ms,
        measurements={"answers": len(job.texts), "characters": len(text)},
        metadata={"loop": loop.name, "tick": job.at_tick, "by": by},
    )
    return Step(kept, (event,))


def _event(loop: Loop, name: str, now_ms: int, **metadata: Scalar) -> Event:
    return Event(name=name, at_ms=now_ms, metadata={"loop": loop.name, "status": loop.status.value, **metadata})


def _waiting(loop: Loop, now_ms: int) -> Event:
    next_ms = loop.next_loop_ms or now_ms
    return Event(
        name="loop.waiting",
        at_ms=now_ms,
        measurements={"wait_ms": max(0, next_ms - now_ms)},
        metadata={"loop": loop.name, "next_at_ms": next_ms},
    )
