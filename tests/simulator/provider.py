"""The endpoints of a whole world: what live calls meet there, and a machine whose memory holds one model at a time.

    box    Ollama on a machine of 10 GB with `small` and `other`, 6 GB each; two calls at a time
    cloud  Anthropic, paid by the token; three calls at a time

They speak the formats of the real ones, so that the gateway reads and writes them as it does everywhere. How long an
answer takes stands in the prompt. `Floor` counts who uses what; what ought not to be is said there.
"""

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from typing import Any

import msgspec

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.domain.states import FailureClass
from ostler.workers.timing import Timing
from tests.simulator.floor import SLOTS, Floor
from tests.simulator.machines import INPUT_TOKENS, OUTPUT_TOKENS, SimulatedDrivers
from tests.simulator.owners import MARK
from tests.simulator.virtual_loop import VirtualTiming

LISTED = {"box": ("small", "other"), "cloud": ("large",)}
LOAD_S, UNLOAD_S = 3.0, 0.5
PIECES = 4
RETRY_AFTER_S = 2
HEARD_S = 0.001
"""So long an answer takes to who asked, at the most."""
ANSWER = "so it is"


class House:
    """What is in the memory of the machine, and which calls use it."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.resident: str | None = None
        self.calls: dict[object, tuple[str, str, object]] = {}
        """A call under way -> endpoint, model, and the process that makes it."""
        self.slow = 1.0
        """So many times as long as usual."""
        self.leads: Any = lambda _process: True
        """Whether a process may act."""
        self.term: Callable[[], int] = int
        """Which term of which leader it is."""

    def begin(self, call: object, endpoint: str, model: str, by: object) -> None:
        """A call arrives."""
        if not self.leads(by):
            self.floor.say(f"{by} began a call at {endpoint} and leads no longer")
        self.calls[call] = (endpoint, model, by)
        self.floor.busy[endpoint] += 1
        self.check_slots(endpoint)
        self.use(endpoint, model)

    def check_slots(self, endpoint: str) -> None:
        """Calls of a hub that is frozen or was replaced, and those of a machine that is frozen, are nobody's fault: no
        guard can end what does not run.
        """
        strange = sum(at == endpoint and not self.leads(by) for at, _, by in self.calls.values())
        strange += sum(at == endpoint and self.floor.is_frozen(task) for task, (at, _) in self.floor.at.items())
        if self.floor.busy[endpoint] - strange > SLOTS[endpoint]:
            self.floor.say(f"{endpoint} has {self.floor.busy[endpoint] - strange} calls and {SLOTS[endpoint]} slots")

    def use(self, endpoint: str, model: str) -> None:
        """An engine loads what it is asked for, whatever it throws out."""
        if endpoint == "box" and self.resident != model:
            self.out("a call", self.term())
            self.resident = model

    def load(self, model: str, ordered: int) -> None:
        """A model comes; what is there has to go."""
        if self.resident not in (None, model):
            self.out("a load", ordered)
        self.resident = model

    def unload(self, model: str, ordered: int) -> None:
        """A model goes, if it is there."""
        if self.resident == model:
            self.out("an unload", ordered)

    def out(self, who: str, ordered: int) -> None:
        """The model in memory has to go. What was ordered in an earlier term is nobody's fault: who leads now cannot
        call it back.
        """
        busy = [caller for at, model, caller in self.calls.values() if (at, model) == ("box", self.resident)]
        using = [name for name, at in self.floor.at.items() if at == ("box", self.resident)]
        tasks = [name for name in using if not self.floor.is_frozen(name)]
        if ordered == self.term() and (tasks or any(self.leads(caller) for caller in busy)):
            self.floor.say(f"{who} threw {self.resident} out of memory while it was in use")
        self.resident = None

    def end(self, call: object) -> None:
        """A call is over, however. Safe to repeat."""
        found = self.calls.pop(call, None)
        if found is not None:
            self.floor.busy[found[0]] -= 1


class SimulatedUpstream:
    """Where the gateway of one hub sends its calls."""

    def __init__(self, house: House, timing: Timing) -> None:
        self._house = house
        self._timing = timing
        self._blocked: dict[str, tuple[int, float]] = {}
        """Endpoint -> until when, by the clock of this hub, it was told to stay away, and the true time of that."""

    async def send(self, spec: EndpointSpec, request: UpstreamRequest) -> "Answer":
        """See the port."""
        house, by = self._house, MARK.get()
        asked = msgspec.json.decode(request.body)
        takes_s = float(asked["messages"][-1]["content"].split()[-1]) * house.slow
        answer = Answer(house, spec, asked, takes_s)
        self._not_early(spec.name)
        house.begin(answer, spec.name, asked["model"], by)
        try:
            await asyncio.sleep(0.005)
            self._refuse(spec.name)
        except BaseException:
            house.end(answer)
            raise
        return answer

    def _refuse(self, endpoint: str) -> None:
        """Raises `CallError` where an endpoint is down or has enough."""
        floor = self._house.floor
        if endpoint in floor.down:
            raise CallError(FailureClass.NETWORK, "nobody answers")
        if endpoint not in floor.storms:
            return
        if floor.rng.random() < 0.5:
            raise CallError(FailureClass.SERVER, "internal error")
        until_ms = self._timing.now_ms() + RETRY_AFTER_S * 1_000
        self._blocked[endpoint] = until_ms, asyncio.get_running_loop().time()
        raise CallError(FailureClass.RATE_LIMIT, "too many", retry_after_ms=RETRY_AFTER_S * 1_000)

    def _not_early(self, endpoint: str) -> None:
        """Nobody comes before it was told to, whichever clock it goes by: its own may have jumped. Who comes
        while the refusal is on its way has not heard of it.
        """
        until_ms, said_s = self._blocked.get(endpoint, (0, -math.inf))
        gone_s = asyncio.get_running_loop().time() - said_s
        if until_ms > self._timing.now_ms() and HEARD_S < gone_s < RETRY_AFTER_S:
            self._house.floor.say(f"{endpoint} was called {gone_s:.3f} s after it said to wait {RETRY_AFTER_S} s")

    async def close(self) -> None:
        """Nothing to close."""


class Answer:
    """One answer, in pieces over the time it takes."""

    status = 200

    def __init__(self, house: House, spec: EndpointSpec, asked: Any, takes_s: float) -> None:  # noqa: ANN401 - JSON
        self._house = house
        self._spec = spec
        self._takes_s = takes_s
        streams = bool(asked.get("stream"))
        self.headers = {"content-type": "text/event-stream" if streams else "application/json"}
        write = _ollama if spec.kind is EndpointKind.OLLAMA else _anthropic
        self._pieces = write(asked["model"], streams=streams)

    async def read(self) -> bytes:
        """See the port."""
        if not self._pieces:
            return b""
        await asyncio.sleep(self._takes_s / PIECES)
        floor = self._house.floor
        if self._spec.name in floor.down or (self._spec.name in floor.storms and floor.rng.random() < 0.2):
            if floor.rng.random() < 0.5:
                return b""  # it just stops, as if that had been all
            raise CallError(FailureClass.CUT, "the connection was closed", emitted=True)
        return self._pieces.pop(0)

    def close(self) -> None:
        """See the port."""
        self._house.end(self)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _ollama(model: str, *, streams: bool) -> list[bytes]:
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS}
    whole = {"role": "assistant", "content": ANSWER}
    if not streams:
        return [_json({"model": model, "message": whole, **end})]
    said = [{"model": model, "message": {"role": "assistant", "content": part}, "done": False} for part in _parts()]
    return [_json(one) + b"\n" for one in (*said, {"model": model, "message": {**whole, "content": ""}, **end})]


def _anthropic(model: str, *, streams: bool) -> list[bytes]:
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
    message = {"id": "m", "type": "message", "role": "assistant", "model": model, "usage": usage}
    if not streams:
        content = [{"type": "text", "text": ANSWER}]
        return [_json({**message, "content": content, "stop_reason": "end_turn"})]
    begun = {**message, "content": [], "usage": {**usage, "output_tokens": 1}}
    block: dict[str, Any] = {"type": "text", "text": ""}
    events: list[list[dict[str, Any]]] = [
        [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": block},
        ],
        *(
            [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}}]
            for part in _parts()
        ),
        [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": OUTPUT_TOKENS}},
            {"type": "message_stop"},
        ],
    ]
    return [
        b"".join(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), _json(one)) for one in some) for some in events
    ]


def _parts() -> list[str]:
    return [ANSWER[:4], ANSWER[4:]]


class HouseDrivers(SimulatedDrivers):
    """Endpoints that list what they have and hold, and load what they are asked to."""

    def __init__(self, house: House, timing: VirtualTiming) -> None:
        super().__init__(house.floor, timing)
        self.house = house
        self.timing = timing

    async def probe(self, spec: EndpointSpec) -> Probe:
        """See the port."""
        found = await super().probe(spec)
        if found.status is not ProbeStatus.AVAILABLE:
            return found
        held = self.house.resident
        residents = None if spec.name != "box" else (() if held is None else (Resident(model=held),))
        return msgspec.structs.replace(found, models=LISTED[spec.name], residents=residents)

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        """See the port."""
        term = self.house.term()
        await self._ordered(spec, LOAD_S, lambda: self.house.load(model, term))
        return Resident(model=model, context_tokens=context_tokens)

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        """See the port."""
        term = self.house.term()
        await self._ordered(spec, UNLOAD_S, lambda: self.house.unload(model, term))
        return True

    def _ordered(self, spec: EndpointSpec, takes_s: float, work: Callable[[], None]) -> asyncio.Future[None]:
        """The answer of the engine. It does what it was asked also when who asked is frozen or gone by then."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()

        def ended() -> None:
            is_down = spec.name in self.house.floor.down
            if not is_down:
                work()
            if answer.done():
                return
            if is_down:
                answer.set_exception(CallError(FailureClass.NETWORK, "nobody answers"))
            else:
                answer.set_result(None)

        loop.call_later(takes_s * self.house.slow, ended, context=Context())
        return answer
