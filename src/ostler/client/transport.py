"""Requests to the hub: one connection each, and every failure as the `OstlerError` that the hub meant.

A request that may be repeated (reading, and submitting, because ids are made by the client) is repeated once when the
connection breaks before the answer is there; any other is not, because nobody knows whether it was done.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlencode

import msgspec

from ostler.client.http1 import Answer, Site, exchange, request_text
from ostler.domain.errors import (
    ConflictError,
    ExitCode,
    InvalidInputError,
    LimitReachedError,
    NotAllowedError,
    NotFoundError,
    OstlerError,
    UnreachableError,
)
from ostler.hub.views import ErrorAnswer

JSON = "application/json"

NO_LEADER = "no_leader"
"""What a hub of several answers that can reach none which leads."""
_BAD_REQUEST = 400
_SERVER_ERROR = 500


class NoHubError(UnreachableError):
    """No hub at the address, as opposed to a hub that answers that something else is unreachable."""


class UnavailableError(UnreachableError):
    """A hub answers that it cannot do it now, such as one whose database is away. Who waits for something waits on."""

    exit_code = ExitCode.FAILED


_BY_STATUS: Mapping[int, type[OstlerError]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    429: LimitReachedError,
    502: UnreachableError,
    503: UnavailableError,
}


class Transport:
    """Speaks to the hub at one address. `timeout_s` bounds each wait for the connection and for the answer."""

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self.url = url
        self._headers = {"Accept": JSON} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._timeout_s = timeout_s
        self._listening: socket.socket | None = None
        self._hung_up = False
        try:
            self._site = Site(url)
        except ValueError:
            raise InvalidInputError(f"'{url}' has no valid port", where="address of the hub") from None

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, repeat: bool = False, more_s: float = 0.0
    ) -> bytes:
        """The body of the answer. `more_s`: how long the hub was asked to take over it, beside the usual.

        Raises the `OstlerError` that the hub answered with, or `NoHubError`.
        """
        timeout_s = self._timeout_s + more_s
        try:
            try:
                return self._ask(method, path, body, timeout_s)
            except (ConnectionResetError, BrokenPipeError):
                if not repeat:
                    raise
            return self._ask(method, path, body, timeout_s)
        except TimeoutError:
            raise self._unreachable(f"it took the question and gave no answer for {timeout_s:g} s") from None
        except OSError as error:
            raise self._unreachable(error.strerror or str(error) or type(error).__name__) from None

    @contextmanager
    def listen(self, path: str, headers: Mapping[str, str], silence_s: float) -> Iterator[Iterator[bytes]]:
        """Lines of a stream as they come. Raises `OSError` when it breaks, is silent too long or was hung up."""
        self._listening = connection = self._connected(silence_s)
        try:
            # Looked at when the connection can be broken off: a hang-up before that was meant for it, too.
            if self._hung_up:
                connection.close()
                raise ConnectionAbortedError("hung up")
            with self._answer(connection, "GET", path, None, headers) as answer:
                yield answer.lines()
        finally:
            self._listening = None

    def hang_up(self) -> None:
        """Break off the stream that is listened to and any later one, from another thread; the listener sees its end or
        an `OSError`.
        """
        self._hung_up = True
        connection = self._listening
        if connection is not None:
            with suppress(OSError):  # it may be closed in this very moment
                connection.shutdown(socket.SHUT_RDWR)

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        with self._answer(self._connected(timeout_s), method, path, body, {}) as answer:
            return answer.read()

    @contextmanager
    def _answer(
        self, connection: socket.socket, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Iterator[Answer]:
        """An answer with a good status. Raises what the hub answered otherwise, and `OSError`."""
        sent = self._headers | ({"Content-Type": JSON} if body is not None else {}) | dict(headers)
        request = request_text(self._site, method, path, sent, body)
        with exchange(connection, request) as answer:
            if answer.status >= _BAD_REQUEST:
                raise self._refusal(answer.status, answer.read())
            yield answer

    def _connected(self, timeout_s: float) -> socket.socket:
        try:
            return self._site.connect(timeout_s)
        except OSError as error:
            raise self._unreachable(error.strerror or str(error) or type(error).__name__) from None

    def _refusal(self, status: int, raw: bytes) -> OstlerError:
        try:
            body = msgspec.json.decode(raw, type=ErrorAnswer).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.not_a_hub(f"it answered with status {status}")
        if body.code == NO_LEADER:
            return NoHubError(body.message, where=body.where or self.url, remedy=body.remedy)
        kind = _BY_STATUS.get(status, InvalidInputError if status < _SERVER_ERROR else OstlerError)
        error = kind(body.message, where=body.where, remedy=body.remedy)
        error.code = body.code
        return error

    def not_a_hub(self, sign: str) -> NoHubError:
        """Something else answers at the address."""
        return NoHubError(
            f"what answers at {self.url} is not a hub of this version: {sign}",
            remedy="check the address, or update the older of the two",
        )

    def _unreachable(self, reason: str) -> NoHubError:
        return NoHubError(
            f"no hub answers at {self.url}: {reason}",
            remedy="start one with `ostler up`, or name another with --hub or OSTLER_HUB",
        )


def with_query(path: str, **parameters: str | int | None) -> str:
    """A path with the parameters that are given.

    >>> with_query("/hub/tasks", batch="a b", limit=None)
    '/hub/tasks?batch=a+b'
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
