"""What is durable, counted: events, attempts, live calls, tokens, money.

Nothing is counted on the way of a call: its record is, once it is stored with many others. O(1) for each event, attempt
and record.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ostler.domain.commands import (
    Adjust,
    Applied,
    Command,
    LedgerCommand,
    PutCalls,
    Release,
    Reserve,
    Settle,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.event import CATALOGUE, Event, Scalar
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.live import CallRecord
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.tasks import Attempt, TaskKind
from ostler.telemetry.durable import events_of
from ostler.telemetry.metrics import OTHER, Meters

GOOD = "none"
RESERVED_MAX = 20_000
"""Reservations that are remembered, for what is charged when nobody saw the end; the oldest gives way."""
_MS = 1_000
_US = 1_000_000


class Metering:
    """Counts into meters what a hub makes durable."""

    def __init__(self) -> None:
        self.meters = Meters()
        self._reserved: OrderedDict[str, Reserve] = OrderedDict()

    def refused(self, reason: str) -> None:
        """Count a request that the hub did not let in."""
        self.meters.count("ostler_api_refusals_total", reason)

    def observe(self, applied: Sequence[tuple[Command, Applied]]) -> None:
        """Count commands that are durable now."""
        for event in events_of(applied):
            self.event(event)
        for command, result in applied:
            if isinstance(command, UpdateTask):
                self._update(command)
            elif isinstance(command, SubmitTasks):
                for new in command.tasks:
                    if new.task.id not in result.duplicates:
                        self.meters.count("ostler_tasks_submitted_total", new.task.facts.kind.value)
            elif isinstance(command, PutCalls):
                for record in command.records:
                    self.call(record)
            elif isinstance(command, LedgerCommand):
                self.money(command)

    def event(self, event: Event) -> None:
        """Count an event of the catalogue."""
        self.meters.count("ostler_events_total", event.name if event.name in CATALOGUE else OTHER)
        counted = _EVENTS.get(event.name)
        if counted is not None:
            counted(self.meters, event)

    def call(self, record: CallRecord) -> None:
        """Count a live call that has ended."""
        meters, model, endpoint = self.meters, record.model, record.endpoint
        meters.count(
            "ostler_calls_total", model, endpoint, record.failure.value if record.failure is not None else GOOD
        )
        meters.observe("ostler_call_seconds", record.duration_ms / _MS, model)
        meters.observe("ostler_call_wait_seconds", record.wait_ms / _MS)
        meters.observe("ostler_call_overhead_seconds", record.overhead_us / _US)
        if record.first_token_ms is not None:
            meters.observe("ostler_call_first_token_seconds", record.first_token_ms / _MS, model)
        if record.fallback:
            meters.count("ostler_call_fallbacks_total")
        for attempt in record.attempts:
            failure = attempt.failure.value if attempt.failure is not None else GOOD
            meters.count("ostler_call_attempts_total", attempt.endpoint, failure)
            self._tokens(
                attempt.model,
                input=attempt.input_tokens,
                cache_read=attempt.cache_read_tokens,
                cache_write=attempt.cache_write_tokens,
                output=attempt.output_tokens,
                reasoning=attempt.reasoning_tokens,
            )

    def money(self, command: LedgerCommand) -> None:
        """Count what is charged. An adjustment says what an attempt came to in all, so it is no charge of its own."""
        if isinstance(command, Reserve):
            self._reserved[command.attempt] = command
            if len(self._reserved) > RESERVED_MAX:
                self._reserved.popitem(last=False)
            return
        if isinstance(command, Adjust):
            return
        held = self._reserved.pop(command.attempt, None)
        if isinstance(command, Release):
            return
        scopes = held.scopes if held is not None else command.scopes
        self._charge(scopes, *_charged(command, held))

    def _charge(self, scopes: Scopes, amount: Amount, basis: Basis) -> None:
        if amount.micro_usd:
            usd = amount.micro_usd / MICRO_USD_PER_USD
            self.meters.count("ostler_spent_usd_total", scopes.provider, scopes.model, basis.value, by=usd)

    def _update(self, command: UpdateTask) -> None:
        if command.money is not None:
            self.money(command.money)
        attempt = command.attempt
        if attempt is not None and any(event.name == "task.evaluating" for event in command.events):
            self._attempt(attempt, command.task.facts.kind)

    def _attempt(self, attempt: Attempt, kind: TaskKind) -> None:
        failure = attempt.failure.kind.value if attempt.failure is not None else GOOD
        self.meters.count("ostler_attempts_ended_total", attempt.tier, failure)
        usage = attempt.usage
        # The tokens of an agent's calls were counted with the calls.
        if usage is not None and attempt.model is not None and kind is not TaskKind.AGENT:
            self._tokens(
                attempt.model,
                input=max(0, usage.input_tokens - usage.cached_tokens),
                cache_read=usage.cached_tokens,
                output=usage.output_tokens,
                reasoning=usage.reasoning_tokens,
            )

    def _tokens(self, model: str, **counts: int) -> None:
        for direction, count in counts.items():
            if count:
                self.meters.count("ostler_tokens_total", model, direction, by=count)


def _charged(command: Settle, held: Reserve | None) -> tuple[Amount, Basis]:
    """What a settlement charges: of one whose end nobody saw, what it held."""
    if command.ambiguous and held is not None:
        return held.amount, held.basis
    return command.amount, command.basis


def _said(event: Event, *fields: str) -> tuple[str, ...]:
    return tuple(_text(event.metadata.get(field)) for field in fields)


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ended(state: str) -> Callable[[Meters, Event], None]:
    return lambda meters, _event: meters.count("ostler_tasks_ended_total", state)


def _assigned(meters: Meters, event: Event) -> None:
    meters.observe("ostler_queue_wait_seconds", event.measurements.get("wait_ms", 0) / _MS, *_said(event, "tier"))


def _evaluating(meters: Meters, event: Event) -> None:
    meters.observe("ostler_attempt_seconds", event.measurements.get("duration_ms", 0) / _MS, *_said(event, "tier"))


def _routed(meters: Meters, event: Event) -> None:
    meters.count("ostler_decisions_total", *_said(event, "effective_tier", "target_type", "fallback_used"))
    meters.observe("ostler_decision_seconds", event.measurements.get("scoring_duration_us", 0) / _US)


def _fell_back(meters: Meters, event: Event) -> None:
    meters.count("ostler_fallbacks_total", *_said(event, "original_tier", "fallback_tier"))


def _counted(name: str, *fields: str) -> Callable[[Meters, Event], None]:
    return lambda meters, event: meters.count(name, *_said(event, *fields))


def _dropped(meters: Meters, event: Event) -> None:
    meters.count("ostler_call_records_dropped_total", by=event.measurements.get("dropped", 0))


def _refused(meters: Meters, event: Event) -> None:
    meters.count("ostler_call_refusals_total", *_said(event, "reason"), by=event.measurements.get("refused", 0))


def _loaded(meters: Meters, event: Event) -> None:
    taken_ms = event.measurements.get("load_ms", 0) + event.measurements.get("unload_ms", 0)
    meters.observe("ostler_model_load_seconds", taken_ms / _MS, *_said(event, "host"))


_EVENTS: Mapping[str, Callable[[Meters, Event], None]] = MappingProxyType(
    {
        "task.assigned": _assigned,
        "task.started": _counted("ostler_attempts_started_total", "tier"),
        "task.evaluating": _evaluating,
        "task.reclaimed": _counted("ostler_attempts_reclaimed_total", "tier"),
        "task.succeeded": _ended("succeeded"),
        "task.failed": _ended("failed"),
        "task.dead_letter": _ended("dead_letter"),
        "task.expired": _ended("expired"),
        "task.cancelled": _ended("cancelled"),
        "scheduler.route": _routed,
        "scheduler.fallback": _fell_back,
        "scheduler.model_fallback": _counted("ostler_model_fallbacks_total", "tier"),
        "scheduler.refused": _counted("ostler_refused_commands_total", "reason"),
        "endpoint.breaker": _counted("ostler_breaker_changes_total", "endpoint", "state"),
        "endpoint.rate_limited": _counted("ostler_rate_limits_total", "endpoint"),
        "model.loaded": _loaded,
        "call.refused": _refused,
        "call.records_dropped": _dropped,
        "loop.tick": _counted("ostler_loop_ticks_total", "ok"),
        "worker.lost": _counted("ostler_workers_lost_total"),
        "alert.raised": _counted("ostler_alerts_raised_total", "rule"),
    }
)
