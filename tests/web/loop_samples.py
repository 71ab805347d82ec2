"""One loop as the hub tells it."""

from ostler.domain.loops import Loop, LoopDone, LoopRun, LoopStatus, ScheduleConfig
from ostler.domain.tasks import TaskSpec
from ostler.domain.working_set import WorkingState
from ostler.hub.loop_views import LoopAnswer, LoopHistory, LoopList

NOW_MS = 1_800_000_000_000
DONE = LoopDone(
    number=2,
    due_ms=NOW_MS - 1_800_000,
    started_ms=NOW_MS - 1_800_000,
    ended_ms=NOW_MS - 1_700_000,
    ticks=15,
    errors=1,
    cost_micro_usd=20_000,
)
LOOP = Loop(
    name="night",
    version=7,
    created_ms=NOW_MS - 3_600_000,
    schedule=ScheduleConfig(stimulus="look around", ticks_per_loop=15),
    work=TaskSpec(id="work", prompt="mend what is broken", tier="standard"),
    status=LoopStatus.RUNNING,
    anchor_ms=NOW_MS - 3_600_000,
    next_loop_ms=NOW_MS + 1_800_000,
    run=LoopRun(number=3, due_ms=NOW_MS, started_ms=NOW_MS, tick=4, step=2),
    loops_begun=3,
    loops_completed=2,
    loops_since_start=2,
    total_ticks_run=33,
    total_errors=1,
    total_cost_micro_usd=45_000,
    started_ms=NOW_MS - 3_600_000,
    last_error="no such file",
    recent=(DONE,),
    working=WorkingState(objectives=("mend the roof",)),
)
ANSWER = LoopAnswer(loop=LOOP, step="loop-night-3-4-2", waits="capacity: all slots are taken", now_ms=NOW_MS)
LIST = LoopList(loops=(ANSWER,), now_ms=NOW_MS)
HISTORY = LoopHistory(
    name="night", loops=(DONE,), loops_completed=2, total_ticks_run=33, total_errors=1, total_cost_micro_usd=45_000
)
