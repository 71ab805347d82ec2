"""opencode: `opencode run --format json`, on our gateway as its one provider.

Its stream has neither a first nor a last line and names no model; it ends with 0 after most errors. Good is therefore:
no error that it did not get over, no step left open, the last step not ended for a tool, and not nothing at all.
"""

import re

import msgspec

from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Begun,
    Cost,
    Job,
    Start,
    Step,
    Text,
    Trouble,
    Used,
)
from ostler.workers.runners.agents.lines import Fields, count, inner, micro_usd, text
from ostler.workers.runners.agents.reading import LineReader
from ostler.workers.runners.agents.tally import HOPELESS, answered, called, trouble_of

PROVIDER = "ostler"

_ENV = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
}
# It fetches a plugin package into its settings folder unless the lock there names it; no variable forbids that.
_LOCK = {"lockfileVersion": 3, "packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
_LOGGED = re.compile(r'error\.error="((?:[^"\\]|\\.)*)"')
_CALLER = re.compile(r"^AI_\w+: ")
_TOOLS = {"write": ("edit",), "read": ("read", "list"), "todo": ("todowrite", "todoread")}
"""Where its permissions are called otherwise: whoever may edit may write."""
_TRIES = 6
"""Failed calls in a row, each of which our gateway had tried elsewhere: about a minute of it."""
_ERRORS = {
    "ProviderAuthError": FailureClass.AUTH,
    "ContextOverflowError": FailureClass.CONTEXT_TOO_LONG,
    "MessageOutputLengthError": FailureClass.CAPABILITY,
    "StructuredOutputError": FailureClass.CAPABILITY,
    "MessageAbortedError": FailureClass.CUT,
}


class Opencode:
    """The adapter."""

    name = "opencode"
    known_versions = ("1.18.",)
    owns = ("OPENCODE_*", "OPENAI_*", "ANTHROPIC_*")
    litter: tuple[str, ...] = ()

    def start(self, job: Job) -> Start:
        """The key stands in a variable that its settings refer to, not in a file.

        The prompt comes by standard input: one that is an argument is put in quotes, and those inside it are escaped.
        """
        model = {
            "name": job.model,
            "tool_call": True,
            "limit": {"context": job.context_tokens, "output": job.output_tokens},
        }
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": PROVIDER,
            "options": {"baseURL": f"{job.gateway}/v1", "apiKey": "{env:OPENCODE_OSTLER_KEY}"},
            "models": {job.model: model},
        }
        config = {
            "$schema": "https://opencode.ai/config.json",
            "autoupdate": False,
            "share": "disabled",
            "enabled_providers": [PROVIDER],
            "provider": {PROVIDER: provider},
            "model": f"{PROVIDER}/{job.model}",
            "small_model": f"{PROVIDER}/{job.model}",
            "permission": _permissions(job.tools),
        }
        env = {
            **_ENV,
            "OPENCODE_CONFIG_CONTENT": msgspec.json.encode(config).decode(),
            "OPENCODE_OSTLER_KEY": job.key,
        }
        return Start(
            argv=(
                "opencode",
                "run",
                "--format=json",
                "--print-logs",
                "--log-level=ERROR",
                "--title=ostler",
            ),
            env=env,
            files={".config/opencode/package-lock.json": msgspec.json.encode(_LOCK).decode(), **_FOLDERS}
            | {_PROMPT: job.prompt},
            stdin=_PROMPT,
        )

    def reader(self) -> "OpencodeReader":
        """A reader for one run."""
        return OpencodeReader()


_PROMPT = ".prompt"
_FOLDERS = {".config/opencode/node_modules/.keep": ""}


def _permissions(tools: tuple[str, ...]) -> dict[str, str]:
    """What is not allowed is not offered to the model."""
    if not tools:
        return {"edit": "allow", "bash": "allow", "webfetch": "deny"}
    allowed = {name for tool in tools for name in _TOOLS.get(tool, (tool,))}
    return {"*": "deny", **dict.fromkeys(sorted(allowed), "allow")}


