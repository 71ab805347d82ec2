"""Errors of the API: what only HTTP can get wrong, and the one shape in which every error is answered."""

import http

import msgspec
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ostler.domain.errors import InvalidInputError, NotAllowedError, NotFoundError, OstlerError
from ostler.hub.host_desk import SwapFailedError
from ostler.hub.views import ErrorAnswer, ErrorBody

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def media_type(headers: Headers) -> str:
    """The type of a body as its sender calls it, without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class UnknownRouteError(NotFoundError):
    """No route has this path."""

    code = "unknown_route"


class WrongMethodError(InvalidInputError):
    """The path exists, the method does not; `allowed` are those that do."""

    http_status = 405
    code = "wrong_method"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{path} does not take {method}", where="method", remedy="use " + " or ".join(allowed))
        self.allowed = allowed


class TooLargeError(InvalidInputError):
    """The body is above the limit."""

    http_status = 413
    code = "too_large"


class WrongTypeError(InvalidInputError):
    """The body is not said to be JSON."""

    http_status = 415
    code = "wrong_content_type"


class WrongSiteError(NotAllowedError):
    """The request came through a name that is not ours, or from a page of another site."""

    code = "wrong_site"


class UnauthenticatedError(NotAllowedError):
    """No token, or one that is not valid."""

    http_status = 401
    code = "unauthenticated"


def error_answer(error: OstlerError) -> ErrorAnswer:
    """The body that tells of an error."""
    kind = error.type if isinstance(error, SwapFailedError) else msgspec.UNSET
    body = ErrorBody(code=error.code, message=error.what, where=error.where, remedy=error.remedy, type=kind)
    return ErrorAnswer(error=body)


def error_response(error: OstlerError) -> Response:
    """The whole answer that tells of an error."""
    headers = {}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = 'Bearer realm="ostler"'
    if isinstance(error, WrongMethodError):
        headers["Allow"] = ", ".join(error.allowed)
    wait_ms = getattr(error, "retry_after_ms", None)
    if wait_ms is not None:
        headers["Retry-After"] = str(max(1, -(-wait_ms // 1_000)))
    body = msgspec.json.encode(error_answer(error))
    return Response(body, status_code=error.http_status, headers=headers, media_type=JSON)


async def on_ostler_error(_request: Request, error: Exception) -> Response:
    """Handler for errors meant for a person."""
    assert isinstance(error, OstlerError)  # noqa: S101 -- registered for this class only
    return error_response(error)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Handler for what Starlette itself raises."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for this class only
    phrase = http.HTTPStatus(error.status_code).phrase.lower()
    body = ErrorAnswer(error=ErrorBody(code=phrase.replace(" ", "_"), message=error.detail))
    return Response(msgspec.json.encode(body), status_code=error.status_code, headers=error.headers, media_type=JSON)


async def on_unexpected_error(_request: Request, _error: Exception) -> Response:
    """Handler for a mistake of ours. The server logs it; the answer tells nothing of the inside."""
    body = ErrorBody(
        code="internal",
        message="the hub failed on this request; the mistake is ours",
        remedy="its log has the details",
    )
    return Response(msgspec.json.encode(ErrorAnswer(error=body)), status_code=500, media_type=JSON)
