"""The life of a task: its states, the one table of legal transitions, and why a queued task waits.

    scheduled -> queued -> assigned -> running -> evaluating -> succeeded
                   ^           |          |           |
                   |           +----------+-----------+--> retry_wait -> queued
                   |                                  +--> needs_human | failed | dead_letter
                   +-- (by hand) -- failed, expired, cancelled, dead_letter

Invariants: `TRANSITIONS` is the only table; the store repeats it as a CHECK constraint. `paused` is a flag, not a
state. A queued task always has a `Wait`. A final state always has `finished_ms`. Waiting at a gate never counts as an
attempt.
"""

from enum import StrEnum

import msgspec


class TaskState(StrEnum):
    """Where a task is in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    EVALUATING = "evaluating"
    RETRY_WAIT = "retry_wait"
    NEEDS_HUMAN = "needs_human"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD_LETTER = "dead_letter"


_S = TaskState

FINAL_STATES = frozenset({_S.SUCCEEDED, _S.FAILED, _S.EXPIRED, _S.CANCELLED, _S.DEAD_LETTER})
LEASED_STATES = frozenset({_S.ASSIGNED, _S.RUNNING, _S.EVALUATING})
"""States in which a worker session holds the right to write about the attempt."""

_AFTER_RUN = frozenset(
    {
        _S.QUEUED,
        _S.EVALUATING,
        _S.RETRY_WAIT,
        _S.NEEDS_HUMAN,
        _S.FAILED,
        _S.CANCELLED,
        _S.DEAD_LETTER,
    }
)

TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    _S.SCHEDULED: frozenset({_S.QUEUED, _S.CANCELLED, _S.EXPIRED}),
    _S.QUEUED: frozenset(
        {
            _S.QUEUED,
            _S.ASSIGNED,
            _S.NEEDS_HUMAN,
            _S.EXPIRED,
            _S.CANCELLED,
            _S.FAILED,
            _S.DEAD_LETTER,
        }
    ),
    _S.ASSIGNED: _AFTER_RUN | {_S.RUNNING},
    _S.RUNNING: _AFTER_RUN,
    _S.EVALUATING: (_AFTER_RUN - {_S.EVALUATING}) | {_S.SUCCEEDED},
    _S.RETRY_WAIT: frozenset({_S.QUEUED, _S.CANCELLED, _S.EXPIRED, _S.DEAD_LETTER}),
    _S.NEEDS_HUMAN: frozenset({_S.QUEUED, _S.CANCELLED, _S.FAILED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset({_S.QUEUED}),
    _S.EXPIRED: frozenset({_S.QUEUED}),
    _S.CANCELLED: frozenset({_S.QUEUED}),
    _S.DEAD_LETTER: frozenset({_S.QUEUED}),
}
"""From each state, where a task may go. Final states but `succeeded` go back to the queue only by hand (retry).

queued -> queued is a change of the wait reason that is worth storing.
"""


def may_move(from_state: TaskState, to_state: TaskState) -> bool:
    """Whether the table allows the transition."""
    return to_state in TRANSITIONS[from_state]


class WaitCode(StrEnum):
    """Why a queued task is not running; says what happens next."""

    READY = "ready"
    """Nothing in the way: the next round looks at it."""
    DEPS = "deps"
    """Needs tasks that have not succeeded; moves when the last one does."""
    CAPACITY = "capacity"
    """A route exists, all slots are taken; moves when one is free."""
    NO_WORKER = "no_worker"
    """No joined worker allows this kind of work with these capabilities; moves when one joins."""
    FALLBACK_WAIT = "fallback_wait"
    """Its tier is not available; at `next_check_ms` it may use the tier beside it."""
    ENDPOINT_DOWN = "endpoint_down"
    """Every endpoint of its tier, and of the one it may fall back to, is down; moves on recovery."""
    QUOTA_UNTIL = "quota_until"
    """The provider said when to come back: `next_check_ms`."""
    MODEL_SWAP = "model_swap"
    """Another model is being loaded or is preferred for now."""
    BUDGET = "budget"
    """A limit is reached; moves when the window rolls over or the limit is raised."""
    APPROVAL = "approval"
    PAUSED = "paused"
    """A person paused it; moves on resume."""
    NO_ROUTE = "no_route"
    """No model of the profile can take it (context, capability, locality); moves when the profile changes."""
    SCHEDULED = "scheduled"
    """Not before `next_check_ms`."""
    RETRY = "retry"
    """Waits out a delay after a failure."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task waits, since when, and when it will be looked at again unasked (`None`: only on an event)."""

    code: WaitCode
    since_ms: int
    detail: str = ""
    next_check_ms: int | None = None


class Outcome(StrEnum):
    """How well a success is founded."""

    REPORTED = "reported"
    """The runner says so."""
    VERIFIED = "verified"
    """The task's own checks passed."""


class FailureClass(StrEnum):
    """What kind of thing went wrong; decides the move (see `scheduling.failures`)."""

    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    OVERLOADED = "overloaded"
    NETWORK = "network"
    SERVER = "server"
    ENDPOINT_DOWN = "endpoint_down"
    TIMEOUT = "timeout"
    CUT = "cut"
    STALLED = "stalled"
    MALFORMED = "malformed"
    MODEL_MISSING = "model_missing"
    CONTEXT_TOO_LONG = "context_too_long"
    OUT_OF_MEMORY = "out_of_memory"
    AUTH = "auth"
    POLICY = "policy"
    QUESTION = "question"
    """Only a person can decide; the message is what is asked."""
    REFUSAL = "refusal"
    CAPABILITY = "capability"
    COMMAND = "command"
    VERIFICATION = "verification"
    ENVIRONMENT = "environment"
    WORKER_LOST = "worker_lost"
    NO_ENDPOINT = "no_endpoint"
    STUCK = "stuck"
    CANCELLED = "cancelled"
    DEPENDENCY = "dependency"
    TTL = "ttl"


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What belongs to the question beside its words. The asker says `choices` and `default`, the hub the others."""

    choices: tuple[str, ...] = ()
    """Answers that come into question; another one is taken only from who says that it is meant to be another."""
    default: str | None = None
    """Taken for the answer when the deadline has passed without one."""
    owner: str = ""
    """Who is to answer; empty = anybody."""
    deadline_ms: int | None = None
    """Until when an answer is waited for; then the default is taken, or what `SchedulerPolicy.unanswered` says."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failure as stored and shown."""

    kind: FailureClass
    message: str
    at_ms: int
    retry_after_ms: int | None = None
    """Set when the other side said how long to wait (a duration, not an instant)."""
    question: Question | None = None
    """Of what needs a person: who is to answer, until when, and what can be answered."""
