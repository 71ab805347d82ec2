"""The web application of a hub: its routes behind the guard."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from ostler.domain.errors import OstlerError, nearest
from ostler.hub.api import HubApi
from ostler.web.errors import (
    JSON,
    UnknownRouteError,
    WrongMethodError,
    error_response,
    on_http_error,
    on_ostler_error,
    on_unexpected_error,
)
from ostler.web.guard import SiteGuard
from ostler.web.lane import Lane
from ostler.web.openapi import describe
from ostler.web.pages_door import FORMS, PAGE_PATHS, PagesDoor
from ostler.web.routes import OPENAPI_PATH, hub_routes
from ostler.web.serve import Door, RouteApp, ServeSettings


def build_app(
    api: HubApi,
    *,
    require_token: bool,
    hosts: Collection[str] | None = None,
    settings: ServeSettings | None = None,
    others: Mapping[str, dict[str, Any]] | None = None,
    door: Door | None = None,
) -> Starlette:
    """The ASGI application for `api`.

    `require_token` must be true when the hub can be reached from other machines; then `hosts` (the names it goes by)
    may stay `None`. Without tokens only loopback names and `hosts` are answered. `settings` overrides limits for
    tests; its `require_token` is the argument's. `others`: path items of what stands in front, for the description.
    `door`: what is remembered of those who sign in; without one nobody is refused for having failed often.
    """
    door = door or Door()
    serve = msgspec.structs.replace(settings or ServeSettings(require_token=require_token), require_token=require_token)
    rows = hub_routes()
    served = [(row, RouteApp(row, api, serve, door)) for row in rows]
    routes = [StarletteRoute(row.path, app, methods=[row.method]) for row, app in served]

    async def description(_request: Request) -> Response:
        return Response(msgspec.json.encode(describe(rows, others)), media_type=JSON)

    routes.append(StarletteRoute(OPENAPI_PATH, description, methods=["GET"]))
    pages = PagesDoor(api, sign_in=require_token, sign_ins=door.sign_ins)
    routes += [StarletteRoute(path, pages, methods=list(methods)) for path, methods in PAGE_PATHS.items()]
    names = hosts if require_token else tuple(hosts or ())
    forms = [*FORMS, *(row.path for row in rows if row.takes_forms)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(SiteGuard, hosts=names, forms=forms)],
        exception_handlers={
            404: _unknown(pages),
            405: _wrong_method,
            HTTPException: on_http_error,
            OstlerError: on_ostler_error,
            Exception: on_unexpected_error,
        },
    )
    app.router.redirect_slashes = False
    stack = app.build_middleware_stack()
    app.middleware_stack = Lane(stack, SiteGuard(stack, names, forms), served)
    return app


def _unknown(pages: PagesDoor) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What is said of a path that nobody has: a page for a person, else an error with the nearest route."""

    async def unknown_route(request: Request, _error: Exception) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return await pages.no_such_page(request)
        hint = nearest(request.url.path, [row.path for row in hub_routes()])
        close = f"{hint} " if hint.startswith("did you mean") else ""
        error = UnknownRouteError(
            "no such route", where=request.url.path, remedy=f"{close}{OPENAPI_PATH} lists them all"
        )
        return error_response(error)

    return unknown_route


async def _wrong_method(request: Request, _error: Exception) -> Response:
    routes = [route for route in request.app.router.routes if isinstance(route, StarletteRoute)]
    path = request.url.path
    allowed = sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})
    return error_response(WrongMethodError(request.method, path, tuple(allowed)))
