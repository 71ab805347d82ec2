"""The one table of all routes."""

from ostler.web import alert_handlers as alert
from ostler.web import batch_handlers as batch
from ostler.web import handlers as on
from ostler.web import late_handlers as late
from ostler.web import loop_handlers as loop
from ostler.web import metrics_handlers as metric
from ostler.web import pattern_handlers as pattern
from ostler.web import people_handlers as people
from ostler.web import worker_handlers as worker
from ostler.web.call import Access, Route, route

OPENAPI_PATH = "/hub/openapi.json"
"""Describes the table, so it is not in it."""


def hub_routes() -> tuple[Route, ...]:
    """Every route of the hub but the description of them."""
    return (
        route("GET", "/healthz", on.health, access=Access.OPEN),
        route("GET", "/metrics", metric.metrics),
        route("GET", "/hub/status", on.status),
        route("POST", "/hub/tasks", on.submit, status=201),
        route("GET", "/hub/tasks", on.tasks),
        route("GET", "/hub/tasks/{id}", on.task),
        route("POST", "/hub/tasks/{id}/cancel", on.cancel),
        route("POST", "/hub/tasks/{id}/retry", on.retry),
        route("POST", "/hub/tasks/{id}/answer", people.answer),
        route("GET", "/hub/questions", people.questions),
        route("POST", "/hub/tasks/{id}/pause", on.pause),
        route("POST", "/hub/tasks/{id}/resume", on.resume),
        route("GET", "/hub/tasks/{id}/why", on.why),
        route("GET", "/hub/runs/{run}/results", on.results),
        route("POST", "/hub/runs/{run}/plan", on.make_plan, hangs=True),
        route("GET", "/hub/runs/{run}/plan", on.run_plan),
        route("DELETE", "/hub/runs/{run}/plan", on.drop_plan),
        route("POST", "/hub/route", on.decide),
        route("GET", "/hub/events", on.events),
        route("GET", "/hub/events/stream", on.stream),
        route("GET", "/hub/endpoints", on.endpoints),
        route("POST", "/hub/endpoints", on.add_endpoint, status=201),
        route("DELETE", "/hub/endpoints/{name}", on.remove_endpoint),
        route("POST", "/hub/endpoints/{name}/check", on.check_endpoint),
        route("POST", "/hub/endpoints/{name}/reset", on.reset_endpoint),
        route("GET", "/hub/hosts", on.hosts),
        route("POST", "/hub/hosts/{host}/load", on.load_model, hangs=True, later=True),
        route("POST", "/hub/hosts/{host}/unload", on.unload_model, hangs=True, later=True),
        route("POST", "/hub/hosts/{host}/pin", on.pin_model),
        route("GET", "/hub/models", on.models),
        route("POST", "/admin/swap-model", on.swap_model, access=Access.KEY, hangs=True, later=True),
        route("GET", "/hub/workers", on.workers),
        route("GET", "/hub/hubs", on.hubs),
        route("GET", "/hub/config", on.settings),
        route("GET", "/hub/tokens", on.tokens, access=Access.PRIVATE),
        route("POST", "/hub/tokens", on.make_token, status=201),
        route("DELETE", "/hub/tokens/{name}", on.revoke_token),
        route("GET", "/hub/keys", on.keys),
        route("POST", "/hub/keys", on.make_key, status=201),
        route("DELETE", "/hub/keys/{name}", on.revoke_key),
        route("POST", "/hub/spending", on.record_spending, status=201),
        *_pattern_routes(),
        *_work_routes(),
        route("GET", "/hub/alerts", alert.alerts),
        route("POST", "/hub/alerts/ack", alert.acknowledge),
        route("POST", "/hub/alerts/test", alert.test, hangs=True),
        *_loop_routes(),
        route("GET", "/hub/calls", on.calls),
        route("GET", "/hub/calls/{id}", on.call_record),
        route("POST", "/hub/workers/join", worker.join, access=Access.WORKER),
        route("POST", "/hub/workers/{session}/heartbeat", worker.heartbeat, access=Access.WORKER),
        route("POST", "/hub/workers/{session}/poll", worker.poll, access=Access.WORKER, hangs=True),
        route("POST", "/hub/workers/{session}/reports", worker.report, access=Access.WORKER),
        route("POST", "/hub/workers/{session}/leave", worker.leave, access=Access.WORKER),
    )


def _loop_routes() -> tuple[Route, ...]:
    return (
        route("GET", "/hub/loops", loop.loops),
        route("POST", "/hub/loops", loop.create_loop, status=201),
        route("GET", "/hub/loops/{name}", loop.loop),
        route("DELETE", "/hub/loops/{name}", loop.drop_loop),
        route("POST", "/hub/loops/{name}/start", loop.start_loop),
        route("POST", "/hub/loops/{name}/stop", loop.stop_loop),
        route("POST", "/hub/loops/{name}/pause", loop.pause_loop),
        route("POST", "/hub/loops/{name}/resume", loop.resume_loop),
        route("POST", "/hub/loops/{name}/change", loop.change_loop),
        route("GET", "/hub/loops/{name}/history", loop.loop_history),
    )


def _pattern_routes() -> tuple[Route, ...]:
    return (
        route("GET", "/hub/patterns", pattern.patterns),
        route("POST", "/hub/patterns", pattern.add_outcomes, status=201),
        route("DELETE", "/hub/patterns", pattern.forget_outcomes),
        route("GET", "/hub/patterns/outcomes", pattern.outcomes),
    )


def _work_routes() -> tuple[Route, ...]:
    """Work as a whole: batches, the pulse, results that came too late."""
    return (
        route("GET", "/hub/batches", batch.batches),
        route("GET", "/hub/batches/{name}", batch.batch),
        route("POST", "/hub/batches/{name}", batch.make_batch),
        route("POST", "/hub/batches/{name}/pause", batch.pause_batch),
        route("POST", "/hub/batches/{name}/resume", batch.resume_batch),
        route("POST", "/hub/batches/{name}/cancel", batch.cancel_batch),
        route("GET", "/hub/pulse", batch.look),
        route("POST", "/hub/pulse", batch.step),
        route("GET", "/hub/idle", batch.why_idle),
        route("GET", "/hub/late", late.late),
        route("GET", "/hub/late/{id}/{attempt}", late.late_result),
        route("POST", "/hub/late/{id}/{attempt}/adopt", late.adopt),
    )
