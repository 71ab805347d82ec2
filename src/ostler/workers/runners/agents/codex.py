"""Codex: `codex exec --json`, on our gateway as its one provider. Off until it is listed.

Good is: the last turn was completed. An `error` line that says it reconnects and items of type `error` are not fatal.
It ends with 0 although commands inside failed. It counts tokens over the whole thread, and tells no money.
"""

from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Begun,
    Job,
    Start,
    Step,
    Text,
    ToolCall,
    ToolResult,
    Trouble,
    Used,
    Verdict,
)
from ostler.workers.runners.agents.lines import Fields, count, fields_of, inner, text
from ostler.workers.runners.agents.tally import Tally, about, silent, trouble_of, void

_KEY = "CODEX_OSTLER_KEY"
_TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "collab_tool_call", "web_search"})


class Codex:
    """The adapter. Known from its documentation and reports, not recorded here."""

    name = "codex"
    program = "codex"
    known_versions: tuple[str, ...] = ()
    owns = ("CODEX_*", "OPENAI_*")

    def start(self, job: Job) -> Start:
        """The key stands in a variable that its settings name."""
        provider = f'{{name="ostler",base_url="{job.gateway}/v1",env_key="{_KEY}",wire_api="responses"}}'
        argv: tuple[str, ...] = (
            "codex",
            "exec",
            "--json",
            "--sandbox=workspace-write",
            "--skip-git-repo-check",
            f"--cd={job.tree}",
        )
        argv += (
            f"--model={job.model}",
            "--config=model_provider=ostler",
            f"--config=model_providers.ostler={provider}",
        )
        env = {"CODEX_HOME": f"{job.home}/.codex", _KEY: job.key}
        return Start(argv=(*argv, "--", job.prompt), env=env, files={".codex/.keep": ""})

    def reader(self) -> "CodexReader":
        """A reader for one run."""
        return CodexReader()


class CodexReader:
    """Reads `codex exec --json`."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._thread = ""
        self._turn_open = False
        self._turns = 0

    @property
    def is_over(self) -> bool:
        """It never says so: a turn may be followed by another one."""
        return False

    @property
    def is_circling(self) -> bool:
        """See `Tally`."""
        return self.tally.is_circling

    def stuck_on(self, errors: str) -> Trouble | None:  # noqa: ARG002 -- of the contract
        """It gives up by itself."""
        return None

    def feed(self, line: bytes) -> tuple[AgentEvent, ...]:
        """One line."""
        fields = fields_of(line)
        if fields is None:
            return ()
        match text(fields, "type"):
            case "thread.started":
                self._thread = text(fields, "thread_id") or self._thread
                return self.tally.take((Begun(),))
            case "turn.started":
                self._turn_open = True
                self.tally.trouble = None
                return self.tally.take((Begun(),))
            case "item.started" | "item.completed" as kind:
                return self.tally.take(_item(inner(fields, "item"), is_whole=kind == "item.completed"))
            case "turn.completed":
                return self._completed(inner(fields, "usage"))
            case "turn.failed":
                self._turn_open = False
                return self.tally.take((trouble_of(text(inner(fields, "error"), "message") or "the turn failed"),))
            case "error":
                told = trouble_of(text(fields, "message") or "codex reported an error")
                return self.tally.take((Trouble(kind=told.kind, message=told.message, recovered=True),))
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
        self.tally.replace_usage(used)  # of the thread until now, not of the turn
        self.tally.take((Step(reason="turn"),))
        return (Step(reason="turn"), used)

    def verdict(self, exit_code: int | None, errors: str) -> Verdict:
        """See the module for what is good."""
        whole = self._turns > 0 and not self._turn_open
        return self.tally.verdict(self._trouble(exit_code, errors), session=self._thread, whole=whole)

    def _trouble(self, exit_code: int | None, errors: str) -> Trouble | None:
        if self.tally.trouble is not None:
            return self.tally.trouble
        if self.tally.is_void:
            return void("codex", exit_code, errors)
        if self._turn_open or not self._turns:
            return Trouble(kind=FailureClass.CUT, message=f"codex ended with {exit_code} in the middle of a turn")
        return silent("codex") if self.tally.is_silent else None


def _item(item: Fields, *, is_whole: bool) -> tuple[AgentEvent, ...]:
    kind, item_id = text(item, "type"), text(item, "id")
    if kind == "agent_message":
        return (Text(text=text(item, "text")),) if is_whole else ()
    if kind not in _TOOLS:
        return ()
    called = about(item.get("command") or item.get("changes") or item.get("query") or item.get("tool") or "")
    if not is_whole:
        return ()  # what has begun is told when it is whole, as some kinds have no beginning
    ok = text(item, "status") not in ("failed", "declined") and count(item, "exit_code") == 0
    answer = ToolResult(id=item_id, ok=ok, about=about(item.get("aggregated_output", "")))
    return (ToolCall(id=item_id, tool=kind, about=called), answer)
