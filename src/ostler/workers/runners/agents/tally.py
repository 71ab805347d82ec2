"""What all readers count alike: texts, steps, tools, tokens and the error that has not been recovered from."""

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Usage
from ostler.wire.classify import classify_answer, one_line
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Begun,
    Step,
    Text,
    ToolCall,
    ToolResult,
    Trouble,
    Used,
    Verdict,
)
from ostler.workers.runners.agents.repeats import Repeats, fingerprint

ABOUT_CHARACTERS = 120


class Tally:
    """Counts events of a run as they come."""

    def __init__(self) -> None:
        self.text = ""
        self.steps = 0
        self.tool_calls = 0
        self.trouble: Trouble | None = None
        """The newest error that the program has not got over."""
        self.repeats = Repeats()
        self.allowances: dict[str, Reported] = {}
        """The newest word on each window of a subscription."""
        self._begun = False
        self._used: Used | None = None

    def take(self, events: tuple[AgentEvent, ...]) -> tuple[AgentEvent, ...]:
        """Count events and hand them on."""
        for event in events:
            match event:
                case Begun():
                    self._begun = True
                case Text():
                    self.text = event.text or self.text
                case Step():
                    self.steps += 1
                case ToolCall():
                    self.tool_calls += 1
                    self.repeats.called(event.id, event.fingerprint)
                case ToolResult():
                    self.repeats.answered(event.id, event.fingerprint)
                case Used():
                    self._used = added(self._used, event)
                case Trouble():
                    self.trouble = event if not event.recovered else self.trouble
                case _:
                    pass
        return events

    def forget_usage(self) -> None:
        """What is told next is the sum for the whole run."""
        self._used = None

    def replace_usage(self, used: Used) -> None:
        """The program's own sum for the whole run goes before what was added up."""
        self._used = used

    def usage(self, *, estimated: bool) -> Usage | None:
        """Tokens of the run as the domain counts them: cached reads are part of the input, reasoning of the output."""
        used = self._used
        if used is None:
            return None
        return Usage(
            input_tokens=used.input_tokens + used.cache_read_tokens + used.cache_write_tokens,
            cached_tokens=used.cache_read_tokens,
            output_tokens=used.output_tokens + used.reasoning_tokens,
            reasoning_tokens=used.reasoning_tokens,
            estimated=estimated,
        )

    @property
    def is_void(self) -> bool:
        """Whether the run told nothing at all."""
        return not self._begun and self.is_blank

    @property
    def is_blank(self) -> bool:
        """Whether it told nothing but that it runs."""
        return not self.text and not self.tool_calls and self._used is None

    @property
    def is_silent(self) -> bool:
        """Whether the agent neither said nor did anything, whatever it used."""
        return not self.text.strip() and not self.tool_calls

    def verdict(self, trouble: Trouble | None, *, session: str, whole: bool) -> Verdict:
        """The verdict; good when there is no trouble. `whole`: the program came to its own end."""
        return Verdict(
            ok=trouble is None,
            kind=None if trouble is None else trouble.kind,
            message="" if trouble is None else trouble.message,
            retry_after_ms=None if trouble is None else trouble.retry_after_ms,
            text=self.text,
            usage=self.usage(estimated=not whole),
            steps=self.steps,
            tool_calls=self.tool_calls,
            session=session,
            allowances=tuple(self.allowances[name] for name in sorted(self.allowances)),
        )


def added(one: Used | None, other: Used) -> Used:
    """The sum of two."""
    if one is None:
        return other
    return Used(**{name: getattr(one, name) + getattr(other, name) for name in Used.__struct_fields__})


def called(call_id: str, tool: str, asked: object) -> ToolCall:
    """A call of a tool with what it was asked."""
    return ToolCall(id=call_id, tool=tool, about=about(asked), fingerprint=fingerprint([tool, asked]))


def answered(call_id: str, *, ok: bool, said: object) -> ToolResult:
    """What a tool answered."""
    return ToolResult(id=call_id, ok=ok, about=about(said), fingerprint=fingerprint(said))


def about(value: object) -> str:
    """What a tool was asked, in one line."""
    plain = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return one_line(plain, ABOUT_CHARACTERS)


def trouble_of(message: str, status: int | None = None, headers: dict[str, str] | None = None) -> Trouble:
    """An error of a model call as the program tells it, classed as one of the gateway's would be."""
    body = msgspec.json.encode({"error": {"message": message}})
    fault = classify_answer(status or 500, headers or {}, body, 0)
    kind = fault.kind
    if (status is None and kind is FailureClass.SERVER) or "output token maximum" in message:
        kind = _of_words(message)
    return Trouble(kind=kind, message=one_line(message), retry_after_ms=fault.retry_after_ms)


HOPELESS = frozenset(
    {
        FailureClass.AUTH,
        FailureClass.QUOTA,
        FailureClass.RATE_LIMIT,
        FailureClass.CONTEXT_TOO_LONG,
        FailureClass.MODEL_MISSING,
    }
)
"""Errors that no further try of a program mends. What passes soon the gateway has waited for already: a limit that it
tells may last for an hour, and programs sleep as long, in a slot that others could use. The hub waits instead.
"""

_NETWORK_WORDS = ("unable to connect", "connection", "econnrefused", "econnreset", "fetch failed", "socket", "network")
_AUTH_WORDS = ("api key", "unauthorized", "not logged in", "/login", "authentication")


def _of_words(message: str) -> FailureClass:
    """A class for a sentence without a status."""
    low = message.lower()
    if "output token maximum" in low:
        return FailureClass.CAPABILITY
    if any(word in low for word in _AUTH_WORDS):
        return FailureClass.AUTH
    if any(word in low for word in _NETWORK_WORDS):
        return FailureClass.NETWORK
    return FailureClass.SERVER


def silent(program: str) -> Trouble:
    """A run that came to its end and did nothing."""
    return Trouble(kind=FailureClass.CAPABILITY, message=f"{program} ended well, said nothing and called no tool")


def void(program: str, exit_code: int | None, errors: str) -> Trouble:
    """A run that told nothing at all."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines else ""
    message = one_line(f"{program} ended with {exit_code} and told nothing{last}")
    kind = _of_words(errors)
    return Trouble(kind=FailureClass.ENVIRONMENT if kind is FailureClass.SERVER else kind, message=message)
