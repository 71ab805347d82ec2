"""The way to the pages: what is behind it is imported when the first page is asked for.

A hub that nobody looks at in a browser keeps no templates in memory.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ostler.hub.api import HubApi
from ostler.hub.sign_ins import SignIns

if TYPE_CHECKING:
    from ostler.web.pages.site import Site

_GET, _POST = ("GET",), ("POST",)
PAGE_PATHS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "/": _GET,
        "/new": _GET,
        "/tasks": _GET,
        "/tasks/{id}": _GET,
        "/tasks/{id}/output": _GET,
        "/fleet": _GET,
        "/money": _GET,
        "/learning": _GET,
        "/pipelines": _GET,
        "/pipelines/{run}": _GET,
        "/calls": _GET,
        "/calls/{id}": _GET,
        "/live": _GET,
        "/live.json": _GET,
        "/static/{name}": _GET,
        "/login": ("GET", "POST"),
        "/logout": _POST,
        "/act": _POST,
    }
)
"""Every path of the dashboard with its methods."""

FORMS = tuple(path for path, methods in PAGE_PATHS.items() if "POST" in methods)
"""Paths that take a form."""


class PagesDoor:
    """ASGI application that becomes the site at its first request."""

    def __init__(self, api: HubApi, *, sign_in: bool, sign_ins: SignIns) -> None:
        self._api = api
        self._sign_ins = sign_ins
        self._sign_in = sign_in
        self._site: Site | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._opened()(scope, receive, send)

    async def no_such_page(self, request: Request) -> Response:
        """What a person sees at a path that nobody has."""
        return self._opened().no_such_page(request)

    def _opened(self) -> "Site":
        if self._site is None:
            from ostler.web.pages.site import Site  # noqa: PLC0415 -- templates only where somebody looks

            self._site = Site(self._api, sign_in=self._sign_in, sign_ins=self._sign_ins)
        return self._site
