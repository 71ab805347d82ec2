"""Events: everything that happens has one, with a name from the catalogue, measurements and metadata.

The catalogue is data, so that the documentation, the tests and the emitters cannot drift apart. Events are stored in
order (`seq`) and can be followed live.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

Scalar = str | int | float | bool | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `seq` is given by the store."""

    name: str
    at_ms: int
    task_id: str | None = None
    seq: int = 0
    measurements: Mapping[str, int | float] = {}
    metadata: Mapping[str, Scalar] = {}


class EventKind(msgspec.Struct, frozen=True):
    """An entry of the catalogue: which fields an event carries and what it means."""

    doc: str
    measurements: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    kept_by: tuple[str, ...] = ()
    """Metadata that the totals of old events are kept apart by: only names that a profile or the code gives, so that
    totals stay few however many tasks there are."""


_TASK = ("state", "prev_state", "generation")
_ATTEMPT = (*_TASK, "worker", "endpoint", "model", "tier")

CATALOGUE: Mapping[str, EventKind] = MappingProxyType(
    {
        "task.submitted": EventKind("A task was accepted and is durable.", (), (*_TASK, "kind", "priority", "wait")),
        "task.queued": EventKind(
            "It is in the queue (again), or waits there for another reason than before.", (), (*_TASK, "wait", "reason")
        ),
        "task.assigned": EventKind(
            "A worker holds the newest attempt.", ("wait_ms",), (*_ATTEMPT, "fallback_used", "session"), ("tier",)
        ),
        "task.started": EventKind("The worker started the attempt.", ("start_delay_ms",), _ATTEMPT),
        "task.evaluating": EventKind("The attempt ended; its outcome is being judged.", ("duration_ms",), _ATTEMPT),
        "task.succeeded": EventKind("Done.", ("duration_ms", "attempts"), (*_ATTEMPT, "outcome"), ("tier", "outcome")),
        "task.retry_wait": EventKind(
            "It failed and will be tried again.",
            ("delay_ms", "attempts"),
            (*_ATTEMPT, "failure", "message", "counted", "move", "because"),
            ("tier", "failure"),
        ),
        "task.reclaimed": EventKind(
            "The attempt was taken back (worker lost, never started, stuck) and the task queued again.",
            (),
            (*_ATTEMPT, "reason"),
        ),
        "task.needs_human": EventKind(
            "A person must act; `deadline_ms` is the instant from which a default is taken for the answer.",
            (),
            (*_TASK, "failure", "message", "owner", "choices", "default", "deadline_ms"),
        ),
        "task.failed": EventKind("It failed for good.", (), (*_TASK, "failure", "message"), ("failure",)),
        "task.dead_letter": EventKind(
            "Its attempts are used up.", ("attempts",), (*_TASK, "failure", "message"), ("failure",)
        ),
        "task.expired": EventKind("It waited longer than its time to live.", ("wait_ms",), (*_TASK, "wait", "message")),
        "task.cancelled": EventKind(
            "It was cancelled, by a person or because a task it needs ended badly.", (), (*_TASK, "reason")
        ),
        "task.gathered": EventKind("A person put it into a batch.", (), (*_TASK, "batch", "limit")),
        "task.quiet": EventKind(
            "It runs, and has shown no sign of life for as long as `scheduler.stuck` says; nothing is done about it.",
            ("quiet_ms",),
            _ATTEMPT,
        ),
        "task.paused": EventKind("A person paused it.", (), _TASK),
        "task.resumed": EventKind("A person resumed it.", (), _TASK),
        "task.unanswered": EventKind(
            "Nobody answered in time and no default is named; `action` says whether it goes on waiting or fails.",
            (),
            (*_TASK, "owner", "action"),
        ),
        "task.answered": EventKind(
            "What it had asked is answered, by a person or (`by_default`) because nobody did in time; it goes on.",
            ("answers",),
            (*_TASK, "by_default"),
        ),
        "task.retried": EventKind("A person sent it back to the queue.", (), _TASK),
        "task.results_trimmed": EventKind(
            "Results of needed tasks were cut to fit into the window of the model that they were handed to.",
            ("left_out_characters",),
            ("generation", "results", "model"),
        ),
        "task.late_report": EventKind(
            "A worker reported about an attempt that is no longer the newest; kept, not applied.",
            (),
            ("generation", "current_generation", "worker", "ok"),
        ),
        "task.late_adopted": EventKind(
            "A person took the result of an attempt that had been given up for that of the task.",
            (),
            (*_TASK, "adopted", "worker", "outcome"),
        ),
        "scheduler.route": EventKind(
            "A route was decided and assigned.",
            ("candidate_count", "scoring_duration_us"),
            (
                "task_id",
                "effective_tier",
                "target_type",
                "selected_endpoint",
                "selected_model",
                "fallback_used",
                "fallback_reason",
                "classification_reason",
                "estimated_cost_tier",
            ),
            ("effective_tier", "target_type", "fallback_used"),
        ),
        "scheduler.fallback": EventKind(
            "The wait for the preferred tier is over; the tier beside it is used.",
            ("wait_ms",),
            ("task_id", "original_tier", "fallback_tier"),
            ("original_tier", "fallback_tier"),
        ),
        "scheduler.model_fallback": EventKind(
            "The wait for the task's own model is over; another of its models is used.",
            ("wait_ms",),
            ("task_id", "tier", "original_model", "fallback_model"),
            ("tier",),
        ),
        "scheduler.classification_disagreement": EventKind(
            "An explicit complexity contradicts the heuristic; the explicit one is used.",
            ("confidence",),
            ("task_id", "explicit_tier", "inferred_tier"),
        ),
        "scheduler.refused": EventKind(
            "The store refused a command because the state had moved on; it is decided again.",
            (),
            ("task_id", "command", "reason"),
        ),
        "endpoint.added": EventKind("An endpoint was registered.", (), ("endpoint", "kind", "host")),
        "endpoint.removed": EventKind("An endpoint was removed.", (), ("endpoint",)),
        "endpoint.up": EventKind("An endpoint can be used (again).", ("down_ms",), ("endpoint", "models")),
        "endpoint.down": EventKind("An endpoint cannot be used.", (), ("endpoint", "reason"), ("endpoint",)),
        "endpoint.breaker": EventKind("The breaker of an endpoint changed.", (), ("endpoint", "state", "reason")),
        "endpoint.rate_limited": EventKind("An endpoint said when to come back.", ("retry_after_ms",), ("endpoint",)),
        "endpoint.resident": EventKind(
            "The models in memory changed, as seen by a probe.", (), ("endpoint", "loaded", "unloaded")
        ),
        "model.loading": EventKind(
            "A load began on a host whose memory is declared; what must go for it is unloaded first.",
            ("expected_ms", "memory_bytes"),
            ("host", "endpoint", "model", "evict", "reason"),
        ),
        "model.loaded": EventKind(
            "A model can be used: how long its load took, and the unloads for it.",
            ("load_ms", "unload_ms", "memory_bytes"),
            ("host", "endpoint", "model", "reason"),
            ("host", "model"),
        ),
        "model.unloaded": EventKind(
            "A model has left the memory.", ("unload_ms",), ("host", "endpoint", "model", "reason")
        ),
        "model.load_failed": EventKind(
            "A load failed; the model is not loaded there again before this time is over.",
            ("retry_after_ms",),
            ("host", "endpoint", "model", "failure", "message"),
        ),
        "plan.adopted": EventKind(
            "A plan for the tasks of a batch is followed from now on; its instants are estimates, its order is obeyed.",
            ("makespan_ms", "bound_ms"),
            ("batch", "version", "tasks", "strategy", "reason"),
        ),
        "plan.left": EventKind(
            "Something that the plan did not foresee: a late task, a failure, a host gone or back, a load that failed.",
            (),
            ("batch", "version", "cause", "what"),
        ),
        "plan.kept": EventKind(
            "No new plan can be made now; the order of the one before is followed on.",
            (),
            ("batch", "version", "reason"),
        ),
        "plan.dropped": EventKind(
            "The plan is followed no longer; its tasks go on without one.", (), ("batch", "reason")
        ),
        "plan.ended": EventKind(
            "Every task of the plan has ended: how long the last version said it would take, and took.",
            ("planned_ms", "actual_ms"),
            ("batch", "version"),
        ),
        "loop.created": EventKind("A loop was made.", (), ("loop", "kind")),
        "loop.started": EventKind("Its schedule began, and its loops are counted anew.", (), ("loop", "status")),
        "loop.stopped": EventKind(
            "Its schedule was ended by a person; a step under way is cancelled.", (), ("loop", "status", "reason")
        ),
        "loop.paused": EventKind("A person paused it; a step under way ends.", (), ("loop", "status", "reason")),
        "loop.auto_paused": EventKind(
            "It paused itself: `budget_exhausted` (a step waits for money and was taken back) or `error_streak`.",
            (),
            ("loop", "status", "reason"),
        ),
        "loop.resumed": EventKind("It goes on where it was paused.", (), ("loop", "status")),
        "loop.changed": EventKind("Its schedule was changed.", (), ("loop", "status")),
        "loop.completed": EventKind(
            "Its schedule is over: `max_loops`, or its agent has ended it.", (), ("loop", "status", "reason")
        ),
        "loop.loop_start": EventKind(
            "A loop began; how late after the instant at which it was due.", ("late_ms",), ("loop", "number")
        ),
        "loop.tick": EventKind(
            "A tick ended; its last step's cost.",
            ("steps", "cost_micro_usd"),
            ("loop", "number", "tick", "ok", "error"),
        ),
        "loop.loop_end": EventKind(
            "A loop is over: `completed`, `no_progress` (equal answers in a row), `agent_ended` or `stopped`.",
            ("duration_ms", "ticks", "errors", "cost_micro_usd"),
            ("loop", "number", "outcome"),
        ),
        "loop.waiting": EventKind("It waits for the next loop that is due.", ("wait_ms",), ("loop", "next_at_ms")),
        "loop.summarized": EventKind(
            "Older answers were summarised, by a model or by extraction.",
            ("answers", "characters"),
            ("loop", "tick", "by"),
        ),
        "loop.dropped": EventKind("A loop was forgotten; its tasks stay.", (), ("loop",)),
        "key.created": EventKind(
            "A key of the gateway was made; a limit is in micro-dollars.",
            ("limit_micro_usd",),
            ("key", "task", "limit_window"),
        ),
        "key.revoked": EventKind("A key of the gateway was revoked; who presents it is refused.", (), ("key",)),
        "call.refused": EventKind(
            "Requests to the gateway were refused before they became calls: a key that is not valid, a limit that is"
            " reached, a model that nobody knows. The first is told at once, the others of a minute together.",
            ("refused",),
            ("reason", "key", "path"),
        ),
        "call.records_dropped": EventKind(
            "Records of gateway calls were lost, because the store took them more slowly than the calls came, or not at"
            " all; what they cost was counted.",
            ("dropped",),
            ("reason",),
        ),
        "worker.joined": EventKind("A worker joined.", (), ("session", "worker", "host")),
        "worker.left": EventKind("A worker left in good order.", (), ("session", "worker", "host")),
        "worker.suspect": EventKind(
            "A worker missed two heartbeats: it gets nothing new, and keeps its attempts until it is lost.",
            ("silent_ms", "attempts", "grace_ms"),
            ("session", "worker", "host"),
        ),
        "worker.returned": EventKind(
            "A worker that was suspect is heard of again, in time: it goes on with its attempts.",
            ("silent_ms", "attempts"),
            ("session", "worker", "host"),
        ),
        "worker.resumed": EventKind(
            "A worker joined again under its session, after a restart or a gap: it goes on with the attempts that it"
            " still holds, the others are taken back.",
            ("adopted", "taken_back"),
            ("session", "worker", "host"),
        ),
        "worker.lost": EventKind(
            "A worker is counted as dead; its attempts are taken back.", ("attempts",), ("session", "worker", "host")
        ),
        "alert.budget": EventKind(
            "A limit of the budget reached its soft value (degraded) or its hard one (exhausted); told once for each"
            " crossing. Amounts are in words.",
            (),
            ("limit", "of", "level", "used", "held", "ceiling"),
        ),
        "alert.allowance": EventKind(
            "A window of a subscription is near its end (near_end), or nothing is left of it but the reserve (used_up);"
            " told once each until it has room again.",
            ("used_percent",),
            ("provider", "allowance", "level", "resets"),
        ),
        "alert.tier_down": EventKind(
            "A tier has had no endpoint for longer than the threshold.", ("down_ms",), ("tier",)
        ),
        "alert.raised": EventKind(
            "A rule has found its condition for as long as it asks; the page of alerts says what each rule looks for.",
            ("value", "bound", "times"),
            ("rule", "subject", "severity", "message"),
            ("rule",),
        ),
        "alert.acknowledged": EventKind(
            "A person knows of a raised alert; it is silent until it is cleared.", (), ("rule", "subject", "by", "note")
        ),
        "alert.cleared": EventKind(
            "The condition of a raised alert is over.", ("raised_ms",), ("rule", "subject", "severity"), ("rule",)
        ),
        "alert.undelivered": EventKind(
            "An alert could not be delivered; what was to be told stands in the list of alerts all the same.",
            ("attempts",),
            ("to", "rule", "subject", "reason"),
        ),
        "alert.tier_up": EventKind("The tier of an alert is available again.", ("down_ms",), ("tier",)),
        "config.changed": EventKind("A changed profile is in force.", (), ("policy_version", "profile")),
        "config.refused": EventKind("A changed profile was refused whole; the old one stays.", (), ("message",)),
        "learning.changed": EventKind(
            "What outcomes prove of a type of work is something else than before, and decisions obey it.",
            (),
            ("task_type", "enough_before", "enough", "poor_before", "poor", "dominated", "evidence", "undo"),
        ),
        "hub.started": EventKind(
            "The hub started, or of several the one named `hub` began to lead.",
            (),
            ("version", "recovered_tasks", "hub"),
        ),
        "hub.stalled": EventKind(
            "The hub itself was paused (suspended, starved, or its clock jumped): no worker is blamed for that time,"
            " and the grace of each begins anew.",
            ("stalled_ms", "workers"),
            (),
        ),
        "hub.respawn": EventKind(
            "A wave of work is over and the memory is above its limit: the hub ends in good order, to be started anew.",
            ("footprint_bytes", "limit_bytes"),
            (),
        ),
        "hub.stopped": EventKind("The hub stopped in good order.", (), ()),
    }
)
