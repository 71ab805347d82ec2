"""Calls of the gateway: the list with filters, and one call with its attempts and its decision."""

from ostler.domain.ports import CallQuery
from ostler.hub.api import HubApi
from ostler.routing.explain import explain
from ostler.web.pages.tasks import ranks_of
from ostler.web.pages.view import Ask, View

PAGE = 50


async def listing(api: HubApi, ask: Ask) -> View:
    """Calls, newest first."""
    query = CallQuery(
        key=ask.word("key"),
        model=ask.word("model") or None,
        endpoint=ask.word("endpoint") or None,
        failed=ask.word("failed") == "yes",
        limit=PAGE + 1,
        before=ask.word("before") or None,
    )
    found, keys, status = await api.gateway.calls(query), await api.gateway.keys(), await api.status()
    shown = found.calls[:PAGE]
    return View(
        template="calls.html",
        title="Calls",
        section="calls",
        data={
            "calls": shown,
            "next_before": shown[-1].id if len(found.calls) > PAGE else None,
            "query": query,
            "keys": [key.name for key in keys.keys],
            "totals": status.calls,
            "status": status,
            "filtered": bool(query.key or query.model or query.endpoint or query.failed or query.before),
        },
        regions=("calls/summary.html", "calls/rows.html"),
    )


async def one(api: HubApi, ask: Ask) -> View:
    """Everything about one call."""
    answer = await api.gateway.call(ask.names["id"])
    return View(
        template="call.html",
        title=f"Call {answer.record.id}",
        section="calls",
        data={
            "answer": answer,
            "call": answer.record,
            "sections": explain(answer.decision) if answer.decision is not None else (),
            "ranks": ranks_of(api),
        },
    )
