"""The catalogue of metrics, and the counters behind it.

Labels are bounded by rule, whatever the hub is asked to do: a label is one of `LABELS`, each of which says where its
values come from and how many there may be. A value beyond that becomes `other`, and so does a whole series beyond
`SERIES_MAX` of one metric. Names of tasks, runs, sessions, keys, repositories and messages are never labels.

Counting is adding to plain integers in dictionaries; text is made when somebody scrapes. Counters begin at 0 with the
process, as scrapers expect.
"""

from bisect import bisect_left
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ostler.telemetry.exposition import Family, Sample, histogram

OTHER = "other"
SERIES_MAX = 1_000
"""Series of one metric at most; of a histogram each is as many lines as it has buckets, and three more."""

LABELS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "tier": (32, "tiers of the profile"),
        "from_tier": (32, "as `tier`"),
        "to_tier": (32, "as `tier`"),
        "model": (64, "models of the profile and of endpoints, by their first name"),
        "endpoint": (64, "endpoints of the profile, and those that were added"),
        "host": (64, "hosts of the profile and of endpoints"),
        "provider": (32, "providers of the profile"),
        "limit": (32, "limits of the profile that are for all work, or for one thing"),
        "unit": (4, "`usd`, `tokens`, `requests`"),
        "state": (16, "states of tasks, or of breakers, or of alerts"),
        "reason": (32, "reasons to wait, or to refuse"),
        "failure": (32, "classes of failures, and `none`"),
        "kind": (8, "`command`, `chat`, `agent`"),
        "target": (8, "kinds of targets"),
        "fallback": (2, "`true`, `false`"),
        "ok": (2, "`true`, `false`"),
        "direction": (8, "`input`, `cache_read`, `cache_write`, `output`, `reasoning`"),
        "basis": (8, "how a cost is known"),
        "use": (8, "`busy`, `free`, `used`, `reserve`, `held`, `ceiling`"),
        "event": (160, "names of the catalogue of events"),
        "rule": (32, "alert rules"),
        "severity": (2, "`warning`, `critical`"),
        "outcome": (2, "`sent`, `dropped`"),
        "version": (1, "version of the hub"),
        "profile": (4, "name of the profile"),
    }
)
"""Every label: how many values it may have, and what they are."""

_QUICK = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1_800.0, 7_200.0)


