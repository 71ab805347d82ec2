"""What both faces of a simulated host share: from a request in no dialect to an answer on its way.

The order is Ollama's: faults that refuse a call come first, then the prompt is fitted into the context without a word,
then the call waits for its model and slot, and only with the first token the response starts.
"""

import math
from collections.abc import Awaitable, Callable

import msgspec

from ostler.domain.catalog import normal_model
from ostler.simulate.clock import ScaledClock
from ostler.simulate.engine import HostEngine, RefusedError
from ostler.simulate.exchange import Exchange, Sender, json_exchange
from ostler.simulate.faults import CallFaults, FaultBoard, FaultKind
from ostler.simulate.generation import Delivery, Encoder, StreamCut, deliver_stream, deliver_whole
from ostler.simulate.host_events import Call, RefusalCause
from ostler.simulate.reply import Message, ReplyRequest, compose, fit_messages
from ostler.simulate.spec import SimulatedHostSpec, SimulatedModelSpec
from ostler.simulate.timing import Timing

ErrorBody = Callable[[int, str], object]
"""Status and message in a dialect's error shape."""

FAULT_STATUS = {FaultKind.RATE_LIMITED: 429, FaultKind.OVERLOADED: 503, FaultKind.SERVER_ERROR: 500}
FAULT_MESSAGE = {
    FaultKind.RATE_LIMITED: "simulated rate limit, please try again later",
    FaultKind.OVERLOADED: "simulated overload, please try again later",
    FaultKind.SERVER_ERROR: "an error was encountered while running the model: simulated failure",
}


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A request for an answer, in no dialect."""

    model: SimulatedModelSpec
    messages: tuple[Message, ...]
    stream: bool
    tools_offered: bool = False
    tools_tokens: int = 0
    max_tokens: int | None = None
    seed: int = 0
    stop: tuple[str, ...] = ()
    wants_json: bool = False
    thinks: bool = True
    num_ctx: int | None = None
    keep_alive_ms: int | None = None


class SimulatedHost:
    """One running machine."""

    def __init__(self, spec: SimulatedHostSpec, time_factor: float) -> None:
        self.spec = spec
        self.clock = ScaledClock(time_factor)
        self.faults = FaultBoard(spec.faults, now_ms=self.clock.now_ms())
        self.engine = HostEngine(spec, self.clock, self.faults)
        self._models = {model.key: model for model in spec.models}

    def find(self, name: str) -> SimulatedModelSpec | None:
        """The model by any spelling of its name."""
        return self._models.get(normal_model(name))

    def generate(self, request: Generation, encoder: Callable[[int], Encoder], error: ErrorBody) -> Exchange:
        """Answer a request. `encoder` is given the number of prompt tokens."""
        faults = self.faults.strike_call(request.model.key)
        if faults.refusal is not None:
            return self._refusal(faults, error)
        num_ctx = self._num_ctx(request.model, request.num_ctx)
        seen, tokens = fit_messages(request.messages, num_ctx)
        prompt_tokens = min(num_ctx, tokens + request.tools_tokens)
        reply = compose(
            ReplyRequest(
                model=request.model.key,
                messages=seen,
                seed=request.seed,
                natural_tokens=request.model.output_tokens,
                max_tokens=request.max_tokens,
                thinking_tokens=request.model.thinking_tokens if request.thinks else 0,
                tools_offered=request.tools_offered,
                stop=request.stop,
                wants_json=request.wants_json,
            )
        )
        call = self._call(request.model, num_ctx, request.keep_alive_ms, prompt_tokens)
        call = msgspec.structs.replace(call, output_tokens=reply.tokens, delay_ms=faults.delay_ms)
        delivery = Delivery(reply=reply, encoder=encoder(prompt_tokens), faults=faults)
        deliver = deliver_stream if request.stream else deliver_whole
        return self.held(call, lambda sender, timing: deliver(sender, delivery, timing, self.clock), error)

    def load(
        self,
        model: SimulatedModelSpec,
        num_ctx: int | None,
        keep_alive_ms: int | None,
        content: object,
        error: ErrorBody,
    ) -> Exchange:
        """Have a model in memory, then answer `content`."""
        call = self._call(model, self._num_ctx(model, num_ctx), keep_alive_ms, 0)
        call = msgspec.structs.replace(call, load_only=True)
        return self.held(call, lambda sender, _timing: sender.json(200, content), error)

    def embed(
        self,
        model: SimulatedModelSpec,
        prompt_tokens: int,
        keep_alive_ms: int | None,
        content: Callable[[Timing], object],
        error: ErrorBody,
    ) -> Exchange:
        """Answer `content` after reading a prompt of `prompt_tokens`."""
        faults = self.faults.strike_call(model.key)
        if faults.refusal is not None:
            return self._refusal(faults, error)

        async def answer(sender: Sender, timing: Timing) -> None:
            await self.clock.sleep_until(timing.ends_ms)
            await sender.json(200, content(timing))

        call = self._call(model, self._num_ctx(model, None), keep_alive_ms, prompt_tokens)
        return self.held(msgspec.structs.replace(call, delay_ms=faults.delay_ms), answer, error)

    def held(self, call: Call, answer: Callable[[Sender, Timing], Awaitable[None]], error: ErrorBody) -> Exchange:
        """Answer while holding the model; a refusal becomes an error in the dialect."""

        async def work(sender: Sender) -> None:
            try:
                async with self.engine.slot(call) as timing:
                    await answer(sender, timing)
            except RefusedError as refused:
                status = 503 if refused.cause is RefusalCause.QUEUE_FULL else 500
                await sender.json(status, error(status, refused.message))
            except StreamCut:
                return

        return Exchange(work)

    def _refusal(self, faults: CallFaults, error: ErrorBody) -> Exchange:
        fault = faults.refusal
        if fault is None:
            raise ValueError("no fault refuses this call")
        status = FAULT_STATUS[fault.kind]
        headers = {}
        if fault.kind is FaultKind.RATE_LIMITED and fault.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(self.clock.real_s(fault.retry_after_s * 1000)))
        return json_exchange(status, error(status, FAULT_MESSAGE[fault.kind]), headers)

    def _num_ctx(self, model: SimulatedModelSpec, requested: int | None) -> int:
        return model.effective_num_ctx(requested, self.spec.default_num_ctx)

    def _call(self, model: SimulatedModelSpec, num_ctx: int, keep_alive_ms: int | None, prompt_tokens: int) -> Call:
        return Call(
            call_id=0, model=model.key, num_ctx=num_ctx, prompt_tokens=prompt_tokens, keep_alive_ms=keep_alive_ms
        )
