"""Who looks: a cookie, the role it gives, and the token that forms carry.

Where the hub can be reached from other machines, the cookie is a token of the hub that was handed in at the sign-in; it
is asked about at every request, so that a revoked one is worth nothing at once, and a restart of the hub changes
nothing. On loopback nobody signs in: the cookie is a random one and everybody is an operator.

Forms carry a token made of the cookie: another site's page can send a form, but it cannot read the cookie that the
token is made of.
"""

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from ostler.domain.errors import NotAllowedError
from ostler.hub.api import HubApi
from ostler.hub.sign_ins import SignIns
from ostler.web.pages.view import Role

COOKIE = "ostler_seat"
_FORM = b"form of the dashboard"
_RANDOM_BYTES = 24


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A browser at the hub. `fresh`: its cookie has to be set; `signed_in`: it handed in a token."""

    secret: str
    role: Role
    fresh: bool = False
    signed_in: bool = False

    @property
    def form_token(self) -> str:
        """What its forms carry."""
        return hmac.new(self.secret.encode(), _FORM, hashlib.sha256).hexdigest()

    def check_form(self, token: str) -> None:
        """Raises `NotAllowedError` when a form was not made for this browser."""
        if not hmac.compare_digest(token.encode(), self.form_token.encode()):
            raise NotAllowedError(
                "this form was not made for this browser",
                where="form",
                remedy="open the page again and repeat what you wanted",
            )

    def check_operator(self) -> None:
        """Raises `NotAllowedError` for one who may only look."""
        if self.role is not Role.OPERATOR:
            raise NotAllowedError(
                "you may look, but not change anything",
                where="role",
                remedy="sign in with a token whose scope is `admin`",
            )


class Seats:
    """Gives seats. `sign_in`: people have to hand in a token; `sign_ins`: what is known of who failed to."""

    def __init__(self, api: HubApi, sign_ins: SignIns, *, sign_in: bool) -> None:
        self._api = api
        self._sign_ins = sign_ins
        self._sign_in = sign_in

    async def role_of(self, token: str, address: str) -> Role | None:
        """What a token of the hub allows here; `None` = nothing. Raises `TooOftenError`."""
        if not token or not token.isascii():
            return None
        self._sign_ins.check(address, token)
        role = None
        if await self._api.tokens.allowed(token, "admin"):
            role = Role.OPERATOR
        elif await self._api.tokens.allowed(token, "viewer"):
            role = Role.VIEWER
        (self._sign_ins.failed if role is None else self._sign_ins.passed)(address, token)
        return role

    async def of(self, request: Request) -> Seat | None:
        """The seat of a request; `None` = it has to sign in first. Raises `TooOftenError`."""
        secret = cookie_of(request.headers)
        if not self._sign_in:
            fresh = not secret
            return Seat(secret=secret or secrets.token_urlsafe(_RANDOM_BYTES), role=Role.OPERATOR, fresh=fresh)
        role = await self.role_of(secret, request.client.host if request.client is not None else "")
        return None if role is None else Seat(secret=secret, role=role, signed_in=True)


def cookie_of(headers: Headers) -> str:
    """The value of our cookie; empty = there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
