"""The hub's side of alerts: it looks now and then, keeps what it finds, tells who is to be told, and answers people.

    books + counts of the last hour -> facts -> rules -> machine -> store (row and event in one) -> delivery

A look happens every `every_ms`, and soon after an event that says that something is up or down (`HURRIES`). Only the
regular ones sample the queue, because that rule counts looks. Nothing is looked at before `start_after_ms`.

Alerts are durable: a hub that starts takes up what was raised, acknowledged and cleared, and the cool-downs with it;
what was merely pending begins anew. An alert is told after its row is durable, so a crash between the two tells it late
(with the next start it is listed as active), never twice.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from ostler.alerts.facts import Trend
from ostler.alerts.machine import Change, Told, acknowledged, step
from ostler.alerts.rules import find
from ostler.domain.alert_rules import RULES, Rule
from ostler.domain.alerts import RAISED, Alert, AlertState, Severity
from ostler.domain.commands import AppendEvents, Applied, Command, PutAlerts
from ostler.domain.errors import ConflictError, NotFoundError, OstlerError, nearest
from ostler.domain.event import Event
from ostler.domain.ports import Store
from ostler.hub.alert_facts import Counted, facts_of
from ostler.hub.alert_views import AlertList, AlertNote, AlertRow, Delivered, DeliveryTest, RuleRow
from ostler.hub.life_signs import LifeSigns
from ostler.hub.pump import Pump
from ostler.telemetry.durable import events_of

HURRIES = frozenset(
    {
        "alert.budget",
        "alert.tier_down",
        "alert.tier_up",
        "task.answered",
        "task.needs_human",
        "task.retried",
        "task.unanswered",
        "worker.joined",
        "worker.left",
        "worker.lost",
    }
)
"""Events after which a look is due soon."""
HURRY_S = 0.2
RECALL = 5_000
"""So many of the newest events are counted at the start, as far as they are of the last hour."""
TEST = Alert(
    rule="test",
    state=AlertState.ACTIVE,
    severity=Severity.CRITICAL,
    message="this is a test; nothing is wrong",
    since_ms=0,
    updated_ms=0,
)


class Delivery(Protocol):
    """Tells the outside of alerts."""

    def tell(self, change: Change) -> None:
        """Have it told; returns at once."""
        ...

    async def test(self, alert: Alert) -> Sequence[Delivered]:
        """Tell it everywhere now, once, and say how that went."""
        ...


class AlertRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile says of alerts."""

    rules: Mapping[str, Rule] = {}
    every_ms: int = 30_000
    start_after_ms: int = 30_000