class MetricKind(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the catalogue. `bounds`: of the buckets of a histogram, in its unit."""

    kind: str
    doc: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


def _counter(doc: str, *labels: str) -> MetricKind:
    return MetricKind(kind="counter", doc=doc, labels=labels)


def _gauge(doc: str, *labels: str) -> MetricKind:
    return MetricKind(kind="gauge", doc=doc, labels=labels)


def _histogram(doc: str, bounds: tuple[float, ...], *labels: str) -> MetricKind:
    return MetricKind(kind="histogram", doc=doc, labels=labels, bounds=bounds)


METRICS: Mapping[str, MetricKind] = MappingProxyType(
    {
        "ostler_info": _gauge("1, with what runs as labels.", "version", "profile"),
        "ostler_start_time_seconds": _gauge("When the hub started, in seconds since 1970."),
        "ostler_tasks": _gauge("Tasks that have not ended, by state.", "state"),
        "ostler_queue": _gauge("Tasks in the queue, by what they wait for.", "reason"),
        "ostler_queue_oldest_seconds": _gauge("How long the oldest of them has waited for it.", "reason"),
        "ostler_tasks_submitted_total": _counter("Tasks that were accepted.", "kind"),
        "ostler_tasks_ended_total": _counter("Tasks that ended, by how.", "state"),
        "ostler_attempts_started_total": _counter("Attempts that a worker started.", "tier"),
        "ostler_attempts_ended_total": _counter(
            "Attempts that ended, by the class of their failure.", "tier", "failure"
        ),
        "ostler_attempts_reclaimed_total": _counter("Attempts that were taken back from a worker.", "tier"),
        "ostler_attempt_seconds": _histogram("From the start of an attempt to its end.", _SECONDS, "tier"),
        "ostler_queue_wait_seconds": _histogram("From the queue to a worker.", _SECONDS, "tier"),
        "ostler_decisions_total": _counter("Routes that were decided and assigned.", "tier", "target", "fallback"),
        "ostler_decision_seconds": _histogram("Time that a decision took.", _QUICK),
        "ostler_fallbacks_total": _counter(
            "Waits for a preferred tier that were given up for another one.", "from_tier", "to_tier"
        ),
        "ostler_model_fallbacks_total": _counter(
            "Waits for a task's own model that were given up for another of its models.", "tier"
        ),
        "ostler_loops": _gauge("Loops of autonomous agents, by where they stand.", "state"),
        "ostler_loop_ticks_total": _counter("Ticks of loops that ended.", "ok"),
        "ostler_refused_commands_total": _counter("Commands that the store refused; they are decided again.", "reason"),
        "ostler_calls_running": _gauge("Live calls of the gateway that hold a slot."),
        "ostler_calls_waiting": _gauge("Live calls of the gateway in line."),
        "ostler_calls_total": _counter("Live calls that ended.", "model", "endpoint", "failure"),
        "ostler_call_seconds": _histogram("A live call, from its coming in to its end.", _SECONDS, "model"),
        "ostler_call_wait_seconds": _histogram("How long a live call was in line.", _SECONDS),
        "ostler_call_first_token_seconds": _histogram("To the first piece of a streamed answer.", _SECONDS, "model"),
        "ostler_call_overhead_seconds": _histogram("Our own time in a live call.", _QUICK),
        "ostler_call_attempts_total": _counter(
            "Attempts of live calls at endpoints, those that failed too.", "endpoint", "failure"
        ),
        "ostler_call_fallbacks_total": _counter("Live calls that another place than the first one answered."),
        "ostler_call_refusals_total": _counter("Requests that were refused before they became live calls.", "reason"),
        "ostler_api_refusals_total": _counter(
            "Requests to the API and the pages that were too many: `rate`, `open_requests`, `sign_in`.", "reason"
        ),
        "ostler_call_records_dropped_total": _counter("Records of live calls that were lost."),
        "ostler_tokens_total": _counter("Tokens of attempts and live calls.", "model", "direction"),
        "ostler_spent_usd_total": _counter(
            "Money that was charged, in dollars; what nobody saw the end of counts with its estimate.",
            "provider",
            "model",
            "basis",
        ),
        "ostler_limit": _gauge(
            "Limits of the budget in their unit: used, held, ceiling; with several pools what others spent and keep.",
            "limit",
            "unit",
            "use",
        ),
        "ostler_workers": _gauge("Workers that are joined."),
        "ostler_worker_slots": _gauge("Slots of all workers.", "kind", "use"),
        "ostler_workers_lost_total": _counter("Workers that were counted as dead."),
        "ostler_endpoint_up": _gauge("1 where calls may go to the endpoint.", "endpoint"),
        "ostler_endpoint_slots": _gauge("Slots of an endpoint: busy, and free ones that are open.", "endpoint", "use"),
        "ostler_breaker_open": _gauge("1 where the breaker is not closed.", "endpoint"),
        "ostler_breaker_changes_total": _counter("Changes of breakers, by the new state.", "endpoint", "state"),
        "ostler_rate_limits_total": _counter("Times that an endpoint said to come back later.", "endpoint"),
        "ostler_tier_up": _gauge("1 where the tier has a usable endpoint.", "tier"),
        "ostler_host_memory_bytes": _gauge("Memory for models on a managed host.", "host", "use"),
        "ostler_model_resident": _gauge("1 for each model in the memory of a host.", "host", "model"),
        "ostler_host_loads_total": _counter("Loads that ended well.", "host"),
        "ostler_host_swaps_total": _counter("Loads for which something had to go.", "host"),
        "ostler_host_load_failures_total": _counter("Loads and unloads that failed.", "host"),
        "ostler_host_swap_lost_seconds_total": _counter("Time of swaps in which no call ran.", "host"),
        "ostler_model_load_seconds": _histogram("How long loads took, unloads for them included.", _SECONDS, "host"),
        "ostler_alerts": _gauge("Alerts that are raised.", "severity", "state"),
        "ostler_alerts_raised_total": _counter("Alerts that were raised.", "rule"),
        "ostler_events_total": _counter("Events of the catalogue.", "event"),
        "ostler_spans_total": _counter("Spans of traces that were sent, or dropped.", "outcome"),
        "process_resident_memory_bytes": _gauge("Memory of the hub's process."),
        "process_cpu_seconds_total": _counter("Processor time of the hub's process."),
    }
)
"""Every metric of `/metrics`; nothing else is written there."""

Key = tuple[str, ...]


class _Series:
    """One histogram: how many in each bucket, and the sum."""

    __slots__ = ("counts", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0


class Bounded:
    """Keeps the values of labels few: the first so many keep their names."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def key(self, labels: Key, values: Key) -> Key:
        """The values that are shown."""
        return tuple(self._one(label, value) for label, value in zip(labels, values, strict=True))

    def _one(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, set())
        if value in seen:
            return value
        if len(seen) >= LABELS[label][0]:
            return OTHER
        seen.add(value)
        return value


class Meters:
    """Counters and histograms of one process."""

    def __init__(self) -> None:
        self._bounded = Bounded()
        self._shown: dict[tuple[str, Key], Key] = {}
        """What values were shown as, so that counting asks no sets again; bounded, see `_key`."""
        self._observed: dict[tuple[str, Key], tuple[_Series, tuple[float, ...]]] = {}
        """The same for histograms, with the series itself."""
        self._counters: dict[str, dict[Key, float]] = {
            name: {} for name, kind in METRICS.items() if kind.kind == "counter"
        }
        self._histograms: dict[str, dict[Key, _Series]] = {
            name: {} for name, kind in METRICS.items() if kind.kind == "histogram"
        }

    def count(self, name: str, *values: str, by: float = 1) -> None:
        """Add to a counter; `values` are those of its labels, in order."""
        series = self._counters[name]
        key = self._shown.get((name, values))
        if key is None:
            key = self._key(name, values, len(series))
        series[key] = series.get(key, 0) + by

    def observe(self, name: str, value: float, *values: str) -> None:
        """Add a value to a histogram."""
        found = self._observed.get((name, values))
        if found is None:
            found = self._histogram(name, values)
        series, bounds = found
        series.counts[bisect_left(bounds, value)] += 1
        series.total += value

    def _histogram(self, name: str, values: Key) -> tuple[_Series, tuple[float, ...]]:
        """The series that values belong to; remembered where their key is."""
        known, bounds = self._histograms[name], METRICS[name].bounds
        key = self._key(name, values, len(known))
        series = known.get(key)
        if series is None:
            series = known[key] = _Series(len(bounds) + 1)
        if (name, values) in self._shown:
            self._observed[name, values] = series, bounds
        return series, bounds

    def families(self, read: Mapping[str, Mapping[Key, float]]) -> list[Family]:
        """All metrics in the order of the catalogue. `read`: values that were read now, by name and label values."""
        return [self._family(name, kind, read.get(name, {})) for name, kind in METRICS.items()]

    def _family(self, name: str, kind: MetricKind, read: Mapping[Key, float]) -> Family:
        samples: list[Sample] = []
        if kind.kind == "histogram":
            for key, series in sorted(self._histograms[name].items()):
                labels = dict(zip(kind.labels, key, strict=True))
                samples += histogram(labels, kind.bounds, series.counts, series.total)
        else:
            found: dict[Key, float] = dict(self._counters.get(name, {}))
            for values, value in read.items():
                key = self._key(name, values, len(found))
                found[key] = found.get(key, 0) + value
            samples += [
                Sample(labels=dict(zip(kind.labels, key, strict=True)), value=value)
                for key, value in sorted(found.items())
            ]
        return Family(name=name, kind=kind.kind, doc=kind.doc, samples=samples)

    def _key(self, name: str, values: Key, series: int) -> Key:
        shown = self._shown.get((name, values))
        if shown is not None:
            return shown
        labels = METRICS[name].labels
        shown = self._bounded.key(labels, values)
        if series >= SERIES_MAX:
            return (OTHER,) * len(labels)
        if OTHER not in shown:
            self._shown[name, values] = shown
        return shown
