"""Where live calls of the gateway meet the scheduler: admitted or denied, ended, withdrawn.

`admit` asks the actor in the same breath: a call that can run, or never can, has its answer without a switch of tasks.
One that has to wait does so for as long as its caller does: when `admit` is cancelled, the call is withdrawn, also when
its answer was on its way already, so that no slot is held for somebody who has left.

Nothing is stored of a call that costs nothing. A paid one is let go when the money it holds is durable: when a limit
was reached meanwhile it is denied, and nothing is held; when its endpoint asked to be left alone meanwhile, it gives
all back and is decided anew.

A call that waited in line at a hub which another one may have replaced meanwhile is denied when its turn comes: the
slot that it would get may be another's by now.
"""

import asyncio

import msgspec

from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import Refused, Reserve
from ostler.domain.live import Denial, DeniedError, Dispatch, LiveCall, LiveEnded, Standing
from ostler.domain.states import Wait, WaitCode
from ostler.hub.pump import Pump
from ostler.routing.filters import outage
from ostler.scheduling.effects import DenyCall, RunCall
from ostler.scheduling.live import PART_RETRY_MS
from ostler.scheduling.purse import RETRY_MS
from ostler.scheduling.signals import CallEnded, CallOffered, CallWithdrawn

Answer = RunCall | DenyCall
STOPPING_RETRY_MS = 1_000
RETRY_MIN_MS = 1_000


class LiveDesk:
    """Admits live calls. Of one call, at most one `admit` is under way at a time."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._offering = ""
        self._answer: Answer | None = None
        self._closed = False
        pump.answer_call = self._answered

    async def admit(self, call: LiveCall) -> Dispatch:
        """Wait until the call may run; its slot is taken from then on, until `ended` or `withdraw`. The attempt that is
        answered may be a later one than was asked for.

        Raises `DeniedError` when it will not run.
        """
        while True:
            dispatch = await self._let_go(call)
            view = self._pump.scheduler.books.endpoints.views.get(dispatch.endpoint)
            if view is None or outage(view, self._pump.clock.now_ms()) is None:
                return dispatch
            # It went down, or asked others to wait, while the money of this call was being held.
            self.withdraw(call.id)
            call = msgspec.structs.replace(call, attempt=call.attempt + 1)

    async def _let_go(self, call: LiveCall) -> Dispatch:
        if self._closed:
            raise _stopping(call.id, call.attempt)
        self._offering, self._answer = call.id, None
        self._pump.tell(CallOffered(call=call))
        answer, self._offering, self._answer = self._answer, "", None
        if answer is None:
            answer = await self._wait_for(call)
        if isinstance(answer, DenyCall):
            raise DeniedError(answer.denial)
        if answer.money is not None:
            await self._hold(call, answer.money)
        closed = self._pump.closed_because()
        if closed:
            self.withdraw(call.id)
            raise _stopping(call.id, call.attempt, closed)
        return answer.dispatch

    async def _hold(self, call: LiveCall, money: Reserve) -> None:
        """Wait until the money of a call is held durably. Raises `DeniedError` when a limit does not let it."""
        try:
            (result,) = await self._pump.apply([money])
        except BaseException:
            # Cancelled, or the store gave up: the release is stored after the reservation, if that is stored at all.
            self.withdraw(call.id)
            raise
        if isinstance(result, Refused):
            self.withdraw(call.id)
            ends = [bound.span.end_ms for bound in money.bounds if bound.limit == result.limit]
            resets_ms = min((end_ms for end_ms in ends if end_ms < LATEST_MS), default=None)
            wait = Wait(code=WaitCode.BUDGET, since_ms=call.offered_ms, detail=result.message, next_check_ms=resets_ms)
            # Money comes back with the window; what others hold may come back before, but nobody knows when.
            now_ms = self._pump.clock.now_ms()
            shared = any(bound.shared for bound in money.bounds if bound.limit == result.limit)
            retry_ms = RETRY_MS if resets_ms is None else max(RETRY_MIN_MS, resets_ms - now_ms)
            retry_ms = min(retry_ms, PART_RETRY_MS) if shared else retry_ms
            raise DeniedError(Denial(call_id=call.id, attempt=call.attempt, wait=wait, retry_after_ms=retry_ms))

    async def _wait_for(self, call: LiveCall) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[call.id] = future
        try:
            return await future
        except asyncio.CancelledError:
            self.withdraw(call.id)
            raise
        finally:
            if self._waiting.get(call.id) is future:
                del self._waiting[call.id]

    def _answered(self, answer: Answer) -> None:
        call_id = answer.dispatch.call_id if isinstance(answer, RunCall) else answer.denial.call_id
        if call_id == self._offering:
            self._answer = answer
            return
        future = self._waiting.get(call_id)
        if future is not None and not future.done():
            future.set_result(answer)

    def ended(self, end: LiveEnded) -> None:
        """An attempt ended; saying so twice, or too late, changes nothing."""
        self._pump.tell(CallEnded(end=end))

    def withdraw(self, call_id: str) -> None:
        """Nobody waits for the call any more: it leaves the queue, or frees its slot. An `admit` of it is cancelled."""
        self._pump.tell(CallWithdrawn(call_id=call_id))
        future = self._waiting.pop(call_id, None)
        if future is not None:
            future.cancel()

    def standing(self, call_id: str) -> Standing | None:
        """Where a waiting call stands; `None` when it does not wait."""
        return self._pump.scheduler.standing(call_id)

    def close(self) -> None:
        """Deny what waits and what will come: the hub stops."""
        self._closed = True
        for call_id, future in list(self._waiting.items()):
            self._pump.tell(CallWithdrawn(call_id=call_id))
            if not future.done():
                future.set_exception(_stopping(call_id, 1))


def _stopping(call_id: str, attempt: int, detail: str = "the hub is stopping") -> DeniedError:
    wait = Wait(code=WaitCode.CAPACITY, since_ms=0, detail=detail)
    return DeniedError(Denial(call_id=call_id, attempt=attempt, wait=wait, retry_after_ms=STOPPING_RETRY_MS))
