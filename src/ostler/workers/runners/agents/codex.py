"""Codex: `codex exec --json`, on our gateway as its one provider. Off until it is listed.

Good is: the last turn was completed. An `error` line that says it reconnects and items of type `error` are not fatal.
It ends with 0 although commands inside failed. It counts tokens over the whole thread, and tells no money. A status of
HTTP stands in the words of its errors, if anywhere, and some errors are told in words of its own.
"""

import re

import msgspec

from ostler.domain.errors import NotAllowedError
from ostler.domain.states import FailureClass
from ostler.wire.classify import classify_answer, one_line
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Begun,
    Job,
    Start,
    Step,
    Text,
    Trouble,
    Used,
)
from ostler.workers.runners.agents.lines import Fields, count, fields_of, inner, text
from ostler.workers.runners.agents.reading import LineReader
from ostler.workers.runners.agents.tally import HOPELESS, answered, called, trouble_of

_KEY = "CODEX_OSTLER_KEY"
_IDLE_MS = 900_000
"""Without a word from the gateway, which may have to wait for a turn and load a model first."""
_STATUS = re.compile(r"\bstatus:? (\d{3})\b")
_OWN_WORDS = {
    "ran out of room in the model's context window": FailureClass.CONTEXT_TOO_LONG,
    "reason: max_output_tokens": FailureClass.CAPABILITY,
    "Quota exceeded": FailureClass.QUOTA,
    "experiencing high demand": FailureClass.OVERLOADED,
    "stream disconnected": FailureClass.NETWORK,
    "Missing environment variable": FailureClass.ENVIRONMENT,
}
_TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "collab_tool_call", "web_search"})


class Codex:
    """The adapter."""

    name = "codex"
    known_versions = ("0.171.",)
    owns = ("CODEX_*", "OPENAI_*")
    litter: tuple[str, ...] = ()

    def start(self, job: Job) -> Start:
        """The key stands in a variable that its settings name. Its sandbox lets it write in the tree alone."""
        reached = f'name="ostler",base_url="{job.gateway}/v1",env_key="{_KEY}",wire_api="responses"'
        # The gateway has tried elsewhere already.
        patience = f"request_max_retries=1,stream_max_retries=1,stream_idle_timeout_ms={_IDLE_MS}"
        sandbox = _sandbox(job.tools)
        settings = (
            "model_provider=ostler",
            f"model_providers.ostler={{{reached},{patience}}}",
            f"model_context_window={job.context_tokens}",
            "web_search=disabled",
            "analytics.enabled=false",
            "feedback.enabled=false",
            "check_for_update_on_startup=false",
        )
        argv = (
            *("codex", "exec", "--json", f"--sandbox={sandbox}", "--skip-git-repo-check", f"--cd={job.tree}"),
            f"--model={job.model}",
            # They are fetched from their shop at each start.
            *("--disable=plugins", "--disable=apps"),
            *(f"--config={setting}" for setting in settings),
        )
        env = {"CODEX_HOME": f"{job.home}/.codex", _KEY: job.key}
        return Start(argv=(*argv, "--", job.prompt), env=env, files={".codex/.keep": ""})

    def reader(self) -> "CodexReader":
        """A reader for one run."""
        return CodexReader()


def _sandbox(tools: tuple[str, ...]) -> str:
    """Its one tool runs commands: what they may do is all that can be said. Raises `NotAllowedError`."""
    if not tools:
        return "workspace-write"
    if "bash" not in tools:
        raise NotAllowedError(
            "codex cannot be kept from running commands",
            where="tools",
            remedy="add bash to the tools, or use another runner",
        )
    return "workspace-write" if {"edit", "write"} & {*tools} else "read-only"


class CodexReader(LineReader):
    """Reads `codex exec --json`."""

    program = "codex"

    def __init__(self) -> None:
        super().__init__()
        self._turn_open = False
        self._turns = 0
        self._trying: Trouble | None = None
        """What it has not got over yet and tries again for."""

    def stuck_on(self, errors: str) -> Trouble | None:  # noqa: ARG002 -- it tells its errors on its output
        """It sleeps for as long as an answer says."""
        return self._trying if self._trying is not None and self._trying.kind in HOPELESS else None

    def events_of(self, fields: Fields) -> tuple[AgentEvent, ...]:
        """Threads, turns and their items."""
        match text(fields, "type"):
            case "thread.started":
                self.session = text(fields, "thread_id") or self.session
                return (Begun(),)
            case "turn.started":
                self._turn_open = True
                self.tally.trouble = None
                return (Begun(),)
            case "item.completed" if text(inner(fields, "item"), "type") != "error":
                self._trying = None
                # Told when it is whole, as some kinds have no beginning.
                return _item(inner(fields, "item"))
            case "turn.completed":
                return self._completed(inner(fields, "usage"))
            case "turn.failed":
                self._turn_open = False
                return (_trouble(text(inner(fields, "error"), "message") or "the turn failed"),)
            case "error":
                told = _trouble(text(fields, "message") or "codex reported an error")
                self._trying = told
                return (Trouble(kind=told.kind, message=told.message, recovered=True),)
            case _:
                return ()

    def _completed(self, usage: Fields) -> tuple[AgentEvent, ...]:
        self._turn_open = False
        self._turns += 1
        self.tally.trouble = None
        cached, reasoning = count(usage, "cached_input_tokens"), count(usage, "reasoning_output_tokens")
        used = Used(
            input_tokens=max(0, count(usage, "input_tokens") - cached),
            cache_read_tokens=cached,
            output_tokens=max(0, count(usage, "output_tokens") - reasoning),
            reasoning_tokens=reasoning,
        )
        self.tally.forget_usage()  # it tells that of the whole thread, not of the turn
        return (Step(reason="turn"), used)

    @property
    def is_whole(self) -> bool:
        """No turn is open."""
        return self._turns > 0 and not self._turn_open

    def bad_end(self, exit_code: int | None) -> Trouble | None:
        """A turn was left open, or there was none."""
        if self.is_whole:
            return None
        return Trouble(kind=FailureClass.CUT, message=f"codex ended with {exit_code} in the middle of a turn")


def _trouble(said: str) -> Trouble:
    """An error by its words: a sentence of its own, one with a status in it, or the body of the answer as it came."""
    for words, kind in _OWN_WORDS.items():
        if words in said:
            return Trouble(kind=kind, message=one_line(said))
    status = _STATUS.search(said)
    body = fields_of(said.encode())
    if body is not None:
        fault = classify_answer(400, {}, msgspec.json.encode(body), 0)
        return Trouble(kind=fault.kind, message=one_line(text(inner(body, "error"), "message") or said))
    return trouble_of(said, int(status[1]) if status else None)


def _item(item: Fields) -> tuple[AgentEvent, ...]:
    kind, item_id = text(item, "type"), text(item, "id")
    if kind == "agent_message":
        return (Text(text=text(item, "text")),)
    if kind not in _TOOLS:
        return ()
    asked = item.get("command") or item.get("changes") or item.get("query") or item.get("tool") or ""
    ok = text(item, "status") not in ("failed", "declined") and count(item, "exit_code") == 0
    said = item.get("aggregated_output", "")
    return (called(item_id, kind, asked), answered(item_id, ok=ok, said=said))
