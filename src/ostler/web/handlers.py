"""Handlers of the routes for people and their tools. Each asks the hub one thing."""

from collections.abc import AsyncIterator

from ostler.domain.errors import InvalidInputError
from ostler.domain.event import Event
from ostler.domain.fleet import Probe
from ostler.domain.hubs import HubList
from ostler.domain.ports import CallQuery, TaskQuery
from ostler.domain.tasks import Task, TaskSpec
from ostler.domain.trace import parse
from ostler.hub.api import HubApi
from ostler.hub.fleet_views import HostList, HostRow, ModelChange, ModelList
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow
from ostler.hub.plan_views import PlanWish, RunPlan
from ostler.hub.spending_views import SpendingNoted
from ostler.hub.views import (
    EndpointList,
    EventPage,
    HubStatus,
    RunResults,
    SettingList,
    SubmitAnswer,
    TaskAnswer,
    TaskList,
    TokenList,
    TokenMade,
    Why,
    WorkerList,
)
from ostler.version import __version__
from ostler.web.bodies import (
    CallListQuery,
    CancelBody,
    Done,
    EndpointBody,
    EventQuery,
    Health,
    HostQuery,
    KeyBody,
    LoadBody,
    NoQuery,
    PinBody,
    PlanBody,
    ResultsQuery,
    RouteAnswer,
    SpendingBody,
    StreamQuery,
    SubmitBody,
    SwapBody,
    TaskListQuery,
    TokenBody,
    UnloadBody,
)
from ostler.web.call import Call
from ostler.web.decode import check_names


async def health(_api: HubApi, call: Call[None, NoQuery]) -> Health:
    """The hub answers. For supervisors and load balancers; says nothing about endpoints or workers."""
    del call
    return Health(ok=True, version=__version__)


async def status(api: HubApi, call: Call[None, NoQuery]) -> HubStatus:
    """The hub at a glance: counts, what waits and why, tiers, endpoints."""
    del call
    return await api.status()


async def submit(api: HubApi, call: Call[SubmitBody, NoQuery]) -> SubmitAnswer:
    """Accept tasks, all or none; answers when they are durable. Sending the same tasks again is safe."""
    check_names({f"$.tasks[{index}].id": spec.id for index, spec in enumerate(call.body.tasks)})
    body = call.body
    plan = None if body.plan is None else PlanWish(strategy=body.plan.strategy, seconds=body.plan.seconds)
    trace = parse(call.headers.get("traceparent", ""))
    return await api.submit(body.tasks, resume=body.resume, plan=plan, trace=trace)


async def tasks(api: HubApi, call: Call[None, TaskListQuery]) -> TaskList:
    """Tasks, newest first. Go on with `before` = the `seq` of the last one."""
    query = call.query
    return await api.tasks(TaskQuery(states=query.state, batch=query.batch, limit=query.limit, before_seq=query.before))


async def task(api: HubApi, call: Call[None, NoQuery]) -> TaskAnswer:
    """Everything about one task: spec, attempts, decisions, events, output."""
    return await api.task(call.path["id"])


async def results(api: HubApi, call: Call[None, ResultsQuery]) -> RunResults:
    """The results of a run by derived phase. Of very long ones the middle is left out; a task has its own whole."""
    return await api.results(call.path["run"], call.query.phase)


async def make_plan(api: HubApi, call: Call[PlanBody | None, NoQuery]) -> RunPlan:
    """Plan what is left of a run and follow the plan; it is durable when this answers. The body may be left out."""
    body = call.body or PlanBody()
    return await api.plans.make(call.path["run"], strategy=body.strategy, seconds=body.seconds)


async def run_plan(api: HubApi, call: Call[None, NoQuery]) -> RunPlan:
    """The plan of a run beside what happened: every version, every task, the residents of every host."""
    return await api.plans.show(call.path["run"])


