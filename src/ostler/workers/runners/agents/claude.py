"""Claude Code: `claude -p --output-format stream-json`, on our gateway.

Its last line of type `result` decides: subtype `success`, not an error, and ended of itself. API errors come as subtype
`success` with `is_error`, and the exit code is 1 after good work when a server of tools wants a login.
"""

from collections.abc import Mapping

from ostler.domain.allowances import Reported
from ostler.domain.states import FailureClass
from ostler.wire.allowances import window_named
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Begun,
    Cost,
    Job,
    Start,
    Step,
    Text,
    ToolResult,
    Trouble,
    Used,
)
from ostler.workers.runners.agents.lines import Fields, count, inner, items, micro_usd, text
from ostler.workers.runners.agents.reading import LineReader
from ostler.workers.runners.agents.tally import added, answered, called, silent, trouble_of

_TOOLS: Mapping[str, tuple[str, ...]] = {
    "read": ("Read",),
    "glob": ("Glob",),
    "grep": ("Grep",),
    "edit": ("Edit", "MultiEdit", "NotebookEdit"),
    "write": ("Write",),
    "bash": ("Bash",),
    "webfetch": ("WebFetch",),
    "websearch": ("WebSearch",),
    "task": ("Task",),
    "todo": ("TodoWrite",),
}
_FREE = ("read", "glob", "grep", "edit", "write", "bash", "todo")
"""Used without asking where a task names none."""
_ERROR_KINDS = {
    "authentication_failed": FailureClass.AUTH,
    "billing_error": FailureClass.AUTH,
    "rate_limit": FailureClass.RATE_LIMIT,
    "server_error": FailureClass.SERVER,
}
_VAGUE = frozenset({FailureClass.SERVER, FailureClass.CAPABILITY})
"""Where the words tell little, the program's own class says more."""
PROVIDER = "anthropic"
"""Whose subscription it speaks of."""
_WINDOWS = {"five_hour": "5h", "seven_day": "7d", "seven_day_opus": "7d_opus", "seven_day_sonnet": "7d_sonnet"}
_SUBTYPES = {
    "error_max_turns": FailureClass.CAPABILITY,
    "error_max_budget_usd": FailureClass.POLICY,
    "error_max_structured_output_retries": FailureClass.CAPABILITY,
}


