"""One route as an ASGI application: admit, decode, ask, encode."""

import time
from collections.abc import Callable
from typing import cast

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ostler.domain.errors import NotAllowedError
from ostler.domain.fleet import WorkerOffer
from ostler.hub.api import HubApi
from ostler.hub.sign_ins import SignIns, no_limit
from ostler.web.call import Access, Ask, Call, Follow, Route, Text
from ostler.web.decode import decode_form, decode_json, decode_query
from ostler.web.errors import FORM, JSON, TooLargeError, UnauthenticatedError, UnknownRouteError, media_type
from ostler.web.owners import SessionOwners
from ostler.web.stream import ClientGoneError, send_events, until_gone

ACCEPTED = 202
_LEAVE = "/hub/workers/{session}/leave"
VIEWER = "viewer"
"""Scope of tokens that may ask, where `admin` may do."""


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are served. `require_token`: routes for administration ask for a token too."""

    require_token: bool
    max_body_bytes: int = 16 * 1024 * 1024
    heartbeat_s: float = 15.0


class Door:
    """What all routes share: who has failed to sign in, and whose sessions are whose."""

    def __init__(self, sign_ins: SignIns | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self.sign_ins = sign_ins or no_limit()
        self.owners = SessionOwners(now_s)


class RouteApp:
    """ASGI application of one route."""

    def __init__(self, row: Route, api: HubApi, settings: ServeSettings, door: Door) -> None:
        self._row = row
        self._door = door
        self._api = api
        self._settings = settings
        self._encoder = msgspec.json.Encoder(order="deterministic")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        token = await self._admit(request)
        try:
            call = await self._call(request)
            if self._row.access is Access.WORKER:
                self._check_owner(call, token)
            if self._row.streams:
                await self._stream(call, receive, send)
                return
            work = cast("Ask", self._row.handler)(self._api, call)
            answer = await (until_gone(receive, work) if self._row.hangs else work)
            if token and self._row.path == _LEAVE:
                self._door.owners.forget(call.path["session"])
        except (ClientDisconnect, ClientGoneError):
            return
        if isinstance(answer, Text):
            if not answer.text:
                raise UnknownRouteError("it is turned off", where=self._row.path, remedy="the profile says so")
            await Response(answer.text, media_type=answer.media_type)(scope, receive, send)
            return
        under_way = self._row.later and getattr(answer, "under_way", False)
        status = ACCEPTED if under_way else self._row.status
        await _answer(send, status, self._encoder.encode(answer))

    @property
    def _least_scope(self) -> str:
        """The scope that allows the least of those that are enough here."""
        looks = self._row.access is Access.ADMIN and self._row.method == "GET"
        return VIEWER if looks else self._row.access.scope

    async def _admit(self, request: Request) -> str:
        """The token that was looked at; empty = none was needed. Raises `NotAllowedError`, `TooOftenError`."""
        access = self._row.access
        by_place = access in {Access.ADMIN, Access.PRIVATE}
        if access is Access.OPEN or (by_place and not self._settings.require_token):
            return ""
        token = bearer(request.headers)
        if not token:
            raise UnauthenticatedError(
                "a token is needed here",
                where="Authorization header",
                remedy="send `Authorization: Bearer ...`, on the command line --token-file or OSTLER_TOKEN; "
                f"`ostler tokens create NAME --scope {self._least_scope}` makes one",
            )
        address = address_of(request)
        self._door.sign_ins.check(address, token)
        if not await self._is_valid(token):
            self._door.sign_ins.failed(address, token)
            raise UnauthenticatedError(
                "the token is not valid",
                where="Authorization header",
                remedy="it may have been revoked; make a new one",
            )
        self._door.sign_ins.passed(address, token)
        return token

    async def _is_valid(self, token: str) -> bool:
        """Whether a token is good here. Raises `NotAllowedError` for one that is good for something else."""
        access, tokens = self._row.access, self._api.tokens
        if await tokens.allowed(token, access.scope):
            return True
        if await tokens.allowed(token, VIEWER):
            if self._least_scope == VIEWER:
                return True
            what = "see this" if access is Access.PRIVATE else "change anything"
            raise NotAllowedError(
                f"this token may look, but not {what}",
                where="Authorization header",
                remedy=f"use one with the scope `{access.scope}`",
            )
        if access is not Access.WORKER and await tokens.allowed(token, Access.WORKER):
            raise NotAllowedError(
                "this token is for workers only",
                where="Authorization header",
                remedy="use one with the scope `admin`",
            )
        return False

    def _check_owner(self, call: Call[object, msgspec.Struct], token: str) -> None:
        """A session belongs to the token that opened it, and so does what joins again."""
        owners = self._door.owners
        if isinstance(call.body, WorkerOffer):
            if call.body.instance:
                owners.check(f"instance {call.body.instance}", token)
        elif (session := call.path.get("session")) is not None:
            owners.check(session, token)

    async def _call(self, request: Request) -> Call[object, msgspec.Struct]:
        pairs = request.query_params.multi_items() if request.scope["query_string"] else ()
        query = decode_query(pairs, self._row.query)
        body = self._decoded(await self._body(request), request.headers) if self._row.takes_body else None
        return Call(request.path_params, query, body, request.headers)

    def _decoded(self, raw: bytes, headers: Headers) -> object:
        if self._row.takes_forms and media_type(headers) == FORM:
            return decode_form(raw, cast("type[msgspec.Struct]", self._row.body))
        return decode_json(raw, self._row.body)

    async def _body(self, request: Request) -> bytes:
        limit = self._settings.max_body_bytes
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > limit:
            raise _too_large(limit)
        first = await _piece(request)
        if not first.get("more_body", False):
            body: bytes = first.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit)
            return body
        pieces = bytearray(first.get("body", b""))
        more = True
        while more:
            if len(pieces) > limit:
                raise _too_large(limit)
            message = await _piece(request)
            pieces += message.get("body", b"")
            more = message.get("more_body", False)
        if len(pieces) > limit:
            raise _too_large(limit)
        return bytes(pieces)

    async def _stream(self, call: Call[object, msgspec.Struct], receive: Receive, send: Send) -> None:
        events = cast("Follow", self._row.handler)(self._api, call)
        await until_gone(receive, send_events(send, events, self._settings.heartbeat_s))


def bearer(headers: Headers) -> str:
    """The token of a request; empty = there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client is not None else ""


async def _piece(request: Request) -> Message:
    """The next piece of a body. Raises `ClientDisconnect`."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def _too_large(limit: int) -> TooLargeError:
    what = f"the body is larger than {limit} bytes"
    return TooLargeError(what, where="body", remedy="send less at once, in several requests")


async def _answer(send: Send, status: int, body: bytes) -> None:
    """A whole JSON answer."""
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", JSON.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