async def drop_plan(api: HubApi, call: Call[None, NoQuery]) -> Done:
    """Follow the plan of a run no longer; its tasks go on."""
    await api.plans.drop(call.path["run"])
    return Done()


async def cancel(api: HubApi, call: Call[CancelBody | None, NoQuery]) -> Task:
    """Cancel a task; a running attempt is stopped. The body may be left out."""
    return await api.cancel(call.path["id"], call.body.reason if call.body else "")


async def retry(api: HubApi, call: Call[None, NoQuery]) -> Task:
    """Send a task that ended badly, or needs a person, back to the queue."""
    return await api.retry(call.path["id"])


async def pause(api: HubApi, call: Call[None, NoQuery]) -> Task:
    """Keep a queued task from being started."""
    return await api.pause(call.path["id"])


async def resume(api: HubApi, call: Call[None, NoQuery]) -> Task:
    """Let a paused task be started again."""
    return await api.resume(call.path["id"])


async def why(api: HubApi, call: Call[None, NoQuery]) -> Why:
    """Why a task runs where it runs, or why it does not run."""
    return await api.why(call.path["id"])


async def decide(api: HubApi, call: Call[TaskSpec, NoQuery]) -> RouteAnswer:
    """What would happen to a task now; stores nothing, calls no model."""
    verdict, explanation = await api.route(call.body)
    return RouteAnswer(verdict=verdict, why=explanation)


async def events(api: HubApi, call: Call[None, EventQuery]) -> EventPage:
    """Events after a sequence number, oldest first."""
    return await api.events(call.query.after, call.query.limit, call.query.task)


def stream(api: HubApi, call: Call[None, StreamQuery]) -> AsyncIterator[Event]:
    """Events as they happen, as server-sent events.

    `id` is the sequence number, `data` the event. A comment is sent when nothing happened for 15 s. After a reconnect
    go on with `Last-Event-ID`.
    """
    last_seen = call.headers.get("last-event-id")
    if last_seen is None:
        return api.follow(call.query.after)
    if not (last_seen.isascii() and last_seen.isdecimal()):
        raise InvalidInputError(
            f"'{last_seen}' is no sequence number", where="Last-Event-ID header", remedy="send the last `id` received"
        )
    return api.follow(int(last_seen))


async def endpoints(api: HubApi, call: Call[None, NoQuery]) -> EndpointList:
    """All endpoints with health, models, residents and calls in flight."""
    del call
    return api.endpoints.rows()


async def add_endpoint(api: HubApi, call: Call[EndpointBody, NoQuery]) -> Done:
    """Register an endpoint beside those of the profile."""
    check_names({"$.name": call.body.name})
    await api.endpoints.add(call.body.spec())
    return Done()


async def remove_endpoint(api: HubApi, call: Call[None, NoQuery]) -> Done:
    """Remove a registered endpoint."""
    await api.endpoints.remove(call.path["name"])
    return Done()


async def check_endpoint(api: HubApi, call: Call[None, NoQuery]) -> Probe:
    """List an endpoint now; never generates. The name may be that of a provider."""
    return await api.endpoints.check(call.path["name"])


async def reset_endpoint(api: HubApi, call: Call[None, NoQuery]) -> Done:
    """Close an endpoint's breaker, forget its rate limit, probe it at once."""
    await api.endpoints.reset(call.path["name"])
    return Done()


async def hosts(api: HubApi, call: Call[None, HostQuery]) -> HostList:
    """All hosts and what is in their memory, what waits for it, what swapping has cost.

    `saved` compares the last hour with first-in-first-out; that comparison is simulated.
    """
    return await api.residency.hosts(saved=call.query.saved)


async def models(api: HubApi, call: Call[None, NoQuery]) -> ModelList:
    """All models: where they are installed and loaded, what they take as measured and as configured."""
    del call
    return await api.residency.models()


