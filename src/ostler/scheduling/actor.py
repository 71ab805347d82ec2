"""The actor: one signal in, its effects out. Dispatch only; what each signal means stands in the other modules.

    signal -> books change -> timers that are due -> tiers watched -> scheduling round -> residency step -> effects

Invariants: `handle` never waits, never reads a clock, never fails half-way: a wish it refuses (`NotFoundError`,
`ConflictError`) is refused before anything changed. Equal signals at equal instants give equal effects.

A round may be made in parts (`most`): whoever has much to tell tells all of it first, and nobody who only joins,
reports or asks stands in line behind the decisions on the work of all others.
"""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.clock import Clock
from ostler.domain.event import Event
from ostler.domain.ledger import LedgerEntry, Summed
from ostler.domain.live import Standing
from ostler.domain.policy import Policy
from ostler.domain.states import LEASED_STATES, Failure, FailureClass, TaskState, Wait, WaitCode
from ostler.scheduling import allowances, following, live, loading, purse, residency, wishes
from ostler.scheduling import signals as sig
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.effects import Effect
from ostler.scheduling.followed import place_of
from ostler.scheduling.intake import (
    Settled,
    accept,
    class_key,
    delay_over,
    expire,
    needs_detail,
)
from ostler.scheduling.outcomes import failed, quiet_due, refused, release, reported, take_back, touched
from ostler.scheduling.people import answer_due
from ostler.scheduling.rounds import fallback_event, run_round
from ostler.scheduling.sessions import after_pause, joined, left, renewed, restore, session_due
from ostler.scheduling.swap_costs import SwapCosts
from ostler.scheduling.swap_waits import swap_wait
from ostler.scheduling.tiers import alert_due, watch_tiers
from ostler.scheduling.timers import TimerKind

STEPS_MAX = 8
"""Rounds and residency steps in turn within one signal: each step frees classes that the next round holds again."""


