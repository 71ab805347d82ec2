"""Drives the pure model of a host in real time: one timer, one waiter per call.

Everything runs in one event loop; the model is only touched between awaits. A call holds its slot as long as its
context is open, so that no more streams run at once than the host has slots, however late this process is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

from ostler.simulate.clock import ScaledClock
from ostler.simulate.faults import FaultBoard
from ostler.simulate.host_events import Call, CallRefused, CallStarted, Decision, HostView
from ostler.simulate.host_model import HostModel
from ostler.simulate.spec import SimulatedHostSpec
from ostler.simulate.timing import Timing

WAKE_AFTER_S_MAX = 3600.0
"""A keep-alive may end centuries from now; no event loop need hold such a timer."""


class RefusedError(Exception):
    """The host will not serve a call."""

    def __init__(self, decision: CallRefused) -> None:
        super().__init__(decision.message)
        self.cause = decision.cause
        self.message = decision.message


class HostEngine:
    """The running machine behind a simulated host's HTTP faces."""

    def __init__(self, spec: SimulatedHostSpec, clock: ScaledClock, faults: FaultBoard) -> None:
        self._clock = clock
        self._model = HostModel(spec, faults, now_ms=clock.now_ms())
        self._waiters: dict[int, asyncio.Future[Timing]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._last_call_id = 0

    @asynccontextmanager
    async def slot(self, call: Call) -> AsyncIterator[Timing]:
        """Wait for the model and a slot, then hold it. Raises `RefusedError`.

        `call.call_id` is set here. Leaving with an exception, a cancellation too, counts as a client that hung up.
        """
        self._last_call_id += 1
        call_id = self._last_call_id
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[call_id] = waiter
        try:
            self._apply(self._model.submit(msgspec.structs.replace(call, call_id=call_id), self._clock.now_ms()))
            yield await waiter
        except BaseException:
            self._apply(self._model.cancel(call_id, self._clock.now_ms()))
            raise
        else:
            self._apply(self._model.finish(call_id, self._clock.now_ms()))
        finally:
            del self._waiters[call_id]
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # seen, even if the client left in the same moment

    def expire(self, model: str) -> None:
        """Ask a model to leave memory as soon as it is idle."""
        self._apply(self._model.expire(model, self._clock.now_ms()))

    def view(self) -> HostView:
        """The state now."""
        self._apply(self._model.advance(self._clock.now_ms()))
        return self._model.view()

    def close(self) -> None:
        """Stop the timer. Calls under way belong to their connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _apply(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, CallStarted | CallRefused):
                waiter = self._waiters.get(decision.call_id)
                if waiter is None or waiter.done():
                    continue
                if isinstance(decision, CallStarted):
                    waiter.set_result(decision.timing)
                else:
                    waiter.set_exception(RefusedError(decision))
        self._arm()

    def _arm(self) -> None:
        self.close()
        due_ms = self._model.next_timer_ms()
        if due_ms is not None:
            delay_s = min(max(0.0, self._clock.real_s(due_ms - self._clock.now_ms())), WAKE_AFTER_S_MAX)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._apply(self._model.advance(self._clock.now_ms()))
