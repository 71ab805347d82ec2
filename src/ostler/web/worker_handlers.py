"""Handlers of the routes for remote workers: the hub's `HubLink` over HTTP.

A poll is stopped when its worker hangs up; an assignment that was on its way then is not lost, because the hub hands
it out again until the worker reports its start or its time is up.
"""

from msgspec.structs import replace

from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.work import Poll, Report
from ostler.hub.api import HubApi
from ostler.web.bodies import Done, Lease, LeaveBody, NoQuery, PollBody
from ostler.web.call import Call


async def join(api: HubApi, call: Call[WorkerOffer, NoQuery]) -> Session:
    """Join with an offer of slots and capabilities; the session is what must be renewed."""
    # The worker inside the hub does not come this way: what it may is nobody else's.
    return await api.link.join(replace(call.body, builtin=False))


async def heartbeat(api: HubApi, call: Call[HostReport | None, NoQuery]) -> Lease:
    """Renew the session. 404: the hub has given it up; stop the attempts and join again."""
    return Lease(lease_ms=await api.link.heartbeat(call.path["session"], call.body))


async def poll(api: HubApi, call: Call[PollBody, NoQuery]) -> Poll:
    """Attempts to start and to stop; held until there is some or `wait_ms` is over."""
    return await api.link.poll(call.path["session"], call.body.wait_ms)


async def report(api: HubApi, call: Call[tuple[Report, ...], NoQuery]) -> Done:
    """Hand over reports; answers when they are durable. Safe to repeat."""
    await api.link.report(call.path["session"], call.body)
    return Done()


async def leave(api: HubApi, call: Call[LeaveBody | None, NoQuery]) -> Done:
    """Leave in good order; changes nothing when a later process of the same daemon has joined."""
    body = call.body or LeaveBody()
    await api.link.leave(call.path["session"], body.life, died=body.died)
    return Done()
