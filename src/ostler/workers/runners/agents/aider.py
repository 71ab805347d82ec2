"""aider: `aider --message`, on our gateway by its OpenAI-compatible address. Off until it is listed.

Its words are text for people; its log of analytics, which goes to a local place only, is put on standard output
between them. Neither tells all: an error of a call stands in the words alone, tokens in the log alone. It ends with 0
after all of these. Good is: at least one answer was taken in, no call failed after it, and nothing was cut short.
Whether anything changed is seen in the repository. It has no tools: an edit counts as one.
"""

import re

import msgspec

from ostler.domain.errors import NotAllowedError
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
)
from ostler.workers.runners.agents.lines import Fields, count, fields_of, inner, micro_usd, text
from ostler.workers.runners.agents.reading import LineReader
from ostler.workers.runners.agents.repeats import fingerprint
from ostler.workers.runners.agents.tally import HOPELESS, trouble_of

_WORDS_KEPT = 20_000
_FACTS = ".aider.models.json"
"""What it is told of the model, which it would look up on the net otherwise."""
_COLUMNS = "10000"
"""It breaks lines at the width of a screen."""
_FAILED = re.compile(r"litellm\.(\w+): (?:\w+: )*(?:\w+Exception - )?(.*)")
_CALLS = {
    "AuthenticationError": FailureClass.AUTH,
    "PermissionDeniedError": FailureClass.AUTH,
    "ContextWindowExceededError": FailureClass.CONTEXT_TOO_LONG,
    "ContentPolicyViolationError": FailureClass.REFUSAL,
    "NotFoundError": FailureClass.MODEL_MISSING,
    "Timeout": FailureClass.TIMEOUT,
    "APIConnectionError": FailureClass.NETWORK,
    "ServiceUnavailableError": FailureClass.OVERLOADED,
    "InternalServerError": FailureClass.SERVER,
    "RateLimitError": FailureClass.RATE_LIMIT,
}
_TRIES = 6
"""Failed calls in a row, each of which our gateway had tried elsewhere: more than 15 seconds of it."""
_NOTICES = ("Tokens: ", "Empty response received from LLM")


class Aider:
    """The adapter."""

    name = "aider"
    known_versions = ("0.86.",)
    owns = ("AIDER_*", "LITELLM_*", "OPENAI_*", "ANTHROPIC_*", "OLLAMA_*", "COLUMNS")
    litter = (".aider*",)

    def start(self, job: Job) -> Start:
        """Nothing is asked, fetched or sent anywhere else, and nothing is written into the tree but the work."""
        if job.tools and not {"edit", "write"} <= {*job.tools}:
            what = "aider does nothing but edit and write files"
            raise NotAllowedError(what, where="tools", remedy="add edit and write to the tools, or use another runner")
        name = f"openai/{job.model}"
        limits = {"max_input_tokens": job.context_tokens, "max_output_tokens": job.output_tokens}
        facts = {name: {**limits, "max_tokens": job.output_tokens, "litellm_provider": "openai", "mode": "chat"}}
        argv = (
            *("aider", "--yes-always", "--no-check-update", "--no-show-release-notes", "--no-gitignore"),
            *("--no-analytics", "--analytics-log=/dev/stdout", "--no-pretty", "--no-stream", "--no-detect-urls"),
            *("--no-auto-commits", "--no-suggest-shell-commands", "--disable-playwright", "--no-show-model-warnings"),
            *(f"--model={name}", f"--weak-model={name}", f"--model-metadata-file={job.home}/{_FACTS}"),
            *(f"--input-history-file={job.home}/.aider.input", f"--chat-history-file={job.home}/.aider.chat"),
        )
        env = {"OPENAI_API_BASE": f"{job.gateway}/v1", "OPENAI_API_KEY": job.key, "COLUMNS": _COLUMNS}
        env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its library fetches a list of prices otherwise
        files = {_FACTS: msgspec.json.encode(facts).decode()}
        return Start(argv=(*argv, f"--message={job.prompt}"), env=env, files=files)

    def reader(self) -> "AiderReader":
        """A reader for one run."""
        return AiderReader()


