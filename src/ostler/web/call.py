"""What a handler gets and what a route is.

A route is read off its handler's signature:

    async def submit(api: HubApi, call: Call[SubmitBody, NoQuery]) -> SubmitAnswer

takes a JSON body `SubmitBody`, no query, and answers with a `SubmitAnswer`; its docstring is the route's description.
An answer `AsyncIterator[Event]` is a stream of server-sent events.
"""

import re
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from enum import StrEnum
from inspect import getdoc
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ostler.domain.event import Event
from ostler.hub.api import HubApi

B = TypeVar("B")
Q = TypeVar("Q")


class Text(msgspec.Struct, frozen=True):
    """An answer that is no JSON: text of a media type of its own. `text` empty = there is no such thing here."""

    text: str
    media_type: str


class Call(NamedTuple, Generic[B, Q]):
    """One request: the names in its path, its decoded query and body, its headers (lower case)."""

    path: Mapping[str, str]
    query: Q
    body: B
    headers: Mapping[str, str]


class Access(StrEnum):
    """Which token a route asks for."""

    OPEN = "open"
    """None, ever."""
    WORKER = "worker"
    """One for workers, always: the worker inside the hub does not come over HTTP."""
    ADMIN = "admin"
    """One for administration, where the hub is reachable from other machines."""
    PRIVATE = "private"
    """One for administration also to look, where the hub is reachable from other machines."""
    KEY = "key"
    """One for administration, always. Since no browser sends it on its own, a form is taken as a body too."""

    @property
    def scope(self) -> str:
        """The scope that a token must have."""
        return "admin" if self in {Access.KEY, Access.PRIVATE} else self.value


Ask = Callable[[HubApi, Call[Any, Any]], Coroutine[Any, Any, object]]
"""A handler that answers once."""
Follow = Callable[[HubApi, Call[Any, Any]], AsyncIterator[Event]]
"""A handler that answers with a stream of events."""
Handler = Ask | Follow


class Route(NamedTuple):
    """One row of the route table.

    `body` is `NoneType` when none is taken, `answer` the type of the answer or of the items of a stream. `hangs`: it
    may wait for long, so it is stopped when the client hangs up.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    status: int
    hangs: bool
    query: type[msgspec.Struct]
    body: object
    answer: object
    streams: bool
    later: bool = False
    """An answer whose `under_way` is true comes with 202: what was asked for has begun and goes on."""

    @property
    def takes_body(self) -> bool:
        """Whether a body is read."""
        return self.body is not types.NoneType

    @property
    def takes_forms(self) -> bool:
        """Whether the body may be a form."""
        return self.takes_body and self.access is Access.KEY

    @property
    def doc(self) -> str:
        """What the route does, from its handler."""
        return getdoc(self.handler) or ""

    @property
    def path_names(self) -> tuple[str, ...]:
        """Names of the parts of the path that vary."""
        return tuple(re.findall(r"{(\w+)}", self.path))


def route(
    method: str,
    path: str,
    handler: Handler,
    *,
    access: Access = Access.ADMIN,
    status: int = 200,
    hangs: bool = False,
    later: bool = False,
) -> Route:
    """A row of the table, completed from the signature of its handler."""
    hints = get_type_hints(handler)
    body, query = get_args(hints["call"])
    answer = hints["return"]
    streams = get_origin(answer) is AsyncIterator
    if streams:
        (answer,) = get_args(answer)
    return Route(method, path, handler, access, status, hangs or streams, query, body, answer, streams, later)
