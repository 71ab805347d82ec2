"""The answer to a scrape: what was counted, and what the books say at this moment. O(wait reasons + fleet) a scrape."""

import os
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from ostler.budget.limits import standing
from ostler.domain.fleet import BreakerState
from ostler.domain.limits import ScopeKind, Unit
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.hub.alert_desk import AlertDesk
from ostler.hub.loop_views import LoopList
from ostler.hub.pump import Pump
from ostler.hub.service_info import HubInfo
from ostler.hub.waiting import every_group
from ostler.routing.availability import available_tiers
from ostler.scheduling.books import Books
from ostler.scheduling.host_views import HostView, host_views
from ostler.telemetry.exposition import text_of
from ostler.telemetry.metering import Metering
from ostler.telemetry.metrics import Key

_MS = 1_000
Read = dict[str, dict[Key, float]]


class MetricsDesk:
    """Metrics of a hub."""

    def __init__(self, pump: Pump, info: HubInfo, alerts: AlertDesk) -> None:
        self._pump = pump
        self._info = info
        self._alerts = alerts
        self.metering = Metering()
        self.loops: Callable[[], Awaitable[LoopList]] | None = None
        self.enabled = True
        """May be changed at any time; counting goes on."""
        pump.observers.append(self.metering.observe)

    async def text(self) -> str:
        """Everything, in the text format of Prometheus; empty where the profile turned it off."""
        if not self.enabled:
            return ""
        books, now_ms = self._pump.scheduler.books, self._pump.clock.now_ms()
        read: Read = {
            "ostler_info": {(self._info.version, books.policy.profile): 1},
            "ostler_start_time_seconds": {(): self._info.started_ms / _MS},
            "ostler_calls_running": {(): books.calls.running},
            "ostler_calls_waiting": {(): len(books.calls.waiting)},
            "ostler_workers": {(): len(books.workers)},
        }
        for part in (
            _tasks(books, now_ms),
            _slots(books),
            _endpoints(books, now_ms),
            _hosts(host_views(books, now_ms)),
            _limits(books, now_ms),
            _process(),
        ):
            for name, key, value in part:
                known = read.setdefault(name, {})
                known[key] = known.get(key, 0) + value
        if self.loops is not None:
            listed = await self.loops()
            read["ostler_loops"] = dict(Counter((answer.loop.status.value,) for answer in listed.loops))
        shown = await self._alerts.alerts()
        read["ostler_alerts"] = dict(Counter((row.alert.severity.value, row.alert.state.value) for row in shown.alerts))
        return text_of(self.metering.meters.families(read))


Value = tuple[str, Key, float]


def _tasks(books: Books, now_ms: int) -> Iterator[Value]:
    oldest: dict[str, int] = {}
    for state, count in books.tasks.counts().items():
        yield "ostler_tasks", (state.value,), count
    for group in every_group(books):
        code, since_ms = group.wait.code.value, group.wait.since_ms
        yield "ostler_queue", (code,), group.count
        oldest[code] = min(since_ms, oldest.get(code, now_ms))
    for reason, since_ms in oldest.items():
        yield "ostler_queue_oldest_seconds", (reason,), max(0, now_ms - since_ms) / _MS


def _slots(books: Books) -> Iterator[Value]:
    for state in books.workers.states.values():
        for kind in state.session.offer.slots:
            yield "ostler_worker_slots", (kind.value, "busy"), state.busy.get(kind, 0)
            yield "ostler_worker_slots", (kind.value, "free"), max(0, state.free(kind))


def _endpoints(books: Books, now_ms: int) -> Iterator[Value]:
    for name, view in books.endpoints.views.items():
        busy = books.in_flight.get(name, 0)
        yield "ostler_endpoint_up", (name,), float(view.unusable_since_ms is None and view.checked_ms is not None)
        yield "ostler_endpoint_slots", (name, "busy"), busy
        yield "ostler_endpoint_slots", (name, "free"), max(0, view.slots - busy)
        yield "ostler_breaker_open", (name,), float(view.breaker is not BreakerState.CLOSED)
    for tier, up in available_tiers(books.snapshot(now_ms), books.policy, now_ms).items():
        yield "ostler_tier_up", (tier,), float(bool(up))


def _hosts(views: tuple[HostView, ...]) -> Iterator[Value]:
    for view in views:
        yield "ostler_host_memory_bytes", (view.name, "used"), view.used_bytes
        yield "ostler_host_memory_bytes", (view.name, "free"), max(0, view.memory_bytes - view.used_bytes)
        yield "ostler_host_memory_bytes", (view.name, "reserve"), view.reserve_bytes
        for model in sorted({resident.model for resident in view.residents}):
            yield "ostler_model_resident", (view.name, model), 1
        counts = view.since_start
        yield "ostler_host_loads_total", (view.name,), counts.loads
        yield "ostler_host_swaps_total", (view.name,), counts.swaps
        yield "ostler_host_load_failures_total", (view.name,), counts.failed
        yield "ostler_host_swap_lost_seconds_total", (view.name,), counts.lost_ms / _MS


def _limits(books: Books, now_ms: int) -> Iterator[Value]:
    """Limits for all work, or for one thing by name: of those that each session or task has, there is no end."""
    for limit in books.policy.budget.limits:
        if not limit.of and limit.scope is not ScopeKind.ALL:
            continue
        found = standing(limit, limit.of, now_ms, books.money.spent, parts=books.parts.of)
        if found is None:
            continue
        whole = found.ceiling if found.ceiling is not None else limit.soft
        amounts = {"used": found.used, "held": found.held, "ceiling": whole}
        if found.part is not None and found.part.pools:
            amounts |= {"other_pools": found.part.spent, "kept_by_others": found.part.kept}
        for use, amount in amounts.items():
            if amount is not None:
                value = amount / MICRO_USD_PER_USD if limit.unit is Unit.USD else amount
                yield "ostler_limit", (limit.name, limit.unit.value, use), value


def _process() -> Iterator[Value]:
    use = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_cpu_seconds_total", (), use.ru_utime + use.ru_stime
    yield "process_resident_memory_bytes", (), _resident_bytes(use.ru_maxrss)


def _resident_bytes(highest: int) -> int:
    """Memory now where the system tells; else the most there ever was, which Linux counts in KiB and macOS in bytes."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return highest if sys.platform == "darwin" else highest * 1024
