"""A direct model call as the runners and drivers speak of it, free of any wire format."""

from collections.abc import Mapping

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.states import FailureClass
from ostler.domain.talk import Message as Message  # noqa: PLC0414 -- a call is made of them
from ostler.domain.tasks import Usage


class ModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a model."""

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int = 2048
    temperature: float | None = None
    context_tokens: int | None = None
    """Context size for engines that take one per call; `None` = as loaded."""
    keep_alive_s: int | None = None
    traceparent: str = ""
    """Header of the trace that it is part of; empty = none."""
    options: Mapping[str, float | int | str | bool] = {}


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """A piece of the answer. `reasoning` is hidden thinking, not part of the answer."""

    text: str = ""
    reasoning: str = ""


class Completion(msgspec.Struct, frozen=True, kw_only=True, tag="completion"):
    """The end of a good answer; a stream without one was cut."""

    finish_reason: str
    """`stop`, `length`, `tool_calls`, or what the endpoint said."""
    usage: Usage
    allowances: tuple[Reported, ...] = ()
    """What the answer said of the windows of a subscription."""

    @property
    def wants_tool(self) -> bool:
        """Whether the answer asked for a tool, so that another call will follow soon."""
        return self.finish_reason == "tool_calls"


class CallError(Exception):
    """A call that failed, classified. `retry_after_ms` is a duration when the endpoint gave one.

    `emitted` says whether output had been received before: then nobody may pass a retry off as the same answer.
    """

    def __init__(
        self, kind: FailureClass, message: str, *, retry_after_ms: int | None = None, emitted: bool = False
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.emitted = emitted
        self.status: int | None = None
        """HTTP status of the answer that failed, where there was one."""
        self.allowances: tuple[Reported, ...] = ()
        """What the answer that failed said of the windows of a subscription."""
        self.unworked = False
        """It is certain that no model worked on the call."""
        self.body = b""
        """What the endpoint said, where a caller of the same wire format may be handed it as it is."""


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the wire format of an endpoint, ready but for address and key."""

    path: str
    """Behind the version segment of the address: `/chat/completions`."""
    body: bytes
    headers: Mapping[str, str] = {}
    """What is handed on of the caller's own headers, such as `anthropic-beta`."""