class AlertDesk:
    """Alerts for people."""

    def __init__(self, pump: Pump, store: Store, signs: LifeSigns) -> None:
        self._pump = pump
        self._store = store
        self._signs = signs
        self.obey = AlertRules()
        """May be changed at any time; a rule that is gone clears its alerts with the next look."""
        self.delivery: Delivery | None = None
        self._alerts: dict[str, Alert] = {}
        self._counted = Counted()
        self._trend = Trend()
        self._worker_seen = False
        self._looking: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._log = structlog.get_logger("ostler.alerts")
        pump.observers.append(self._observe)

    async def start(self) -> None:
        """Take up what is known, and look from now on."""
        self._alerts = {one.id: one for one in await self._store.alerts()}
        await self._recall()
        self._looking = asyncio.create_task(self._look_for_ever(), name="alerts")

    async def stop(self) -> None:
        """Look no longer. Safe to repeat."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def alerts(self, *, every: bool = False) -> AlertList:
        """What is raised; `every`: what was cleared too."""
        shown = [_told(one) for one in self._alerts.values() if one.state in RAISED or (every and one.times)]
        rows = [AlertRow(id=one.id, alert=one, doc=_doc(one.rule)) for one in sorted(shown, key=_place)]
        rules = [
            RuleRow(name=name, doc=kind.doc, unit=kind.unit, rule=self.obey.rules.get(name))
            for name, kind in RULES.items()
        ]
        return AlertList(alerts=tuple(rows), rules=tuple(rules), now_ms=self._pump.clock.now_ms())

    async def acknowledge(self, note: AlertNote) -> AlertList:
        """A person knows of an alert, or of all that are active. Raises `NotFoundError`, `ConflictError`."""
        async with self._one_at_a_time:
            now_ms = self._pump.clock.now_ms()
            named = [self._named(note.id)] if note.id else list(self._alerts.values())
            active = [one for one in named if one.state is AlertState.ACTIVE]
            rows = [acknowledged(one, now_ms, by=note.by, note=note.note) for one in active]
            if rows:
                events = tuple(_acknowledged_event(one, now_ms) for one in rows)
                await self._pump.apply([PutAlerts(alerts=tuple(rows)), AppendEvents(events=events)])
                self._alerts.update((one.id, one) for one in rows)
        return await self.alerts()

    async def test(self) -> DeliveryTest:
        """Tell a test everywhere, and say how that went."""
        if self.delivery is None:
            return DeliveryTest()
        now_ms = self._pump.clock.now_ms()
        alert = msgspec.structs.replace(TEST, since_ms=now_ms, raised_ms=now_ms, updated_ms=now_ms)
        return DeliveryTest(places=tuple(await self.delivery.test(alert)))

    async def look(self, *, sample: bool = True) -> tuple[Change, ...]:
        """Look now; what there was to tell has been handed over when this returns. `sample`: it counts for the
        queue.
        """
        async with self._one_at_a_time:
            now_ms, books = self._pump.clock.now_ms(), self._pump.scheduler.books
            self._signs.keep(books.tasks)
            self._worker_seen = self._worker_seen or bool(len(books.workers))
            facts = facts_of(
                books,
                self._signs,
                self._counted,
                now_ms,
                worker_seen=self._worker_seen,
                limits_known=self._limits_known(),
            )
            if sample:
                self._trend = self._trend.sampled(facts.queued)
            after = step(self._alerts, find(facts, self._trend, self.obey.rules), self.obey.rules, now_ms)
            if after.changes:
                await self._keep(after.changes, now_ms)
            self._alerts = dict(after.alerts)
            for change in after.changes:
                if self.delivery is not None:
                    self.delivery.tell(change)
            return after.changes

    async def undelivered(self, change: Change, to: str, attempts: int, reason: str) -> None:
        """Tell in an event that somebody could not be told."""
        alert = change.alert
        metadata = {"to": to, "rule": alert.rule, "subject": alert.subject, "reason": reason}
        event = Event(
            name="alert.undelivered",
            at_ms=self._pump.clock.now_ms(),
            measurements={"attempts": attempts},
            metadata=metadata,
        )
        await self._pump.apply([AppendEvents(events=(event,))])

    async def _keep(self, changes: Iterable[Change], now_ms: int) -> None:
        rows = tuple(change.alert for change in changes)
        events = tuple(_changed_event(change, now_ms) for change in changes)
        await self._pump.apply([PutAlerts(alerts=rows), AppendEvents(events=events)])

    def _limits_known(self) -> list[tuple[str, str]]:
        """Limits that alerts are raised about: after a start nothing else knows whose they are."""
        raised = (one for one in self._alerts.values() if one.rule in ("budget_soft", "budget_hard"))
        return [(limit, of) for one in raised for limit, _, of in [one.subject.partition("/")]]

    def _named(self, name: str) -> Alert:
        raised = {one.id: one for one in self._alerts.values() if one.state in RAISED}
        if name in raised:
            return raised[name]
        if name in self._alerts and self._alerts[name].times:
            remedy = "nothing is left to acknowledge; `ostler alerts list --all` shows it"
            raise ConflictError(f"alert {name} is cleared", where="id", remedy=remedy)
        raise NotFoundError(f"there is no alert {name}", where="id", remedy=nearest(name, raised))

    def _observe(self, applied: Sequence[tuple[Command, Applied]]) -> None:
        self._counted.observe(applied)
        for event in events_of(applied):
            if event.name in HURRIES:
                self._hurry.set()

    async def _recall(self) -> None:
        """Count what was durable before this start, so that a rate does not look good only because the hub is new."""
        for event in await self._store.events(after_seq=max(0, self._pump.last_seq - RECALL), limit=RECALL):
            self._counted.event(event.name, event.at_ms, has_model=event.metadata.get("model") is not None)

    async def _look_for_ever(self) -> None:
        await asyncio.sleep(self.obey.start_after_ms / 1_000)
        while True:
            await self._try_look(sample=True)
            loop = asyncio.get_running_loop()
            next_s = loop.time() + self.obey.every_ms / 1_000
            while await self._hurried(next_s - loop.time()):
                await self._try_look(sample=False)

    async def _hurried(self, within_s: float) -> bool:
        """Whether a look is due before the regular one; returns when it is due, or when the regular one is."""
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                await self._hurry.wait()
                await asyncio.sleep(HURRY_S)
        except TimeoutError:
            self._hurry.clear()
            return False
        self._hurry.clear()
        return True

    async def _try_look(self, *, sample: bool) -> None:
        try:
            await self.look(sample=sample)
        except OstlerError as error:
            self._log.warning("alerts cannot be kept", error=str(error))
        except Exception as error:  # boundary: one look that fails must not be the last one
            self._log.error("a look for alerts failed", error=str(error), kind=type(error).__name__)


def _told(alert: Alert) -> Alert:
    """The alert as people know it: what is pending again is still what it was."""
    return alert if alert.state is not AlertState.PENDING else msgspec.structs.replace(alert, state=AlertState.CLEARED)


def _doc(rule: str) -> str:
    kind = RULES.get(rule)
    return kind.doc if kind is not None else ""


def _place(alert: Alert) -> tuple[bool, bool, bool, int, str]:
    """Raised before cleared, active before acknowledged, critical before warning, the newest first."""
    return (
        alert.state not in RAISED,
        alert.state is AlertState.ACKNOWLEDGED,
        alert.severity is not Severity.CRITICAL,
        -(alert.raised_ms or 0),
        alert.id,
    )


def _changed_event(change: Change, now_ms: int) -> Event:
    alert = change.alert
    metadata = {"rule": alert.rule, "subject": alert.subject, "severity": alert.severity.value}
    if change.told is Told.CLEARED:
        lasted = {"raised_ms": max(0, now_ms - (alert.raised_ms or now_ms))}
        return Event(name="alert.cleared", at_ms=now_ms, measurements=lasted, metadata=metadata)
    figures = {"value": alert.value, "bound": alert.bound, "times": alert.times}
    said = metadata | {"message": alert.message}
    return Event(name="alert.raised", at_ms=now_ms, measurements=figures, metadata=said)


def _acknowledged_event(alert: Alert, now_ms: int) -> Event:
    metadata = {"rule": alert.rule, "subject": alert.subject, "by": alert.acknowledged_by, "note": alert.note}
    return Event(name="alert.acknowledged", at_ms=now_ms, metadata=metadata)
