"""A task: what the user asked for (`TaskSpec`), what routing needs to know of it (`TaskFacts`), where it is (`Task`).

`TaskSpec` can be large (prompts) and lives in the store. `TaskFacts` is derived from it once, at submit, and is small:
the scheduler holds a hundred thousand of them. `Task` is the current row; every transition replaces it whole.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

import msgspec

from ostler.domain.catalog import Capability
from ostler.domain.states import Failure, Outcome, TaskState, Wait
from ostler.domain.talk import Message
from ostler.domain.trace import Trace


class TaskKind(StrEnum):
    """Four kinds of work; a pipeline is several tasks with needs."""

    COMMAND = "command"
    CHAT = "chat"
    AGENT = "agent"


AGENT_NAMES = ("opencode", "claude", "codex", "aider")
"""Agent command lines there is an adapter for."""

AGENT_CAPABILITY = "agent:"
"""Prefix of the capability that a worker has for each agent command line that it may run and that is installed."""


class Priority(IntEnum):
    """Lower runs first; first in, first out inside one."""

    URGENT = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class Complexity(StrEnum):
    """How hard."""

    TRIVIAL = "trivial"
    STANDARD = "standard"
    COMPLEX = "complex"
    UNKNOWN = "unknown"


class ResultsRule(StrEnum):
    """Whether the results of the tasks that one needs are handed to it."""

    AUTO = "auto"
    """Those that its prompt names, or all of them when it names none; a command gets all, as files."""
    NONE = "none"


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """What the classifier found: how hard (`complexity`) and what kind (`task_type`), two separate answers."""

    complexity: Complexity
    inferred_complexity: Complexity
    """What the heuristic said, also when an explicit complexity won."""
    task_type: str
    source: str
    """`explicit`, `heuristic` or `none`."""
    type_source: str = "heuristic"
    """`explicit`, `learned` of texts whose type is known, `heuristic` by the tables of words, or `none`."""
    type_confidence: float = 0.0
    """How sure what was learned of texts is of its best guess, taken or not; 0 = it was not asked."""
    named_type: str = ""
    """Where the type was learned: the one that the tables of words name, whose rules of the profile hold."""
    confidence: float = 0.0
    word_count: int = 0
    file_count: int = 0
    verification_steps: int = 0
    signals: tuple[str, ...] = ()
    """Words and counts that decided, readable."""

    @property
    def disagrees(self) -> bool:
        """Whether an explicit complexity contradicts the heuristic (which is said, never acted on)."""
        return self.source == "explicit" and self.inferred_complexity not in (Complexity.UNKNOWN, self.complexity)

    @property
    def reason(self) -> str:
        """One line for records: source, complexity, confidence, type and the counts."""
        if self.source == "none":
            return f"none:standard type={self.task_type}"
        return (
            f"{self.source}:{self.complexity}:{self.confidence:.2f} type={self.task_type}"
            f" words={self.word_count} files={self.file_count}"
        )


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was asked for. Immutable after submit; the same id with another content is a conflict."""

    id: str
    kind: TaskKind = TaskKind.CHAT
    title: str = ""
    prompt: str = ""
    system: str = ""
    talk: tuple[Message, ...] = ()
    """What was said before the prompt, oldest first; for a direct call of a model."""
    argv: tuple[str, ...] = ()
    cwd: str | None = None
    env: Mapping[str, str] = {}
    timeout_s: float | None = None
    runner: str | None = None
    """Agent command line that runs it; unset = the first that its worker allows."""
    agent: str | None = None
    """Agent of the hub's folders whose role it takes on: what it leaves open is filled in when it is handed in."""
    tools: tuple[str, ...] = ()
    """Tools that an agent command line may use; none = all it has."""
    repo: str | None = None
    branch: str | None = None
    """Where an agent's work on `repo` begins; unset = what is checked out there."""
    file_hints: tuple[str, ...] = ()
    success_criteria: tuple[str, ...] = ()
    verify: tuple[tuple[str, ...], ...] = ()
    """Commands (argv) that prove success; run on the same worker after the work."""
    needs: tuple[str, ...] = ()
    results: ResultsRule = ResultsRule.AUTO
    requires: frozenset[str] = frozenset()
    """Capabilities a worker must have, by exact name."""
    worker: str | None = None
    """Pin to one worker by name; skips the capability match."""
    priority: Priority = Priority.NORMAL
    critical: bool = False
    optional: bool = False
    """When it does not succeed, tasks that need it run all the same."""
    complexity: Complexity | None = None
    task_type: str | None = None
    tier: str | None = None
    model: str | None = None
    fallback_models: tuple[str, ...] = ()
    """Models that may do it instead of `model`, the first one first."""
    endpoint: str | None = None
    local_only: bool = False
    capabilities: frozenset[Capability] = frozenset()
    context_tokens: int | None = None
    """Context it will need; unset = estimated from the prompt."""
    max_output_tokens: int | None = None
    temperature: float | None = None
    recent_errors: tuple[str, ...] = ()
    """Errors the caller saw on earlier tries; the same one three times raises the tier."""
    max_attempts: int | None = None
    ttl_ms: int | None = None
    not_before_ms: int | None = None
    owner: str | None = None
    """Who is asked when it needs a person; unset = as the hub's profile says."""
    answer_within_ms: int | None = None
    """How long an answer is waited for then; 0 = for ever, unset = as the hub's profile says."""
    held: bool = False
    """It waits until it is put into a batch, or resumed by hand."""
    batch: str | None = None
    batch_limit: int | None = None
    """At most so many tasks of its batch run at once."""
    batch_slots: Mapping[str, int] = {}
    """Model -> at most so many tasks of its batch use it at once."""
    session: str | None = None
    """Conversation or loop it belongs to."""
    tick: str | None = None
    """Step of its session it belongs to; names of ticks are the session's own."""
    role: str | None = None
    """Role of its pipeline whose settings it took on; a name for people."""
    phase: str | None = None
    """Phase its author put it in; a group for people that orders nothing."""
    expected_ms: int | None = None
    """How long its author expects it to run on a free slot of its model, loading not counted."""
    metadata: Mapping[str, str] = {}


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What routing and matching need to know of a task; a pure function of its spec and the policy."""

    id: str
    kind: TaskKind
    classification: Classification
    has_command: bool = False
    tier: str | None = None
    model: str | None = None
    fallback_models: tuple[str, ...] = ()
    endpoint: str | None = None
    local_only: bool = False
    """As stated, or because it is handed the result of a task that is local only."""
    capabilities: frozenset[Capability] = frozenset()
    prompt_tokens: int = 0
    output_tokens: int | None = None
    """Expected or asked length of the answer; `None` = the policy's default."""
    expected_ms: int | None = None
    """How long its author expects the call to take; goes before what tokens and speeds say."""
    context_tokens: int = 0
    """Window it needs: prompt and answer together, or as stated."""
    window_stated: bool = False
    """The stated window is meant for everything, handed results included."""
    takes: tuple[str, ...] = ()
    """Needed tasks whose results become part of its prompt."""
    requires: frozenset[str] = frozenset()
    worker: str | None = None
    repo: str | None = None
    critical: bool = False
    owner: str = ""
    answer_within_ms: int | None = None
    recent_errors: tuple[str, ...] = ()
    batch: str | None = None
    batch_limit: int | None = None
    batch_slots: Mapping[str, int] = {}
    """By normalised model name."""
    session: str | None = None
    """What it is charged to beside its batch."""
    tick: str | None = None
    """Likewise, within its session."""
    only_models: frozenset[str] = frozenset()
    """What whoever asks may use, by normalised name; empty = any."""
    only_tiers: frozenset[str] = frozenset()
    """Likewise, by the tiers' own names."""


