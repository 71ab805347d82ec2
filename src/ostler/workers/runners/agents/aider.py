"""aider: `aider --message`, on our gateway by its OpenAI-compatible address. Off until it is listed.

Its words are text for people; what a program can read is its log of analytics, which goes to a local place only and is
put on standard output here. Good is: exit code 0, no exception of a call, and at least one call. It ends with 0 after
fatal errors of the API, and 1 says only that it was set up wrongly. Whether anything changed is seen in the repository.
"""

from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Begun,
    Cost,
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
from ostler.workers.runners.agents.lines import count, fields_of, inner, micro_usd, text
from ostler.workers.runners.agents.tally import Tally, trouble_of, void

_WORDS_KEPT = 20_000


class Aider:
    """The adapter. Known from its documentation and reports, not recorded here."""

    name = "aider"
    program = "aider"
    known_versions: tuple[str, ...] = ()
    owns = ("AIDER_*", "OPENAI_*", "ANTHROPIC_*", "OLLAMA_*")

    def start(self, job: Job) -> Start:
        """Nothing is asked, fetched or sent anywhere else."""
        argv: tuple[str, ...] = (
            "aider",
            "--yes-always",
            "--no-check-update",
            "--no-show-release-notes",
            "--no-gitignore",
        )
        argv += ("--no-analytics", "--analytics-log=/dev/stdout", "--no-pretty", "--no-stream", "--no-detect-urls")
        argv += (f"--model=openai/{job.model}", f"--weak-model=openai/{job.model}", "--no-show-model-warnings")
        env = {"OPENAI_API_BASE": f"{job.gateway}/v1", "OPENAI_API_KEY": job.key}
        return Start(argv=(*argv, f"--message={job.prompt}"), env=env)

    def reader(self) -> "AiderReader":
        """A reader for one run."""
        return AiderReader()


class AiderReader:
    """Reads aider's words and its log, line by line as they come."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._words = ""
        self._calls = 0
        self._exception: Trouble | None = None

    @property
    def is_over(self) -> bool:
        """Its log says when it leaves."""
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
        if fields is None or not text(fields, "event"):
            return self._said(line.decode(errors="replace"))
        properties = inner(fields, "properties")
        match text(fields, "event"):
            case "message_send":
                self._calls += 1
                self._exception = None
                tokens = Used(
                    input_tokens=count(properties, "prompt_tokens"),
                    output_tokens=count(properties, "completion_tokens"),
                )
                cost = micro_usd(properties, "cost")
                events: tuple[AgentEvent, ...] = (Step(reason="message"), tokens)
                return self.tally.take((*events, Cost(micro_usd=cost)) if cost else events)
            case "message_send_exception":
                self._exception = trouble_of(text(properties, "exception") or "a call failed")
                return self.tally.take((Trouble(kind=self._exception.kind, message=self._exception.message),))
            case _:
                return self.tally.take((Begun(),))

    def _said(self, words: str) -> tuple[AgentEvent, ...]:
        if words.startswith("Applied edit to "):
            path = words.removeprefix("Applied edit to ").strip()
            call = ToolCall(id=path, tool="edit", about=path)
            return self.tally.take((call, ToolResult(id=path, ok=True)))
        self._words = f"{self._words}{words}\n"[-_WORDS_KEPT:]
        return self.tally.take((Text(text=self._words.strip()),)) if words.strip() else ()

    def verdict(self, exit_code: int | None, errors: str) -> Verdict:
        """See the module for what is good."""
        return self.tally.verdict(self._trouble(exit_code, errors), session="", whole=exit_code == 0)

    def _trouble(self, exit_code: int | None, errors: str) -> Trouble | None:
        if self._exception is not None:
            return self._exception
        if not self._calls:
            return void("aider", exit_code, errors or self._words)
        if exit_code != 0:
            return Trouble(kind=FailureClass.CUT, message=f"aider ended with {exit_code}")
        return None