class Scheduler:
    """The scheduler of one pool of work."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        books = self.books = Books(policy, clock)
        books.swap_costs = lambda now_ms: SwapCosts(books, now_ms)
        self.is_due = False
        """Whether something was taken in whose round is still to be made, or ended: any signal goes on with it."""

    def handle(self, signal: sig.Signal, now_ms: int, *, most: int | None = None) -> list[Effect]:
        """Take in a fact or a wish at an instant; returns what is to be done, in order.

        `most`: about how many decisions may be made on it now, `None` for all there are to make, 0 to take it in only.
        """
        books = self.books
        turn = Turn(books, now_ms)
        if books.hosts:
            books.hosts.pass_time(books.seen_ms, now_ms)
        after_pause(turn)
        self._apply(turn, signal)
        books.seen_ms = max(books.seen_ms, now_ms)
        self._fire_timers(turn)
        if books.following:
            following.watch(turn)
        if books.queue.is_open or books.hosts or books.calls.due:
            self.is_due = True
        if self.is_due and most != 0:
            self.is_due = not _serve(turn, most)
            if not self.is_due and books.calls.due and live.deny_due(turn):
                self.is_due = not _serve(turn, most)
        return turn.effects

    def restore_money(
        self,
        sums: Iterable[Summed],
        reserved: Iterable[LedgerEntry],
        lately: Iterable[LedgerEntry] = (),
        *,
        now_ms: int,
        reports: Iterable[Reported] = (),
    ) -> None:
        """Take up what the ledger says, before any work is taken in. `lately`: entries to learn lengths from;
        `reports`: what providers last said of subscriptions. What is reached by now was told of before.
        """
        lately = tuple(lately)
        self.books.money.restore(sums, reserved, lately)
        self.books.answers.restore(lately, self.books.policy)
        purse.recall_told(self.books, now_ms)
        allowances.restored(self.books, reports, now_ms)

    def next_wake_ms(self) -> int | None:
        """When the scheduler wants a `Wake` if nothing else happens."""
        return self.books.timers.next_ms()

    def wait_of(self, task_id: str) -> Wait | None:
        """Why a task waits at this moment; `None` when it does not wait or is not known."""
        live = self.books.queue.wait_of(task_id)
        if live is not None and live.code is WaitCode.MODEL_SWAP:
            return swap_wait(self.books, task_id, live)
        if live is not None:
            return live
        task = self.books.tasks.get(task_id)
        if task is None or task.wait is None:
            return None
        if task.wait.code is WaitCode.DEPS and self.books.dependencies.missing(task_id):
            return msgspec.structs.replace(task.wait, detail=needs_detail(self.books, task_id))
        return task.wait

    def standing(self, call_id: str) -> Standing | None:
        """Where a live call stands; `None` when it does not wait or is not known."""
        return live.standing(self.books, call_id)

    def _apply(self, turn: Turn, signal: sig.Signal) -> None:  # noqa: C901, PLR0912 - one branch for each signal
        match signal:
            case sig.CallOffered():
                live.offered(turn, signal.call)
            case sig.CallEnded():
                live.ended(turn, signal.end)
            case sig.CallWithdrawn():
                live.withdrawn(turn, signal.call_id)
            case sig.TasksAccepted():
                accept(turn, signal.tasks, _settled(signal), signal.plan_by_ms)
            case sig.Restored():
                self.books.hosts.speeds.restore(signal.measurements, self.books.policy.catalog)
                restore(turn, signal.tasks, signal.sessions, _settled(signal), alone=signal.alone)
            case sig.WorkerJoined():
                joined(turn, signal.session)
            case sig.WorkerRenewed():
                renewed(turn, signal.session_id, signal.report)
            case sig.WorkerLeft():
                left(turn, signal.session_id, died=signal.died)
            case sig.Reported():
                reported(turn, signal.session_id, signal.report)
            case sig.ReportsCame():
                for report in signal.reports:
                    reported(turn, signal.session_id, report)
            case sig.Probed():
                self._probed(turn, signal)
            case sig.EndpointAdded():
                touched(turn, signal.spec.name, self.books.endpoints.add(signal.spec, turn.now_ms))
                loading.followed(turn, signal.spec.name)
                self._fleet_changed(turn, signal.spec.name, None)
            case sig.EndpointRemoved():
                turn.emit(*self.books.endpoints.remove(signal.name, turn.now_ms))
                loading.followed(turn, signal.name)
                self._fleet_changed(turn, signal.name, None)
            case sig.EndpointReset() | sig.SlotsShared() | sig.PartsTold():
                self._opened(turn, signal)
            case sig.LoadEnded() | sig.UnloadEnded() | sig.WantLoad() | sig.WantUnload() | sig.PinModel():
                loading.told(turn, signal)
            case sig.PolicyChanged():
                self._policy_changed(turn, signal.policy)
            case sig.PlanAdopted() | sig.PlanDropped():
                following.told(turn, signal)
            case sig.CommandRefused():
                refused(turn, signal.task_id, signal.generation, signal.result)
            case sig.Charged():
                purse.pay(turn, signal.command)
            case sig.Wake():
                pass
            case (
                sig.Cancel()
                | sig.Pause()
                | sig.Resume()
                | sig.Retry()
                | sig.Answered()
                | sig.AdoptLate()
                | sig.Gather()
            ):
                wishes.told(turn, signal)
            case _:
                assert_never(signal)

    def _probed(self, turn: Turn, signal: sig.Probed) -> None:
        known = self._offer(signal.probe.endpoint)
        busy = self.books.in_flight.get(signal.probe.endpoint, 0) > 0
        events = self.books.endpoints.probed(signal.probe, turn.now_ms, busy=busy)
        loading.listed(turn, signal.probe)
        touched(turn, signal.probe.endpoint, events)
        self._fleet_changed(turn, signal.probe.endpoint, known)

    def _offer(self, name: str) -> frozenset[str] | None:
        view = self.books.endpoints.views.get(name)
        return view.models if view is not None else None

    def _fleet_changed(self, turn: Turn, name: str, known: frozenset[str] | None) -> None:
        """Watch the tiers; when an endpoint offers other models than before, any class may be concerned."""
        if known is None or self._offer(name) != known:
            self.books.queue.open_all()
        watch_tiers(turn)

    def _opened(self, turn: Turn, signal: sig.EndpointReset | sig.SlotsShared | sig.PartsTold) -> None:
        """More, or less, may go to endpoints than before."""
        if isinstance(signal, sig.PartsTold):
            purse.divided(turn, signal.parts)
            return
        if isinstance(signal, sig.EndpointReset):
            touched(turn, signal.name, self.books.endpoints.reset(signal.name, turn.now_ms))
            return
        for name in self.books.endpoints.shared(signal.shares):
            touched(turn, name, [])

    def _policy_changed(self, turn: Turn, policy: Policy) -> None:
        """Put every waiting task into the class that the new rules give it. O(waiting); profiles change rarely."""
        books = self.books
        books.policy = policy
        books.endpoints.policy = policy.scheduler
        books.answers.policy_changed(policy)
        loading.policy_changed(turn, policy)
        meta = {"policy_version": policy.version, "profile": policy.profile}
        turn.emit(Event(name="config.changed", at_ms=turn.now_ms, metadata=meta))
        for task in [task for task in books.tasks.values() if task.id in books.queue]:
            books.queue.remove(task.id)
            books.queue.push(
                task.id,
                class_key(books, task),
                int(task.priority),
                place_of(books.following, task, books.paths.place(task)),
            )
        live.policy_changed(turn)
        watch_tiers(turn)

    def _fire_timers(self, turn: Turn) -> None:
        for kind, key in self.books.timers.pop_due(turn.now_ms):
            self._fire(turn, kind, key)

    def _fire(self, turn: Turn, kind: TimerKind, key: object) -> None:
        books = self.books
        if kind is TimerKind.CLASS:
            books.queue.open(key)
            return
        name = str(key)
        match kind:
            case TimerKind.FALLBACK:
                self._fallback(turn, name)
            case TimerKind.TTL:
                expire(turn, name)
            case TimerKind.CALL:
                books.calls.due.append(name)
            case TimerKind.NOT_BEFORE | TimerKind.RETRY:
                self._time_came(turn, name)
            case TimerKind.ASSIGN | TimerKind.CANCEL:
                self._never_answered(turn, kind, name)
            case TimerKind.SESSION | TimerKind.QUIET | TimerKind.ANSWER:
                _LOOKS[kind](turn, name)
            case TimerKind.ENDPOINT:
                touched(turn, name, books.endpoints.advance(name, turn.now_ms))
                watch_tiers(turn)
            case TimerKind.RESIDENCY:
                residency.time_came(turn)
            case TimerKind.TIER_ALERT:
                alert_due(turn, name)
            case TimerKind.LATE | TimerKind.REPLAN:
                following.due(turn, kind, name)

    def _time_came(self, turn: Turn, task_id: str) -> None:
        task = self.books.tasks.get(task_id)
        if task is not None and task.state in (TaskState.SCHEDULED, TaskState.RETRY_WAIT, TaskState.QUEUED):
            delay_over(turn, task)

    def _fallback(self, turn: Turn, task_id: str) -> None:
        """A fallback instant has come: announce it and let the round use the tier beside."""
        pending = self.books.queue.unpark(task_id)
        if pending is None or task_id in self.books.fallback_emitted:
            return
        self.books.fallback_emitted.add(task_id)
        waited = {"wait_ms": turn.now_ms - pending.queued_ms}
        tiers = (pending.original_tier, pending.fallback_tier)
        models = (pending.original_model, pending.fallback_model)
        turn.emit(fallback_event(turn, task_id, tiers, models, waited))

    def _never_answered(self, turn: Turn, kind: TimerKind, task_id: str) -> None:
        if kind is TimerKind.CANCEL:
            self._never_stopped(turn, task_id)
        else:
            self._never_started(turn, task_id)

    def _never_started(self, turn: Turn, task_id: str) -> None:
        task = self.books.tasks.get(task_id)
        if task is not None and task.state is TaskState.ASSIGNED:
            take_back(turn, task, "the worker did not start it in time", stop=True)

    def _never_stopped(self, turn: Turn, task_id: str) -> None:
        task = self.books.tasks.get(task_id)
        if task is None or task.state not in LEASED_STATES or task_id not in self.books.cancelling:
            return
        release(turn, task)
        failure = Failure(kind=FailureClass.CANCELLED, message="the worker did not confirm", at_ms=turn.now_ms)
        attempt = self.books.attempts.get(task_id)
        if attempt is not None:
            attempt = msgspec.structs.replace(attempt, finished_ms=turn.now_ms, ok=False, failure=failure)
        failed(turn, task, failure, attempt)


_LOOKS = {TimerKind.SESSION: session_due, TimerKind.QUIET: quiet_due, TimerKind.ANSWER: answer_due}
"""Timers that have something looked at, by the name that is their key."""


def _serve(turn: Turn, most: int | None) -> bool:
    """Give out what is free, and change what is loaded, until neither changes anything; whether it came to its end."""
    if not run_round(turn, most):
        return False
    for _ in range(STEPS_MAX):
        if not residency.step(turn):
            break
        if not run_round(turn, most):
            return False
    return True


def _settled(signal: sig.TasksAccepted | sig.Restored) -> Settled:
    return Settled(signal.settled, signal.lengths)
