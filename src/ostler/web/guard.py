"""Protection of a hub on loopback against pages of other sites in the same person's browser. Pure ASGI.

A hub on loopback asks for no token, so the browser is the way in: a page can send requests to 127.0.0.1 (cross-site
request forgery), and a name of its own that resolves to 127.0.0.1 makes it even read the answers (DNS rebinding).
Three rules stop both, for every route:

1. the `Host` header must be a name of ours: a rebound name is not. Holds as long as no name of ours is handed out
   by somebody else's name server.
2. a request that may change something and carries an `Origin` must come from our own pages.
3. a body must be called `application/json`, which no HTML form can send and no script without being asked first.
   Paths in `forms` take a form too: they ask for a token in every case (an API token, or the one that a form of our
   own pages carries), and a form that is sent by a browser has an `Origin`, so that the second rule holds for it.

With `hosts` = `None` the first rule is off: right only where every request needs a token, which no browser attaches
on its own.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ostler.domain.errors import OstlerError
from ostler.domain.sites import host_name, is_loopback, is_same_site
from ostler.web.errors import FORM, JSON, WrongSiteError, WrongTypeError, error_response, media_type

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class SiteGuard:
    """ASGI middleware for the three rules. `hosts`: further names of this hub beside those of loopback."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, forms: Collection[str] = ()) -> None:
        self._app = app
        self._forms = frozenset(forms)
        self._hosts = None if hosts is None else frozenset(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] == "http" and (refusal := self.refusal(scope, Headers(scope=scope))):
            await error_response(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope, headers: Headers) -> OstlerError | None:
        """Why a request is not passed on; `None` = it is."""
        host = headers.get("host", "")
        if self._hosts is not None and not self._is_ours(host_name(host)):
            return WrongSiteError(
                f"this hub does not go by the name '{host}'",
                where="Host header",
                remedy="use http://127.0.0.1 with its port, or name this host when the hub is started",
            )
        if scope["method"] in _READING:
            return None
        origin = headers.get("origin")
        if origin is not None and not is_same_site(origin, host):
            return WrongSiteError(
                f"a page of '{origin}' may not change anything here",
                where="Origin header",
                remedy="use the hub's own pages",
            )
        if scope["path"] in self._forms and media_type(headers) == FORM:
            return None
        return _wrong_type(headers)

    def _is_ours(self, name: str) -> bool:
        return is_loopback(name) or name in (self._hosts or ())


def _wrong_type(headers: Headers) -> OstlerError | None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    given = headers.get("content-type")
    if (not has_body and given is None) or media_type(headers) == JSON:
        return None
    return WrongTypeError(
        f"a body of type '{given}' is not taken" if given else "the type of the body is not said",
        where="Content-Type header",
        remedy=f"send JSON as {JSON}",
    )
