"""One call from its question to its record.

    offer -> dispatched -> attempt -> answered                     -> recorded
      ^          |            |
      |          |            +-- failed before a byte left -- table of moves -- offered anew, without what failed
      |          |            +-- failed after             -- the stream ends with the error
      |          +-- denied -- told, or (after a failure) once more at the same place
      +-- the client goes, the deadline passes, the hub stops: whatever is under way ends there

Invariants: `Desk.ended` follows each dispatch exactly once, whatever happens, and comes after the endpoint's connection
is closed or whole; every attempt is in the record exactly once; nothing is offered again once the outlet has started.
"""

import asyncio
from typing import NamedTuple

import msgspec

from ostler.context.trim import CHARS_PER_TOKEN
from ostler.domain.allowances import Reported
from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointSpec
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.live import CallAttempt, Denial, DeniedError, Dispatch, LiveCall, LiveEnded
from ostler.domain.policy import ContextRule
from ostler.domain.ports import UpstreamAnswer
from ostler.domain.states import Failure, FailureClass
from ostler.domain.trace import traceparent, try_span
from ostler.gateway.exchanges import Exchange
from ostler.gateway.faults import CLIENT_GONE, headers_of, of_call, of_denial, of_ours
from ostler.gateway.money import UNKNOWN, Cost, cost_of
from ostler.gateway.moves import Move, excluded_by, next_move
from ostler.gateway.outlet import Outlet
from ostler.gateway.ports import Hub
from ostler.gateway.question import Terms
from ostler.gateway.records import Spent, Story, attempt_of, spent, usage_of
from ostler.gateway.relay import Relay
from ostler.gateway.room import room_for
from ostler.gateway.silence import explained
from ostler.gateway.watch import Cause, Watch
from ostler.wire.allowances import reported
from ostler.wire.codec import Fault, Format
from ostler.wire.formats import codec
from ostler.wire.talk import Finish, Tokens

