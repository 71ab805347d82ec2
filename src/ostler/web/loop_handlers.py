"""Handlers of the routes about loops of autonomous agents."""

from ostler.hub.api import HubApi
from ostler.hub.loop_views import LoopAnswer, LoopHistory, LoopList, LoopWish, ScheduleChange
from ostler.web.bodies import Done, LoopHistoryQuery, NoQuery
from ostler.web.call import Call
from ostler.web.decode import check_names


async def loops(api: HubApi, call: Call[None, NoQuery]) -> LoopList:
    """All loops by name, with what they do now and how long until the next one."""
    del call
    return await api.loops.listed()


async def create_loop(api: HubApi, call: Call[LoopWish, NoQuery]) -> LoopAnswer:
    """Make a loop. `work` is what each step is: a task, whose id is of no account; `schedule` says what is to be other
    than the profile has it.
    """
    check_names({"$.name": call.body.name})
    return await api.loops.create(call.body)


async def loop(api: HubApi, call: Call[None, NoQuery]) -> LoopAnswer:
    """One loop: schedule, state, record, and what its agent keeps in mind."""
    return await api.loops.show(call.path["name"])


async def start_loop(api: HubApi, call: Call[None, NoQuery]) -> LoopAnswer:
    """Begin the schedule; loops are counted anew."""
    return await api.loops.act(call.path["name"], "start")


async def stop_loop(api: HubApi, call: Call[None, NoQuery]) -> LoopAnswer:
    """End the schedule; a step under way is cancelled."""
    return await api.loops.act(call.path["name"], "stop")


async def pause_loop(api: HubApi, call: Call[None, NoQuery]) -> LoopAnswer:
    """Begin nothing new; a step under way ends and counts."""
    return await api.loops.act(call.path["name"], "pause")


async def resume_loop(api: HubApi, call: Call[None, NoQuery]) -> LoopAnswer:
    """Go on where it was paused; a streak of errors begins anew."""
    return await api.loops.act(call.path["name"], "resume")


async def change_loop(api: HubApi, call: Call[ScheduleChange, NoQuery]) -> LoopAnswer:
    """Change the schedule, also while it runs; what is not named stays."""
    return await api.loops.change(call.path["name"], call.body)


async def loop_history(api: HubApi, call: Call[None, LoopHistoryQuery]) -> LoopHistory:
    """Loops that are over, the newest first; the newest 50 are kept."""
    return await api.loops.history(call.path["name"], call.query.limit)


async def drop_loop(api: HubApi, call: Call[None, NoQuery]) -> Done:
    """Forget a loop that neither runs nor waits; its tasks stay."""
    await api.loops.drop(call.path["name"])
    return Done()
