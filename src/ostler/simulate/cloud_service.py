"""What both faces of a simulated provider share: limits, latency, the prompt cache, and delivery."""

import math
from collections.abc import Iterable

import msgspec

from ostler.simulate.clock import ScaledClock
from ostler.simulate.cloud_model import CloudModel, Gauge, timing_of
from ostler.simulate.exchange import Exchange, Sender
from ostler.simulate.faults import FaultBoard
from ostler.simulate.generation import Delivery, StreamCut, deliver_stream, deliver_whole
from ostler.simulate.reply import Message, Reply, ReplyRequest, compose
from ostler.simulate.spec import SimulatedCloudModelSpec, SimulatedCloudSpec


class CloudCall(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted call: what it costs in tokens and how it is to be answered."""

    model: SimulatedCloudModelSpec
    prompt_tokens: int
    cached_tokens: int
    stream: bool
    delivery: Delivery


class SimulatedCloud:
    """One running provider."""

    def __init__(self, spec: SimulatedCloudSpec, time_factor: float) -> None:
        self.spec = spec
        self.clock = ScaledClock(time_factor)
        self.faults = FaultBoard(spec.faults, now_ms=self.clock.now_ms())
        self.model = CloudModel(spec, now_ms=self.clock.now_ms())
        self._models: dict[tuple[str, str], SimulatedCloudModelSpec] = {
            (model.api, model.name): model for model in spec.models
        }
        self._last_request_id = 0

    def find(self, api: str, name: str) -> SimulatedCloudModelSpec | None:
        """The model of that face by name."""
        return self._models.get((api, name))

    def listed(self, api: str) -> list[SimulatedCloudModelSpec]:
        """The models of that face."""
        return [model for model in self.spec.models if model.api == api]

    def lets_in(self, key: str | None) -> bool:
        """Whether a key is accepted."""
        return bool(key) and (not self.spec.keys or key in self.spec.keys)

    def request_id(self) -> str:
        """A number for the next request, which makes ids unique and repeatable."""
        self._last_request_id += 1
        return f"{self._last_request_id:08d}"

    def cached_tokens(self, model: SimulatedCloudModelSpec, prefixes: Iterable[tuple[str, int]]) -> int:
        """Tokens of the longest prefix that this model has read lately; remembers all of them."""
        named = ((f"{model.api}/{model.name}/{text}", tokens) for text, tokens in prefixes)
        return self.model.cache.longest(named, self.clock.now_ms())

    def gauges(self, model: SimulatedCloudModelSpec) -> tuple[Gauge, Gauge]:
        """What is left of the requests and of the tokens of a model."""
        return self.model.gauges(model, self.clock.now_ms())

    def retry_after_s(self, modelled_ms: float) -> str:
        """A wait in real seconds, rounded up, for a header."""
        return str(math.ceil(self.clock.real_s(modelled_ms)))

    def compose(
        self,
        model: SimulatedCloudModelSpec,
        messages: tuple[Message, ...],
        max_tokens: int | None,
        *,
        seed: int = 0,
        tools_offered: bool = False,
        stop: tuple[str, ...] = (),
        wants_json: bool = False,
    ) -> Reply:
        """The answer, no longer than the model can give."""
        limit = model.max_output_tokens if max_tokens is None else min(max_tokens, model.max_output_tokens)
        return compose(
            ReplyRequest(
                model=model.name,
                messages=messages,
                seed=seed,
                natural_tokens=model.output_tokens,
                max_tokens=limit,
                tools_offered=tools_offered,
                stop=stop,
                wants_json=wants_json,
            )
        )

    def answer(self, call: CloudCall) -> Exchange:
        """Send the answer of a call that was admitted."""
        delivery = call.delivery
        timing = timing_of(
            call.model,
            call.prompt_tokens - call.cached_tokens,
            delivery.reply.tokens,
            delivery.faults.delay_ms,
            self.clock.now_ms(),
        )
        deliver = deliver_stream if call.stream else deliver_whole

        async def work(sender: Sender) -> None:
            try:
                await deliver(sender, delivery, timing, self.clock)
            except StreamCut:
                self.model.cancel()
            except BaseException:
                self.model.cancel()
                raise
            else:
                self.model.finish(call.model, call.prompt_tokens, call.cached_tokens, delivery.reply.tokens)

        return Exchange(work)