async def load_model(api: HubApi, call: Call[LoadBody, NoQuery]) -> ModelChange:
    """Load a model on a managed host; refused when that would stop work. 202 while it is under way."""
    return await api.residency.load(call.path["host"], call.body.order())


async def unload_model(api: HubApi, call: Call[UnloadBody, NoQuery]) -> ModelChange:
    """Unload a model from a managed host; refused while it works or is pinned. 202 while it is under way."""
    return await api.residency.unload(call.path["host"], call.body.order())


async def pin_model(api: HubApi, call: Call[PinBody, NoQuery]) -> HostRow:
    """Never evict a model from a host, or allow it again; holds until the hub stops."""
    return await api.residency.pin(call.path["host"], call.body.model, pinned=call.body.pinned)


async def swap_model(api: HubApi, call: Call[SwapBody, NoQuery]) -> ModelChange:
    """Put a model in the place of another one, where that one is loaded. 202 while it is under way."""
    return await api.residency.swap(call.body.order())


async def workers(api: HubApi, call: Call[None, NoQuery]) -> WorkerList:
    """All joined workers and what they do."""
    del call
    return await api.workers()


async def hubs(api: HubApi, call: Call[None, NoQuery]) -> HubList:
    """The hubs that share the work of the pool; exactly one of those that are up leads."""
    del call
    return await api.hubs()


async def settings(api: HubApi, call: Call[None, NoQuery]) -> SettingList:
    """All effective settings and where each comes from."""
    del call
    return await api.settings()


async def tokens(api: HubApi, call: Call[None, NoQuery]) -> TokenList:
    """All tokens that are valid: name, scope and when each was made. What opens the hub is never told again."""
    del call
    return await api.tokens.tokens()


async def make_token(api: HubApi, call: Call[TokenBody, NoQuery]) -> TokenMade:
    """Make a token; it is shown this once."""
    check_names({"$.name": call.body.name})
    return await api.tokens.make(call.body.name, call.body.scope)


async def revoke_token(api: HubApi, call: Call[None, NoQuery]) -> Done:
    """Revoke a token."""
    await api.tokens.revoke(call.path["name"])
    return Done()


async def keys(api: HubApi, call: Call[None, NoQuery]) -> KeyList:
    """All keys of the gateway, the revoked ones too, with what each has spent in its window and when it was used."""
    del call
    return await api.gateway.keys()


async def make_key(api: HubApi, call: Call[KeyBody, NoQuery]) -> KeyMade:
    """Make a key of the gateway; it is shown this once. Its name is never given again, not even after it is revoked."""
    check_names({"$.name": call.body.name})
    return await api.gateway.make_key(call.body.wish())


async def revoke_key(api: HubApi, call: Call[None, NoQuery]) -> KeyRow:
    """Revoke a key of the gateway; who presents it is refused from now on. Safe to repeat."""
    return await api.gateway.revoke_key(call.path["name"])


async def record_spending(api: HubApi, call: Call[SpendingBody, NoQuery]) -> SpendingNoted:
    """Charge a call that was made elsewhere. The same `id` is charged once, so it is safe to repeat."""
    fields = ("id", "provider", "model", "tier", "task", "session", "tick")
    names = {f"$.{name}": getattr(call.body, name) for name in fields}
    check_names({where: name for where, name in names.items() if name})
    return await api.record_spending(call.body.spending())


async def calls(api: HubApi, call: Call[None, CallListQuery]) -> CallList:
    """Calls of the gateway, newest first, without prompts and answers. Go on with `before` = the `id` of the last."""
    query = call.query
    return await api.gateway.calls(
        CallQuery(
            key=query.key,
            model=query.model,
            endpoint=query.endpoint,
            failed=query.failed,
            limit=query.limit,
            before=query.before,
        )
    )


async def call_record(api: HubApi, call: Call[None, NoQuery]) -> CallAnswer:
    """Everything about one call: its record with every attempt, the decision behind it, and both in words."""
    return await api.gateway.call(call.path["id"])