HELD_BYTES_MAX = 1024 * 1024
"""What waits for the first piece of content is bounded by this; a whole answer by `ANSWER_BYTES_MAX`."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024
AGAIN_S = 0.2
"""Before the same place is tried once more."""
DRAIN_S = 0.05
"""How long to look for the end of a body after its end marker, so that the connection can be used again."""
_CHARGED = frozenset({FailureClass.CANCELLED, FailureClass.TIMEOUT, FailureClass.STALLED, FailureClass.CUT})
"""Failures of attempts that the endpoint had worked on."""


class _Passed(NamedTuple):
    """What passed in an attempt."""

    tokens: Tokens = Tokens()
    output_estimate: int = 0
    wants_tool: bool = False
    any: bool = False
    cost: Cost | None = None
    """Where it had to be told with the answer already."""


class CallRun:
    """Carries one call out."""

    def __init__(
        self,
        hub: Hub,
        story: Story,
        exchange: Exchange,
        terms: Terms,
        *,
        asked: Format,
        watch: Watch,
        outlet: Outlet,
    ) -> None:
        self._hub = hub
        self._story = story
        self._exchange = exchange
        self._terms = terms
        self._asked = asked
        self._watch = watch
        self._outlet = outlet
        self._relay: Relay | None = None
        self._passed = _Passed()
        self._allowances: tuple[Reported, ...] = ()
        """What the answer of the attempt said of the windows of a subscription."""
        self._silent = False
        """The stream of the attempt has ended without a word."""
        self._asked_why = False
        self._prompt_tokens = 0
        """Estimated length of the prompt, for when nobody counts it."""

    async def run(self, call: LiveCall) -> None:
        """Answer the client, one way or the other, and record it."""
        self._prompt_tokens = call.facts.prompt_tokens
        try:
            fault = await self._serve(call)
        except asyncio.CancelledError:
            cause = self._watch.caught()
            if cause is None:
                self._close(CLIENT_GONE, FailureClass.CANCELLED, "the server ended the call")
                raise
            fault = self._stopped(cause)
        except OstlerError as error:
            fault = of_ours(error)
        if fault is None:
            self._close(self._outlet.status or 200, None, "")
        elif fault.status == CLIENT_GONE:
            self._close(CLIENT_GONE, FailureClass.CANCELLED, fault.message)
        else:
            await self._tell(fault)
            self._close(self._outlet.status, fault.kind, fault.message)

    async def _serve(self, call: LiveCall) -> Fault | None:
        """Attempts until one answers; the fault when none does."""
        first: CallError | None = None
        move = Move.TELL
        again = False
        while True:
            try:
                dispatch = await self._admitted(call)
            except DeniedError as denied:
                if first is None:
                    shorter = self._shorter(call, denied.denial)
                    if shorter is None:
                        return of_denial(denied.denial)
                    call = shorter
                    continue
                other = None if again else self._once_more(call, move, first, denied.denial)
                if other is None:
                    return of_call(first, self._story.attempts)
                again = True
                if move is Move.ELSEWHERE_OR_AGAIN:
                    await asyncio.sleep(AGAIN_S)
                call = other
                continue
            if dispatch.attempt != call.attempt:
                call = msgspec.structs.replace(call, attempt=dispatch.attempt)
            error = await self._attempt(dispatch)
            if error is None:
                return None
            stand_in = first is not None
            first = first or error
            if self._outlet.started:
                return of_call(error, self._story.attempts[-1:])
            move = next_move(error.kind, stand_in=stand_in)
            if move is Move.TELL or len(self._story.attempts) >= self._hub.settings.attempts:
                return of_call(first if stand_in else error, self._story.attempts)
            lost = excluded_by(error.kind, dispatch.endpoint, dispatch.model)
            call = msgspec.structs.replace(call, attempt=call.attempt + 1, excluded=(*call.excluded, lost))

    def _shorter(self, call: LiveCall, denial: Denial) -> LiveCall | None:
        """The call with its oldest turns left out, where it was denied for want of room and the profile says so."""
        hub, facts = self._hub, call.facts
        if hub.policy().gateway.context_rule is not ContextRule.TRIM or self._exchange.trimmed_turns:
            return None
        room = room_for(facts, hub.policy(), hub.views())
        if room is None or room >= facts.context_tokens:
            return None
        answer_tokens = max(0, facts.context_tokens - facts.prompt_tokens)
        length = self._exchange.trim(hub.rates.as_estimated(facts.model or "", room - answer_tokens))
        if length is None:
            return None
        self._story.trimmed_turns = self._exchange.trimmed_turns
        self._prompt_tokens = length
        shorter = msgspec.structs.replace(facts, prompt_tokens=length, context_tokens=length + answer_tokens)
        return msgspec.structs.replace(call, facts=shorter, attempt=denial.attempt + 1)

    def _once_more(self, call: LiveCall, move: Move, first: CallError, denial: Denial) -> LiveCall | None:
        """The call for the same place, when nothing else is left; `None` when that is no use."""
        attempt = denial.attempt + 1
        if move is Move.ELSEWHERE_OR_AGAIN:
            return msgspec.structs.replace(call, attempt=attempt, excluded=call.excluded[:-1])
        if move is Move.ELSEWHERE_OR_WAIT:
            wait_ms = first.retry_after_ms or denial.retry_after_ms
            left_ms = self._watch.left_s() * 1_000
            if wait_ms is not None and wait_ms < min(left_ms, self._terms.queue_s * 1_000):
                return msgspec.structs.replace(call, attempt=attempt, excluded=())
        return None

    async def _admitted(self, call: LiveCall) -> Dispatch:
        clock = self._hub.clock
        asked_us = clock.stopwatch_us()
        dispatch = await self._hub.desk.admit(call)
        waited_us = clock.stopwatch_us() - asked_us if dispatch.wait_ms or call.attempt > 1 else 0
        self._story.dispatched(dispatch, waited_us)
        return dispatch

    async def _attempt(self, dispatch: Dispatch) -> CallError | None:
        """One attempt, from its slot to its record. `None` = the client has its answer."""
        hub = self._hub
        started_ms = hub.clock.now_ms()
        self._relay, self._passed, self._silent = None, _Passed(), False
        self._allowances = ()
        view = hub.views().get(dispatch.endpoint)
        spec = view.spec if view is not None else None
        error: CallError | None = CallError(FailureClass.CANCELLED, "the client hung up")
        try:
            error = await self._exchanged(dispatch, spec)
        except asyncio.CancelledError:
            cause = self._watch.cause
            if cause not in (Cause.FIRST_TOKEN, Cause.STALLED):
                raise
            self._watch.caught()
            error = self._too_late(cause)
        except CallError as failed:
            error = failed
            self._allowances = failed.allowances or self._allowances
        finally:
            self._watch.expect_nothing()
            self._ended(dispatch, spec, error, started_ms)
        return error

    async def _exchanged(self, dispatch: Dispatch, spec: EndpointSpec | None) -> CallError | None:
        if spec is None:
            return CallError(FailureClass.NO_ENDPOINT, f"endpoint {dispatch.endpoint} was removed")
        request = self._request(dispatch, spec)
        self._story.dropped = self._exchange.dropped
        self._story.sent()
        settings = self._hub.settings
        limit_ms = settings.first_token_ms if self._exchange.streams else settings.whole_ms
        self._watch.expect_first(limit_ms / 1_000)
        try:
            answer = await self._hub.upstream.send(spec, request)
        except CallError as refusal:
            if not self._exchange.learn(spec, refusal):
                raise
            request = self._request(dispatch, spec)
            answer = await self._hub.upstream.send(spec, request)
        try:
            if not spec.local:
                self._allowances = reported(answer.headers, self._hub.clock.now_ms())
            if self._exchange.streams:
                await self._stream(answer, dispatch)
            else:
                await self._whole(answer, dispatch)
        except CallError as cut:
            if not self._silent or self._asked_why:
                raise
            self._asked_why = True
            raise await explained(self._hub.upstream, spec, request, cut) from cut
        finally:
            answer.close()
        return None

    def _request(self, dispatch: Dispatch, spec: EndpointSpec) -> UpstreamRequest:
        """What is sent. Raises `CallError`, also where the caller's own request cannot be read for translation."""
        try:
            request = self._exchange.request(dispatch, spec)
        except InvalidInputError as error:
            raise CallError(FailureClass.CAPABILITY, str(error)) from error
        trace = self._story.trace
        if trace is None:
            return request
        parent = traceparent(trace, try_span(self._story.id, len(self._story.attempts) + 1))
        return msgspec.structs.replace(request, headers={**request.headers, "traceparent": parent})

    async def _stream(self, answer: UpstreamAnswer, dispatch: Dispatch) -> None:
        """Hand a stream on. Raises `CallError` unless it was whole."""
        relay = self._relay = self._exchange.relay(dispatch)
        outlet, watch = self._outlet, self._watch
        held = bytearray()
        heard = begun = False
        while not relay.done:
            chunk = await answer.read()
            watch.touch()
            if not chunk:
                self._silent = not heard
                break
            heard = True
            data = relay.feed(chunk)
            if outlet.started:
                if data:
                    self._keep(data)
                    await outlet.write(data)
                continue
            held += data
            if not relay.content and len(held) < HELD_BYTES_MAX:
                continue
            if not begun:
                begun = True
                self._story.first()
                watch.expect_more(self._hub.settings.stall_ms / 1_000)
            if self._terms.whole:
                _check_size(held)
                continue
            await self._start(dispatch)
            self._keep(held)
            await outlet.write(bytes(held))
            held.clear()
        rest = relay.finish()
        if not outlet.started:
            await self._start(dispatch)
        self._keep(held + rest)
        await outlet.finish(bytes(held) + rest)
        await _drain(answer)

    def _keep(self, data: bytes | bytearray) -> None:
        """Where the profile says so, what left for the client is kept with the record."""
        if self._hub.settings.store_prompts:
            self._story.keep_answer(data)

    async def _whole(self, answer: UpstreamAnswer, dispatch: Dispatch) -> None:
        """Read a whole answer and hand it on. Raises `CallError` unless it is one."""
        body = await self._read(answer)
        # A body that turns out to be no answer was worked on all the same: it is estimated by its length.
        self._passed = _Passed(output_estimate=len(body) // CHARS_PER_TOKEN, any=bool(body))
        self._story.first()
        heard = self._exchange.whole(body, dispatch)
        tokens = heard.tokens
        cost = self._cost(dispatch, tokens)
        self._passed = _Passed(
            tokens, heard.output_chars // 4, heard.wants_tool, any=True, cost=cost if tokens.are_counted else None
        )
        headers = self._story.headers(dispatch)
        headers["content-type"] = "application/json"
        if cost is not None:
            headers["x-ostler-cost-usd"] = self._story.cost_text(cost.micro_usd)
        self._keep(heard.body)
        await self._outlet.whole(200, headers, heard.body)

    async def _read(self, answer: UpstreamAnswer) -> bytes:
        body = await answer.read()
        more = await answer.read() if body else b""
        if not more:
            return body
        parts = bytearray(body)
        while more:
            parts += more
            _check_size(parts)
            more = await answer.read()
        return bytes(parts)

    async def _start(self, dispatch: Dispatch) -> None:
        headers = self._story.headers(dispatch)
        await self._outlet.start(
            200, headers | {"content-type": self._exchange.stream_type, "cache-control": "no-cache"}
        )

    def _cost(self, dispatch: Dispatch, tokens: Tokens) -> Cost | None:
        """What an attempt cost; `None` when its endpoint was removed meanwhile."""
        view = self._hub.views().get(dispatch.endpoint)
        if view is None:
            return None
        return self._reckoned(dispatch, tokens, view.spec)

    def _reckoned(self, dispatch: Dispatch, tokens: Tokens, spec: EndpointSpec) -> Cost:
        policy = self._hub.policy()
        return cost_of(tokens, policy.catalog.models.get(dispatch.model), spec, policy.budget.subscriptions)

    def _ended(self, dispatch: Dispatch, spec: EndpointSpec | None, error: CallError | None, started_ms: int) -> None:
        """Free the slot, and write the attempt down."""
        hub, passed = self._hub, self._passed
        if self._relay is not None:
            relay = self._relay
            tools = relay.finish_reason() == Finish.TOOLS
            passed = _Passed(relay.tokens(), relay.output_estimate(), tools, relay.content)
        worked = error is None or passed.any or error.kind in _CHARGED
        what = Spent()
        if worked:
            prompt_tokens = self._prompt_tokens
            what = spent(passed.tokens, prompt_tokens=prompt_tokens, output_tokens=passed.output_estimate)
            hub.rates.note(dispatch.model, prompt_tokens * CHARS_PER_TOKEN, passed.tokens.input_tokens or 0)
        now_ms = hub.clock.now_ms()
        cost = passed.cost
        if cost is None:
            cost = self._reckoned(dispatch, what.tokens, spec) if spec is not None else UNKNOWN
        attempt = attempt_of(dispatch, what, cost, started_ms=started_ms, now_ms=now_ms)
        self._story.attempts.append(_judged(attempt, error))
        failure = None
        if error is not None:
            failure = Failure(kind=error.kind, message=error.message, at_ms=now_ms, retry_after_ms=error.retry_after_ms)
        usage = usage_of(what, self._story.first_token_ms) if worked else None
        hub.desk.ended(
            LiveEnded(
                call_id=dispatch.call_id,
                attempt=dispatch.attempt,
                failure=failure,
                usage=usage,
                cache_write_tokens=what.tokens.cache_write_tokens or 0,
                wants_tool=passed.wants_tool and error is None,
                allowances=self._allowances,
                unworked=error is not None and error.unworked and not worked,
            )
        )

    def _too_late(self, cause: Cause | None) -> CallError:
        settings = self._hub.settings
        if cause is Cause.STALLED:
            return CallError(FailureClass.STALLED, f"the stream stalled: nothing for {settings.stall_ms / 1_000:g} s")
        if not self._exchange.streams:
            return CallError(FailureClass.TIMEOUT, f"no whole answer within {settings.whole_ms / 1_000:g} s")
        return CallError(FailureClass.TIMEOUT, f"no token within {settings.first_token_ms / 1_000:g} s")

    def _stopped(self, cause: Cause) -> Fault:
        """What a call that was ended from outside comes to."""
        if cause is Cause.GONE:
            return Fault(kind=FailureClass.CANCELLED, status=CLIENT_GONE, message="the client hung up")
        if cause is Cause.STOPPED:
            return Fault(
                kind=FailureClass.OVERLOADED,
                status=503,
                message="the hub is stopping",
                retry_after_ms=1_000,
                code="stopping",
            )
        late = f"the call was not done within its deadline of {self._terms.deadline_s:g} s"
        return Fault(kind=FailureClass.TIMEOUT, status=504, message=late, code="deadline")

    async def _tell(self, fault: Fault) -> None:
        """The client gets the fault: as the answer, or at the end of what it got already."""
        if self._outlet.started:
            if not self._outlet.finished and self._relay is not None:
                await self._outlet.finish(self._relay.fault(fault))
            return
        headers = {"content-type": "application/json", "x-ostler-call": self._story.id, **headers_of(fault)}
        headers["x-ostler-attempts"] = str(len(self._story.attempts))
        await self._outlet.whole(fault.status, headers, codec(self._asked).encode_fault(fault))

    def _close(self, status: int, failure: FailureClass | None, message: str) -> None:
        self._watch.close()
        self._hub.book.add(self._story.record(status, failure, message), self._story.decision)


def _judged(attempt: CallAttempt, error: CallError | None) -> CallAttempt:
    if error is None:
        return attempt
    return msgspec.structs.replace(attempt, failure=error.kind, message=error.message, status=error.status)


def _check_size(body: bytearray) -> None:
    if len(body) > ANSWER_BYTES_MAX:
        raise CallError(FailureClass.MALFORMED, f"the answer is larger than {ANSWER_BYTES_MAX} bytes")


async def _drain(answer: UpstreamAnswer) -> None:
    """Look for the end of the body behind the end marker."""
    try:
        async with asyncio.timeout(DRAIN_S):
            while await answer.read():
                pass
    except (TimeoutError, CallError):
        pass  # the answer was whole; only the connection is lost
