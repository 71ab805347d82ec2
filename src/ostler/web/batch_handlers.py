"""Handlers of the routes about batches, the pulse, and why nothing runs."""

from ostler.hub.api import HubApi
from ostler.hub.batch_views import BatchAnswer, BatchList, BatchRow, BatchWish
from ostler.hub.pulse_views import Idle, PulseReport
from ostler.web.bodies import BatchQuery, CancelBody, NoQuery
from ostler.web.call import Call
from ostler.web.decode import check_names


async def batches(api: HubApi, call: Call[None, NoQuery]) -> BatchList:
    """Batches with open tasks, and those that were over lately, the newest first."""
    del call
    return await api.batches.rows()


async def batch(api: HubApi, call: Call[None, NoQuery]) -> BatchAnswer:
    """One batch with its tasks, and what they wait for."""
    return await api.batches.show(call.path["name"])


async def make_batch(api: HubApi, call: Call[BatchWish, NoQuery]) -> BatchRow:
    """Put open tasks into a batch, all or none, and start it; or change how many of it run at once."""
    check_names({"name": call.path["name"]})
    return await api.batches.make(call.path["name"], call.body)


async def pause_batch(api: HubApi, call: Call[None, NoQuery]) -> BatchRow:
    """Keep what has not started from starting; what runs goes on."""
    return await api.batches.pause(call.path["name"])


async def resume_batch(api: HubApi, call: Call[None, NoQuery]) -> BatchRow:
    """Let a paused batch go on."""
    return await api.batches.resume(call.path["name"])


async def cancel_batch(api: HubApi, call: Call[CancelBody | None, NoQuery]) -> BatchRow:
    """Cancel what has not ended; what runs is being stopped when this is answered."""
    return await api.batches.cancel(call.path["name"], call.body.reason if call.body is not None else "")


async def look(api: HubApi, call: Call[None, BatchQuery]) -> PulseReport:
    """What runs, waits, is stuck, and why; changes nothing."""
    return await api.pulse.look(call.query.batch)


async def step(api: HubApi, call: Call[None, BatchQuery]) -> PulseReport:
    """Take a step of the engine now, then say the same, and what the step did. Safe at any time."""
    return await api.pulse.step(call.query.batch)


async def why_idle(api: HubApi, call: Call[None, BatchQuery]) -> Idle:
    """The one thing that keeps work from running, in a sentence."""
    return await api.pulse.why_idle(call.query.batch)
