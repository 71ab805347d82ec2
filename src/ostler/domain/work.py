"""What passes between the hub and a worker: an assignment out, reports back. The wire format of both is JSON of these.

Every report names (task_id, generation); the hub applies it only while that is the newest attempt.
"""

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec
from ostler.domain.states import Failure, Outcome, TaskState
from ostler.domain.tasks import Evidence, TaskSpec, Usage


class ModelRoute(msgspec.Struct, frozen=True, kw_only=True):
    """The decided place of a model call. The key is looked up by the worker under `endpoint.api_key_env`."""

    endpoint: EndpointSpec
    model: str
    context_tokens: int | None = None
    """Context size to ask a local engine for; `None` = leave it as it is."""
    max_output_tokens: int = 2048
    keep_alive_s: int | None = None
    """How long a local engine is to keep the model after the call; `None` = as it likes."""


class NeedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a needed task came to."""

    name: str
    """Its id without that of the run, as prompts and files call it."""
    task_id: str
    state: TaskState
    output: str | None = None
    """`None`: it is optional and did not succeed."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt for a worker to run."""

    task_id: str
    generation: int
    spec: TaskSpec
    tier: str
    route: ModelRoute | None = None
    """`None`: no model is needed (a command), or no endpoint is registered (model access of the worker's own)."""
    deadline_ms: int | None = None
    results: tuple[NeedResult, ...] = ()
    """For a command: what it finds as files. Prompts have the results in them already."""
    key: str | None = None
    """For an agent: a key of the hub's gateway for this attempt alone, revoked at its end; `None`: the gateway is off.
    Never shown: neither in argument vectors nor in logs, events or records.
    """
    traceparent: str = ""
    """For what it calls: the attempt as the parent of their spans; empty = it is not traced."""
    judge: str = ""
    """For an agent: the tier that is asked for its opinion when nothing else can tell; its key opens that, too."""
    notes: tuple[str, ...] = ()
    """For an agent: what came of earlier attempts, to be handed over to this one."""

    def __repr__(self) -> str:
        return f"Assignment(task_id={self.task_id!r}, generation={self.generation}, tier={self.tier!r})"


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The attempt runs."""

    task_id: str
    generation: int
    at_ms: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """A sign of life, with what there is to show."""

    task_id: str
    generation: int
    at_ms: int
    output_tokens: int = 0
    tail: str = ""
    """Newest piece of output, at most some hundred characters."""


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The attempt ended. `output` is what the user wants to read, cut in the middle when it is very long."""

    task_id: str
    generation: int
    at_ms: int
    ok: bool
    outcome: Outcome = Outcome.REPORTED
    failure: Failure | None = None
    exit_code: int | None = None
    output: str = ""
    output_bytes: int = 0
    """Length before cutting."""
    usage: Usage | None = None
    wants_tool: bool = False
    """The answer asked for a tool: the caller will most likely come back to the same model soon."""
    evidence: Evidence | None = None
    """Of an agent's run."""
    allowances: tuple[Reported, ...] = ()
    """What was said on the way of the windows of a subscription."""


Report = Started | Progress | Finished


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker gets when it asks: new attempts, attempts to stop, and how long it may act without an answer."""

    assignments: tuple[Assignment, ...] = ()
    cancel: tuple[tuple[str, int], ...] = ()
    """(task_id, generation) of attempts to kill."""
    lease_ms: int = 15_000
    drain: bool = False
    """The hub shuts down: no new work will come."""
    watch: tuple[EndpointSpec, ...] = ()
    """Endpoints on the worker's machine that the hub does not reach: what they list is wanted with the heartbeats."""
