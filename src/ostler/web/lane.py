"""The short way to what clients and workers ask all the time: the same guard and the same route, nothing between.

A request that hands tasks in, polls or reports costs less itself than the framework's way to it: a stack of middleware,
and a table that is searched in order. Whatever is not in the lane takes that way, unchanged; and a route in the lane
gives the same answer by both, which is tested for each.
"""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ostler.domain.errors import OstlerError
from ostler.web.call import Route
from ostler.web.errors import error_response, on_unexpected_error
from ostler.web.guard import SiteGuard
from ostler.web.serve import RouteApp

SUBMIT = "/hub/tasks"
WORKERS = "/hub/workers/"
SESSION = f"{WORKERS}{{session}}/"


class Lane:
    """ASGI application in front of another one, for the rows that are asked all the time."""

    def __init__(self, rest: ASGIApp, guard: SiteGuard, rows: Iterable[tuple[Route, RouteApp]]) -> None:
        self._rest = rest
        self._guard = guard
        posts = {row.path: app for row, app in rows if row.method == "POST" and not row.streams}
        self._submit = posts[SUBMIT]
        self._verbs = {path.removeprefix(SESSION): app for path, app in posts.items() if path.startswith(SESSION)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of the lane; hand on any other."""
        route = self._route(scope)
        if route is None:
            await self._rest(scope, receive, send)
            return
        error: OstlerError | None = self._guard.refusal(scope, Headers(scope=scope))
        if error is None:
            try:
                await route(scope, receive, send)
            except OstlerError as refused:  # always before the first byte: a route here answers once, at its end
                error = refused
            except Exception as mistake:  # boundary: told as the framework tells it, and logged by the server
                answer = await on_unexpected_error(Request(scope), mistake)
                await answer(scope, receive, send)
                raise
        if error is not None:
            await error_response(error)(scope, receive, send)

    def _route(self, scope: Scope) -> RouteApp | None:
        """The row of a request, its varying part put into the scope; `None` = not of the lane."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path: str = scope["path"]
        if path == SUBMIT:
            scope["path_params"] = {}
            return self._submit
        if not path.startswith(WORKERS):
            return None
        session, _, verb = path[len(WORKERS) :].partition("/")
        found = self._verbs.get(verb) if session else None
        if found is not None:
            scope["path_params"] = {"session": session}
        return found
