"""The pages as an ASGI application: which path is which page, who may see it, and how each kind of answer is sent.

    GET  /...            a page           GET  /live       changes of a page, as server-sent events
    GET  /live.json      the same, once   GET  /static/... the style sheet, the script, the icon
    POST /act            a verb           GET, POST /login, POST /logout

Every answer forbids what it does not need (`Content-Security-Policy`): no script, style or picture but our own files,
none inside the page, no frame around it.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from ostler.domain.errors import NotFoundError, OstlerError
from ostler.hub.api import HubApi
from ostler.hub.sign_ins import SignIns, TooOftenError
from ostler.web.decode import form_fields
from ostler.web.errors import TooLargeError
from ostler.web.pages import calls, fleet, home, learning, money, pipelines, tasks
from ostler.web.pages.actions import Done, verb_of
from ostler.web.pages.assets import asset
from ostler.web.pages.live import Pulse, Told, changes, known_of
from ostler.web.pages.look import Looks
from ostler.web.pages.render import Renderer, way_up
from ostler.web.pages.seat import COOKIE, Seat, Seats
from ostler.web.pages.view import PLACE_OF_TOKEN, Ask, Page, Role, View
from ostler.web.stream import ClientGoneError, send_blocks, until_gone

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FORM_BYTES_MAX = 1024 * 1024
SIGNED_IN_S = 30 * 86_400
HEARTBEAT_S = 15.0
NAME = r"([^/]+)"


class Entry(NamedTuple):
    """A page and its address: a pattern for the path, the name of what varies in it."""

    pattern: re.Pattern[str]
    name: str
    page: Page


def _entry(path: str, page: Page) -> Entry:
    name = re.search(r"{(\w+)}", path)
    return Entry(re.compile(re.sub(r"{\w+}", NAME, path)), name[1] if name else "", page)


PATHS: Mapping[str, Page] = {
    "/": home.start,
    "/new": home.new,
    "/tasks": tasks.listing,
    "/tasks/{id}": tasks.one,
    "/tasks/{id}/output": tasks.output,
    "/fleet": fleet.fleet,
    "/money": money.money,
    "/learning": learning.learning,
    "/pipelines": pipelines.listing,
    "/pipelines/{run}": pipelines.run,
    "/calls": calls.listing,
    "/calls/{id}": calls.one,
}
"""Every page by its path."""


class Site:
    """The pages of one hub. `sign_in`: people have to, because other machines can reach the hub."""

    def __init__(self, api: HubApi, *, sign_in: bool, sign_ins: SignIns) -> None:
        self._api = api
        self._seats = Seats(api, sign_ins, sign_in=sign_in)
        self._renderer = Renderer()
        self._looks = Looks(api, self._renderer)
        self._pulse = Pulse(api)
        self._entries = tuple(_entry(path, page) for path, page in PATHS.items())
        self._others: Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {
            ("GET", "/login"): self._login_page,
            ("POST", "/login"): self._login,
            ("POST", "/logout"): self._logout,
            ("POST", "/act"): self._act,
            ("GET", "/live.json"): self._poll,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        path, method = scope["path"], scope["method"]
        if path == "/live" and method == "GET":
            await self._stream(request, receive, send)
            return
        try:
            other = self._others.get((method, path))
            if path.startswith("/static/"):
                response = asset(path.removeprefix("/static/"))
            elif other is not None:
                response = await other(request)
            else:
                response = await self._page(request)
        except OstlerError as error:
            response = self._failed(request, error)
        await response(scope, receive, send)

    def _find(self, path: str, query: Mapping[str, str], role: Role) -> tuple[Page, Ask]:
        """The page of a path. Raises `NotFoundError`."""
        for entry in self._entries:
            if (found := entry.pattern.fullmatch(path)) is not None:
                names = {entry.name: found[1]} if entry.name else {}
                return entry.page, Ask(path=path, names=names, query=dict(query), role=role)
        raise NotFoundError("there is no such page", where=path, remedy="the navigation leads to all there are")

    async def _page(self, request: Request) -> Response:
        seat = await self._seats.of(request)
        if seat is None:
            return self._to_login(request)
        page, ask = self._find(request.url.path, request.query_params, seat.role)
        look = await self._looks.at(page, ask)
        return self._html(look.view, ask, seat)

    def _html(self, view: View, ask: Ask, seat: Seat | None, status: int = 200) -> Response:
        signed_in = seat is not None and seat.signed_in
        now_ms = time.time_ns() // 1_000_000
        text = self._renderer.page(view, ask, signed_in=signed_in, now_ms=now_ms)
        if seat is not None:
            text = text.replace(PLACE_OF_TOKEN, seat.form_token)
        response = HTMLResponse(text, status_code=status, headers=HEADERS)
        if seat is not None and seat.fresh:
            response.set_cookie(COOKIE, seat.secret, httponly=True, samesite="lax")
        return response

    def no_such_page(self, request: Request) -> Response:
        """What a person sees at a path that nobody has."""
        remedy = "the navigation leads to all there are"
        return self._failed(request, NotFoundError("there is no such page", where=request.url.path, remedy=remedy))

    def _failed(self, request: Request, error: OstlerError) -> Response:
        """An error for a person, or for the script that asked."""
        if _wants_json(request.headers):
            body = {"error": error.what, "where": error.where, "remedy": error.remedy}
            return _json(body, error.http_status)
        view = View(template="error.html", title=error.what, section="", data={"error": error})
        return self._html(view, Ask(path=request.url.path), None, error.http_status)

    def _to_login(self, request: Request) -> Response:
        wanted = quote(request.url.path.lstrip("/")) + (f"?{request.url.query}" if request.url.query else "")
        response = RedirectResponse(way_up(request.url.path) + "login", status_code=303, headers=HEADERS)
        response.set_cookie(f"{COOKIE}_next", wanted, httponly=True, samesite="lax", max_age=600)
        return response

    async def _login_page(self, request: Request) -> Response:
        seat = await self._seats.of(request)
        if seat is not None:
            return RedirectResponse("./", status_code=303, headers=HEADERS)
        return self._login_form("")

    def _login_form(self, trouble: str, status: int = 200) -> Response:
        view = View(template="login.html", title="Sign in", section="", data={"trouble": trouble})
        return self._html(view, Ask(path="/login"), None, status)

    async def _login(self, request: Request) -> Response:
        token = (await _fields(request)).get("token", "").strip()
        address = request.client.host if request.client is not None else ""
        try:
            role = await self._seats.role_of(token, address)
        except TooOftenError as error:
            return self._login_form(f"{error.what.capitalize()}: {error.remedy}.", error.http_status)
        if role is None:
            return self._login_form(
                "This token is not valid here. It may have been revoked, or be one for workers.", 401
            )
        wanted = request.cookies.get(f"{COOKIE}_next", "")
        response = RedirectResponse("./" + wanted if _is_ours(wanted) else "./", status_code=303, headers=HEADERS)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=secure, max_age=SIGNED_IN_S)
        response.delete_cookie(f"{COOKIE}_next")
        return response

    async def _logout(self, request: Request) -> Response:
        seat = await self._seats.of(request)
        if seat is not None:
            seat.check_form((await _fields(request)).get("form_token", ""))
        response = RedirectResponse("login", status_code=303, headers=HEADERS)
        response.delete_cookie(COOKIE)
        return response

    async def _act(self, request: Request) -> Response:
        """Do a verb, or ask whether it is meant."""
        seat = await self._seats.of(request)
        if seat is None:
            return self._to_login(request)
        fields = await _fields(request)
        seat.check_form(fields.get("form_token", ""))
        seat.check_operator()
        verb = verb_of(fields)
        if verb.question and fields.get("sure") != "yes":
            asked = {"question": verb.asks(fields), "consequence": verb.consequence, "label": verb.label}
            if _wants_json(request.headers):
                return _json({"ask": asked})
            kept = {name: value for name, value in fields.items() if name not in {"sure", "form_token"}}
            view = View(template="confirm.html", title=verb.label, section="", data={**asked, "fields": kept})
            return self._html(view, Ask(path="/act", role=seat.role), seat)
        done = await verb.do(self._api, fields)
        return self._done(request, done, seat)

    def _done(self, request: Request, done: Done, seat: Seat) -> Response:
        if _wants_json(request.headers):
            return _json({"said": done.said, "path": done.path})
        if done.path:
            return RedirectResponse(f"./{done.path}", status_code=303, headers=HEADERS)
        data = {"said": done.said, "back": _back(request.headers.get("referer", ""))}
        view = View(template="done.html", title="Done", section="", data=data)
        return self._html(view, Ask(path="/act", role=seat.role), seat)

    async def _poll(self, request: Request) -> Response:
        """What changed of a page since what the browser shows."""
        seat = await self._seats.of(request)
        if seat is None:
            return _json({"signed_out": True}, 401)
        told = await self._changed(request, seat)(known_of(request.query_params.get("known", "")))
        return _json({"regions": [region._asdict() for region in told.regions]})

    def _changed(self, request: Request, seat: Seat) -> Callable[[Mapping[str, str]], Awaitable[Told]]:
        """How a page is compared with what a browser shows. Raises `NotFoundError`."""
        wanted = request.query_params.get("page", "/")
        asked = _parts(wanted)
        if asked is None:
            raise NotFoundError("there is no such page", where=wanted)
        page, ask = self._find(asked.path, dict(parse_qsl(asked.query)), seat.role)

        async def changed(known: Mapping[str, str]) -> Told:
            look = await self._looks.at(page, ask)
            news = (region for region in look.regions if known.get(region.name) != region.mark)
            told = tuple(one._replace(text=one.text.replace(PLACE_OF_TOKEN, seat.form_token)) for one in news)
            return Told(told, look.view.every_s, look.at_s)

        return changed

    async def _stream(self, request: Request, receive: Receive, send: Send) -> None:

        async def allowed() -> bool:
            return await self._seats.of(request) is not None

        try:
            seat = await self._seats.of(request)
            if seat is None:
                await _json({"signed_out": True}, 401)(request.scope, receive, send)
                return
            changed = self._changed(request, seat)
            known = known_of(request.query_params.get("known", ""))
            blocks = changes(self._pulse, changed, allowed, known)
            await until_gone(receive, send_blocks(send, blocks, HEARTBEAT_S))
        except ClientGoneError:
            return
        except OstlerError as error:
            await _json({"error": error.what}, error.http_status)(request.scope, receive, send)


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form, of a repeated one the last. Raises `TooLargeError`, `InvalidInputError`."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES_MAX:
            raise TooLargeError("the form is too large", where="body", remedy=f"at most {FORM_BYTES_MAX} bytes")
    return dict(form_fields(bytes(body)))


def _wants_json(headers: Headers) -> bool:
    return "application/json" in headers.get("accept", "")


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, headers=HEADERS, media_type="application/json")


def _is_ours(path: str) -> bool:
    """Whether a path to go on to lies below the hub: it names no other place."""
    parts = _parts(path)
    if parts is None or parts.scheme or parts.netloc:
        return False
    return not (path.startswith("/") or ".." in path or "\\" in path)


def _back(address: str) -> str:
    """The page that somebody came from, as the browser knows it, whatever path a proxy has put before ours."""
    parts = _parts(address)
    if parts is None or not parts.path.startswith("/") or not _is_ours(parts.path[1:]):
        return "./"
    return parts._replace(scheme="", netloc="", fragment="").geturl()


def _parts(address: str) -> SplitResult | None:
    """The parts of an address; `None` where it cannot be read, such as one with a bracket that is not closed."""
    try:
        return urlsplit(address)
    except ValueError:
        return None