class Claude:
    """The adapter."""

    name = "claude"
    known_versions = ("2.1.",)
    owns = ("ANTHROPIC_*", "CLAUDE*", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER")
    litter: tuple[str, ...] = ()

    def start(self, job: Job) -> Start:
        """Retries are left to it: the gateway has tried already, but a limit may pass while it waits."""
        env = {
            "ANTHROPIC_BASE_URL": job.gateway,
            "ANTHROPIC_API_KEY": job.key,
            "ANTHROPIC_SMALL_FAST_MODEL": job.model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": job.model,
            "CLAUDE_CONFIG_DIR": f"{job.home}/.claude",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(job.output_tokens),
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        argv: tuple[str, ...] = ("claude", "-p", "--output-format=stream-json", "--verbose", f"--model={job.model}")
        allowed = ",".join(name for tool in job.tools or _FREE for name in _TOOLS[tool])
        argv += ("--permission-mode=acceptEdits", f"--allowedTools={allowed}", "--strict-mcp-config")
        if job.tools:
            argv += (f"--tools={allowed}",)
        return Start(argv=(*argv, "--setting-sources=project", "--", job.prompt), env=env)

    def reader(self) -> "ClaudeReader":
        """A reader for one run."""
        return ClaudeReader()


class ClaudeReader(LineReader):
    """Reads stream-json."""

    program = "claude"

    def __init__(self) -> None:
        super().__init__()
        self._seen_messages: set[str] = set()
        self._result: Fields | None = None
        self._limit: Trouble | None = None
        self._called_error = ""

    @property
    def is_over(self) -> bool:
        """Its result was told."""
        return self._result is not None

    @property
    def is_whole(self) -> bool:
        """Its result was told."""
        return self._result is not None

    def events_of(self, fields: Fields) -> tuple[AgentEvent, ...]:
        """The beginning, what the model and the tools said, and the result."""
        match text(fields, "type"):
            case "system":
                return self._system(fields)
            case "assistant":
                return self._assistant(fields)
            case "user":
                blocks = items(inner(fields, "message"), "content")
                return tuple(_result(block) for block in blocks if text(block, "type") == "tool_result")
            case "rate_limit_event":
                return self._limits(inner(fields, "rate_limit_info"))
            case "result":
                return self._ended(fields)
            case _:
                return ()

    def _system(self, fields: Fields) -> tuple[AgentEvent, ...]:
        self.session = text(fields, "session_id") or self.session
        if text(fields, "subtype") != "api_retry":
            return (Begun(),)
        tried = f"try {count(fields, 'attempt')} of {count(fields, 'max_retries')}"
        said = trouble_of(text(fields, "error") or "a model call failed", count(fields, "error_status") or None)
        return (Trouble(kind=said.kind, message=f"{said.message} ({tried})", recovered=True),)

    def _assistant(self, fields: Fields) -> tuple[AgentEvent, ...]:
        message = inner(fields, "message")
        is_own_words = text(message, "model") != "<synthetic>"  # an error in the shape of an answer
        self._called_error = text(fields, "error") or self._called_error
        events: list[AgentEvent] = []
        for block in items(message, "content"):
            if text(block, "type") == "text" and is_own_words:
                events.append(Text(text=text(block, "text")))
            elif text(block, "type") == "tool_use":
                events.append(called(text(block, "id"), text(block, "name"), block.get("input", "")))
        message_id = text(message, "id")
        # Parallel tool calls repeat the message: its tokens count once.
        if message_id not in self._seen_messages and is_own_words:
            self._seen_messages.add(message_id)
            events += [Step(reason=text(message, "stop_reason")), _used(inner(message, "usage"))]
        return tuple(events)

    def _limits(self, info: Fields) -> tuple[AgentEvent, ...]:
        rejected, share = text(info, "status") == "rejected", info.get("utilization")
        window = _WINDOWS.get(text(info, "rateLimitType"))
        if window is not None and (rejected or isinstance(share, int | float)):
            used = float(share) * 100 if isinstance(share, int | float) and not rejected else 100.0
            hours, family = window_named(window)
            self.tally.allowances[window] = Reported(
                provider=PROVIDER,
                window=window,
                used_percent=max(0.0, used),
                at_ms=0,
                resets_ms=count(info, "resetsAt") * 1_000 or None,
                hours=hours,
                family=family,
            )
        if rejected:
            what = text(info, "rateLimitType") or "unknown"
            self._limit = Trouble(kind=FailureClass.QUOTA, message=f"the {what} window of the subscription is used up")
        return ()

    def _ended(self, fields: Fields) -> tuple[AgentEvent, ...]:
        if text(inner(fields, "origin"), "kind") not in ("", "user"):
            return ()  # the result of a turn that was not ours
        self._result = fields
        self.session = text(fields, "session_id") or self.session
        whole = None
        for use in inner(fields, "modelUsage").values():
            if isinstance(use, dict):
                whole = added(whole, _model_used(use))
        self.tally.replace_usage(whole or _used(inner(fields, "usage")))
        cost = micro_usd(fields, "total_cost_usd")
        return (Cost(micro_usd=cost),) if cost else ()

    def trouble(self, exit_code: int | None, errors: str) -> Trouble | None:
        """Its result goes before everything that it told on the way."""
        if self._result is None and self.tally.is_blank:
            return self.nothing_told(exit_code, errors)
        bad = self.bad_end(exit_code)
        return silent(self.program) if bad is None and self.tally.is_silent else bad

    def bad_end(self, exit_code: int | None) -> Trouble | None:
        """No result, or one that is no success."""
        result = self._result
        if result is None:
            return Trouble(kind=FailureClass.CUT, message=f"claude ended with {exit_code} and without a result")
        subtype, reason = text(result, "subtype"), text(result, "terminal_reason")
        if subtype == "success" and result.get("is_error") is False and reason in ("", "completed"):
            return None
        said = text(result, "result") or ", ".join(str(error) for error in _errors(result)) or subtype or reason
        if self._limit is not None:
            return self._limit
        if subtype in _SUBTYPES:
            return Trouble(kind=_SUBTYPES[subtype], message=said)
        told = trouble_of(said, count(result, "api_error_status") or None)
        named = _ERROR_KINDS.get(self._called_error) if told.kind in _VAGUE else None
        return Trouble(kind=named or told.kind, message=told.message, retry_after_ms=told.retry_after_ms)


def _errors(result: Fields) -> list[object]:
    found = result.get("errors")
    return found if isinstance(found, list) else []


def _result(block: Fields) -> ToolResult:
    is_good = block.get("is_error") is not True
    return answered(text(block, "tool_use_id"), ok=is_good, said=block.get("content", ""))


def _used(usage: Fields) -> Used:
    return Used(
        input_tokens=count(usage, "input_tokens"),
        cache_read_tokens=count(usage, "cache_read_input_tokens"),
        cache_write_tokens=count(usage, "cache_creation_input_tokens"),
        output_tokens=count(usage, "output_tokens"),
    )


def _model_used(usage: Fields) -> Used:
    return Used(
        input_tokens=count(usage, "inputTokens"),
        cache_read_tokens=count(usage, "cacheReadInputTokens"),
        cache_write_tokens=count(usage, "cacheCreationInputTokens"),
        output_tokens=count(usage, "outputTokens"),
    )