class OpencodeReader(LineReader):
    """Reads `opencode run --format json`."""

    program = "opencode"

    def __init__(self) -> None:
        super().__init__()
        self._open_steps = 0
        self._last_reason = ""

    def stuck_on(self, errors: str) -> Trouble | None:
        """It tries again after whatever comes with a status from 500 on, without an end."""
        logged = _LOGGED.findall(errors)
        if not logged:
            return None
        trouble = trouble_of(_CALLER.sub("", logged[-1]))
        return trouble if trouble.kind in HOPELESS or len(logged) >= _TRIES else None

    def events_of(self, fields: Fields) -> tuple[AgentEvent, ...]:
        """Steps, texts, tools and errors."""
        self.session = text(fields, "sessionID") or self.session
        part = inner(fields, "part")
        match text(fields, "type"):
            case "step_start":
                self._open_steps += 1
                self.tally.trouble = None  # it goes on after an error: it got over it
                return (Begun(),)
            case "text":
                return (Text(text=text(part, "text")),)
            case "tool_use":
                return _tool(part)
            case "step_finish":
                self._open_steps = max(0, self._open_steps - 1)
                self._last_reason = text(part, "reason")
                return _finished(part)
            case "error":
                return (_error(fields),)
            case _:
                return ()

    @property
    def is_whole(self) -> bool:
        """No step is open."""
        return self._open_steps == 0

    def nothing_told(self, exit_code: int | None, errors: str) -> Trouble:
        """It waits and tries again for ever, without a word on its stream: only its log says what is wrong."""
        logged = _LOGGED.findall(errors)
        return trouble_of(_CALLER.sub("", logged[-1])) if logged else super().nothing_told(exit_code, errors)

    def bad_end(self, exit_code: int | None) -> Trouble | None:
        """A step was left open, or the last one wanted to go on."""
        if self._open_steps:
            return Trouble(kind=FailureClass.CUT, message=f"opencode ended with {exit_code} in the middle of a step")
        if self._last_reason in ("tool-calls", "length"):
            message = f"opencode ended with {exit_code} although its last step wanted to go on ({self._last_reason})"
            return Trouble(kind=FailureClass.CAPABILITY, message=message)
        return None


def _tool(part: Fields) -> tuple[AgentEvent, ...]:
    state = inner(part, "state")
    call_id, ok = text(part, "callID"), text(state, "status") == "completed"
    said = text(state, "output") if ok else text(state, "error")
    return (
        called(call_id, text(part, "tool"), state.get("input", "")),
        answered(call_id, ok=ok, said=said),
    )


def _finished(part: Fields) -> tuple[AgentEvent, ...]:
    tokens = inner(part, "tokens")
    used = Used(
        input_tokens=count(tokens, "input"),
        cache_read_tokens=count(inner(tokens, "cache"), "read"),
        cache_write_tokens=count(inner(tokens, "cache"), "write"),
        output_tokens=count(tokens, "output"),
        reasoning_tokens=count(tokens, "reasoning"),
    )
    step = Step(reason=text(part, "reason"))
    cost = micro_usd(part, "cost")
    # A model without a price costs 0 here: that is no price, so it is not told.
    return (step, used, Cost(micro_usd=cost)) if cost else (step, used)


def _error(fields: Fields) -> Trouble:
    error = inner(fields, "error")
    data = inner(error, "data")
    message = text(data, "message") or text(error, "message") or text(fields, "message") or "opencode reported an error"
    status = count(data, "statusCode") or None
    named = _ERRORS.get(text(error, "name"))
    if named is not None:
        return Trouble(kind=named, message=message)
    headers = {name.lower(): value for name, value in inner(data, "responseHeaders").items() if isinstance(value, str)}
    return trouble_of(message, status, headers)
