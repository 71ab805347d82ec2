"""The contract of an agent command line: what a run is given, how it is started, what it says, how it ended.

Three steps, all pure: `Adapter.start` (job -> argv, environment, files), `Reader.feed` (a line of output -> events in
words that all agents share) and `Reader.verdict` (how the process ended -> good or failed, and as what).

An exit code alone proves nothing: most of these programs end with 0 after an error, some with 1 after good work. Each
reader has a success predicate of its own program, over what it said.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Usage


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run. The key opens our gateway, for this run alone; it goes into the environment and nowhere else."""

    prompt: str
    model: str
    """As the gateway knows it."""
    gateway: str
    """Address of the gateway without a path and without `/` at its end."""
    key: str
    home: str
    """Folder that is the program's home; its data and settings go nowhere else."""
    tree: str
    """Folder it works in."""
    context_tokens: int
    output_tokens: int
    tools: tuple[str, ...] = ()
    """Those it may use, by the names of `AGENT_TOOLS`; none = all that the program has."""

    def __repr__(self) -> str:
        return f"Job(model={self.model!r}, tree={self.tree!r})"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a run. `files`: to be written below the home before it, by relative path; `stdin`: which of them is
    its standard input, where it takes the prompt from there.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str] = {}
    stdin: str | None = None

    def __repr__(self) -> str:
        return f"Start(argv={self.argv!r})"


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """The program runs: it told something that is no news of the work yet."""


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """The agent said something."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call"):
    """The agent asked for a tool. `about`: what for, in one line."""

    id: str
    tool: str
    about: str = ""
    fingerprint: bytes = b""
    """Of all that it was asked."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result"):
    """A tool answered."""

    id: str
    ok: bool
    about: str = ""
    fingerprint: bytes = b""
    """Of all that it answered."""


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """One answer of the model was taken in whole. `reason`: why it ended, in the program's word."""

    reason: str = ""


class Used(msgspec.Struct, frozen=True, kw_only=True, tag="usage"):
    """Tokens, by the program's own count. Later events of a run add to earlier ones.

    `input_tokens` counts what was not read from a cache; `Usage` as a whole is made by the verdict.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Not counted in `output_tokens`."""


class Cost(msgspec.Struct, frozen=True, kw_only=True, tag="cost"):
    """What the program thinks it cost, by its own price list; the hub's own records are what counts."""

    micro_usd: int


class Trouble(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """The program reported an error. `recovered`: it goes on by itself, so this fails nothing yet."""

    kind: FailureClass
    message: str
    recovered: bool = False
    retry_after_ms: int | None = None


AgentEvent = Begun | Text | ToolCall | ToolResult | Step | Used | Cost | Trouble


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, by the program's own success predicate."""

    ok: bool
    kind: FailureClass | None = None
    message: str = ""
    retry_after_ms: int | None = None
    text: str = ""
    """The last thing the agent said."""
    usage: Usage | None = None
    """`None`: it told no usage. Estimated when it broke off before its own sum."""
    steps: int = 0
    tool_calls: int = 0
    session: str = ""
    """Its own name for the run."""
    allowances: tuple[Reported, ...] = ()
    """What it was told of the windows of a subscription; the instant is filled in by who asks."""


class Reader(Protocol):
    """Reads the output of one run."""

    @property
    def is_over(self) -> bool:
        """Whether the program has said its last word: it should end now by itself."""
        ...

    @property
    def steps(self) -> int:
        """How many answers of the model it has taken in."""
        ...

    @property
    def repeats(self) -> int:
        """How often in a row the agent did the very same thing and got the very same answer."""
        ...

    def stuck_on(self, errors: str) -> Trouble | None:
        """What keeps it from going on, by what it wrote to standard error since its last event: a program that tries
        again for ever may say so nowhere else.
        """
        ...

    def feed(self, line: bytes) -> tuple[AgentEvent, ...]:
        """Take one whole line of standard output. What it does not know is passed over."""
        ...

    def verdict(self, exit_code: int | None, errors: str) -> Verdict:
        """How it ended. `exit_code`: negative for a signal; `errors`: the end of standard error."""
        ...


class Adapter(Protocol):
    """One agent command line."""

    @property
    def name(self) -> str:
        """As `worker.agents` and tasks call it, and the program to find on the worker's PATH."""
        ...

    @property
    def known_versions(self) -> tuple[str, ...]:
        """Versions whose output was recorded and is tested, or the beginnings of such versions."""
        ...

    @property
    def owns(self) -> tuple[str, ...]:
        """Patterns of environment variables that only this adapter may set: left-overs would change who is paid, what
        is allowed or where the program writes.
        """
        ...

    @property
    def litter(self) -> tuple[str, ...]:
        """Patterns of files that the program leaves in its tree for itself: they are no part of the work."""
        ...

    def start(self, job: Job) -> Start:
        """How to start a run. Raises `NotAllowedError` when the program cannot be held to the tools of the job."""
        ...

    def reader(self) -> Reader:
        """A reader for one run."""
        ...