class AiderReader(LineReader):
    """Reads aider's words and its log, line by line as they come."""

    program = "aider"

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        self._notices = ""
        self._answers = 0
        self._failed_calls = 0
        self._is_answering = False
        self._has_left = False

    def stuck_on(self, errors: str) -> Trouble | None:  # noqa: ARG002 -- it tells its errors on its output
        """It tries again for a minute, whatever the error."""
        trouble = self.tally.trouble
        is_hopeless = trouble is not None and (trouble.kind in HOPELESS or self._failed_calls >= _TRIES)
        return trouble if is_hopeless and not self._has_left else None

    def feed(self, line: bytes) -> tuple[AgentEvent, ...]:
        """One line, of its log or of its words."""
        fields = fields_of(line)
        if fields is None or not text(fields, "event"):
            return self.tally.take(self._said(line.decode(errors="replace")))
        return self.tally.take(self.events_of(fields))

    def events_of(self, fields: Fields) -> tuple[AgentEvent, ...]:
        """A line of its log."""
        match text(fields, "event"):
            case "message_send_starting":
                self._is_answering, self._words = True, ""
                return (Begun(),)
            case "message_send":
                return self._answered(inner(fields, "properties"))
            case "exit":
                self._has_left = True
                return (Begun(),)
            case _:
                return (Begun(),)

    def _answered(self, properties: Fields) -> tuple[AgentEvent, ...]:
        self._is_answering = False
        self._answers += 1
        self._failed_calls = 0
        self.tally.trouble = None
        tokens = Used(
            input_tokens=count(properties, "prompt_tokens"),
            output_tokens=count(properties, "completion_tokens"),
        )
        cost = micro_usd(properties, "cost")
        told: tuple[AgentEvent, ...] = (Step(reason="message"), tokens)
        return (*told, Cost(micro_usd=cost)) if cost else told

    def _said(self, words: str) -> tuple[AgentEvent, ...]:
        if words.startswith("Applied edit to "):
            path = words.removeprefix("Applied edit to ").strip()
            return (
                ToolCall(id=path, tool="edit", about=path, fingerprint=fingerprint(self._words)),
                ToolResult(id=path, ok=True),
            )
        if words.endswith("has hit a token limit!"):
            return (Trouble(kind=FailureClass.CONTEXT_TOO_LONG, message=words),)
        if words.startswith("Output tokens: ~") and not words.startswith("Output tokens: ~0 of") and self.tally.trouble:
            # The limit was that of the answer, for the model had begun it.
            return (Trouble(kind=FailureClass.CAPABILITY, message=f"{self.tally.trouble.message} {words}"),)
        if words.startswith("Retrying in "):
            self._is_answering = True
        elif not self._is_answering or words.startswith(_NOTICES):
            self._notices = f"{self._notices}{words}\n"[-_WORDS_KEPT:]
        elif (failed := _FAILED.match(words)) is not None:
            self._is_answering = False
            self._failed_calls += 1
            return (_trouble(failed[1], failed[2]),)
        else:
            self._words = f"{self._words}{words}\n"[-_WORDS_KEPT:]
            return (Text(text=self._words.strip()),) if words.strip() else ()
        return ()

    @property
    def is_whole(self) -> bool:
        """It said that it leaves."""
        return self._has_left

    def nothing_told(self, exit_code: int | None, errors: str) -> Trouble:
        """What it says of a wrong setting stands in its words."""
        return super().nothing_told(exit_code, errors.strip() or self._notices)

    def trouble(self, exit_code: int | None, errors: str) -> Trouble | None:
        """A run that took in no answer told nothing, whatever it said of itself."""
        if self.tally.trouble is None and not self._answers:
            return self.nothing_told(exit_code, "" if self._notices.strip() else errors)
        return super().trouble(exit_code, errors)

    def bad_end(self, exit_code: int | None) -> Trouble | None:
        """It was cut off."""
        if exit_code == 0 and self._has_left:
            return None
        return Trouble(kind=FailureClass.CUT, message=f"aider ended with {exit_code} before its work was done")


def _trouble(name: str, said: str) -> Trouble:
    """An error of a call: its words say more than its name, unless they say little."""
    told = trouble_of(said)
    kind = _CALLS.get(name, told.kind) if told.kind is FailureClass.SERVER else told.kind
    return Trouble(kind=kind, message=told.message)