class ErrorCount(msgspec.Struct, frozen=True):
    """How often one normalised error was seen in a row of attempts."""

    signature: str
    count: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a person answered when a task needed one. `asked`: the failure that had asked, in words."""

    asked: str
    text: str
    at_ms: int
    by_default: bool = False
    """Nobody answered in time; the default that the question had named was taken."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The current row of a task. Invariants: queued <=> `wait`; final <=> `finished_ms`; leased <=> `session`."""

    id: str
    seq: int
    """Order of arrival; the hub gives it at submit."""
    state: TaskState
    prev_state: TaskState | None = None
    generation: int = 0
    """Number of the newest attempt; rises with each assignment, so that an older one can never write again."""
    facts: TaskFacts
    priority: Priority = Priority.NORMAL
    needs: tuple[str, ...] = ()
    optional: bool = False
    paused: bool = False
    wait: Wait | None = None
    max_attempts: int = 3
    attempts_used: int = 0
    """Attempts that count against the limit (not those lost to outages or environment)."""
    attempts_lost: int = 0
    """Attempts lost to outages or environment; bounded separately, so that nothing loops for ever."""
    quality_steps: int = 0
    model_step: int = 0
    """So many of its models (the pinned one, then `fallback_models`) have failed; it goes on with the next."""
    tried: tuple[str, ...] = ()
    """Its failed attempts that count, each in a few words, the newest last."""
    errors: tuple[ErrorCount, ...] = ()
    excluded: tuple[str, ...] = ()
    """Endpoints (or `endpoint/model`) the next choice leaves out, because the last attempt failed there."""
    ttl_ms: int = 0
    not_before_ms: int | None = None
    created_ms: int
    eligible_ms: int | None = None
    """When it last became eligible (needs met, not paused, its delay over); the time to live counts from here."""
    queued_ms: int | None = None
    """When it last entered the queue; the fallback wait counts from here."""
    updated_ms: int
    started_ms: int | None = None
    finished_ms: int | None = None
    session: str | None = None
    worker: str | None = None
    endpoint: str | None = None
    model: str | None = None
    tier: str | None = None
    """Effective tier of the newest decision."""
    fallback_used: bool = False
    outcome: Outcome | None = None
    failure: Failure | None = None
    answers: tuple[Answer, ...] = ()
    """Of people, the newest last; each later attempt is told."""
    batch: str | None = None
    trace: Trace | None = None
    """Of who handed it in, where that is traced; `None` = it has one of its own."""
    title: str = ""
    phase: str | None = None
    output_tokens: int = 0
    """Estimated length of its newest output."""
    handed_tokens: int = 0
    """Estimated length of the results that become part of its prompt; known once its needs are met."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one attempt as reported by the endpoint; `estimated` when it reported none."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    first_token_ms: int | None = None
    load_ms: int | None = None
    """Time spent loading the model, where the engine says so."""
    prefill_ms: int | None = None
    decode_ms: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's run left to be looked at, beside its words."""

    agent: str
    """The agent command line."""
    version: str = ""
    session: str = ""
    """Its own name for the run."""
    steps: int = 0
    """Answers of the model that it took in."""
    tool_calls: int = 0
    repo: str | None = None
    branch: str | None = None
    """Where its work is; `None`: it changed nothing, or had no repository."""
    base: str | None = None
    """Commit it began from."""
    commits: int = 0
    files_changed: int = 0
    opinion: str = ""
    """What a judge thinks of it, where one was asked: `pass`, `fail` or `none`, and why. An opinion, no proof."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a task on one route. Identity = (task_id, generation)."""

    task_id: str
    generation: int
    session: str
    worker: str
    tier: str
    endpoint: str | None = None
    model: str | None = None
    assigned_ms: int
    started_ms: int | None = None
    finished_ms: int | None = None
    ok: bool | None = None
    failure: Failure | None = None
    exit_code: int | None = None
    usage: Usage | None = None
    counted: bool = True
    """Whether it used up one of the task's attempts."""
    evidence: Evidence | None = None
    """Of an agent's run."""
    adopted: int | None = None
    """Nothing ran: it is the late result of that attempt, which a person took."""
    propensity: float = 1.0
    """How likely the choice of its tier was, where outcomes chose it."""
    explored: bool = False
    """It runs there to find out, not because it was the best choice known."""
