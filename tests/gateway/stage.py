"""A gateway over hand-made parts, and the answers that its upstream plays."""

import asyncio
from collections.abc import Mapping

import msgspec

from ostler.config.settings import GatewaySettings
from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, ModelSpec, TierSpec
from ostler.domain.decision import Decision, TargetType
from ostler.domain.fleet import EndpointView, Health
from ostler.domain.live import (
    CallRecord,
    Denial,
    DeniedError,
    Dispatch,
    GatewayKey,
    LiveCall,
    LiveEnded,
    Refusal,
    Standing,
)
from ostler.domain.policy import Policy
from ostler.domain.states import Wait, WaitCode
from ostler.domain.tasks import Classification, Complexity
from ostler.gateway.face import Face
from ostler.gateway.inbound import Door
from ostler.gateway.ports import Hub
from ostler.gateway.service import Gateway
from tests.gateway.support import Client, Clock, Upstream, ids

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
ANTHROPIC_ASK = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
WHOLE = msgspec.json.encode(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        "unknown_to_us": {"kept": True},
    }
)


def chunk(delta: Mapping[str, object], finish: str | None = None) -> bytes:
    event = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


OPENING = chunk({"role": "assistant", "content": ""})
WORDS = [chunk({"content": "one "}), chunk({"content": "two "}), chunk({"content": "three"})]
ENDING = chunk({}, "stop")
COUNTS = (
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}\n\n'
)
DONE = b"data: [DONE]\n\n"
STREAM = [OPENING, *WORDS, ENDING, COUNTS, DONE]


class Desk:
    """Hands out endpoints in order, leaving out what a call excludes; counts what is taken and freed."""

    def __init__(self, *endpoints: str) -> None:
        self.endpoints = endpoints or ("a",)
        self.taken: dict[tuple[str, int], str] = {}
        self.ends: list[LiveEnded] = []
        self.offers: list[LiveCall] = []
        self.held = asyncio.Event()
        self.held.set()
        self.withdrawn = 0
        self.denial: Denial | None = None

    async def admit(self, call: LiveCall) -> Dispatch:
        self.offers.append(call)
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        free = [name for name in self.endpoints if not {name, f"{name}/m"} & set(call.excluded)]
        if self.denial is not None or not free:
            wait = Wait(code=WaitCode.ENDPOINT_DOWN, since_ms=0, detail="nothing is left")
            raise DeniedError(self.denial or Denial(call_id=call.id, attempt=call.attempt, wait=wait))
        self.taken[call.id, call.attempt] = free[0]
        return Dispatch(
            call_id=call.id,
            attempt=call.attempt,
            endpoint=free[0],
            model="m",
            tier="standard",
            decision=decision(call.id),
        )

    def ended(self, end: LiveEnded) -> None:
        del self.taken[end.call_id, end.attempt]  # a KeyError here is a slot that is freed twice
        self.ends.append(end)

    def standing(self, call_id: str) -> Standing | None:
        return None


class Book:
    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.refusals: list[Refusal] = []

    def add(self, record: CallRecord, decision: Decision | None = None) -> None:
        self.records.append(record)

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)


class Keys:
    def __init__(self) -> None:
        self.known = {"ost-good": GatewayKey(name="good", key_hash="h", created_ms=0, task="t-1")}

    def find(self, raw_key: str) -> GatewayKey | None:
        return self.known.get(raw_key)

    def check(self, key: GatewayKey) -> None:
        pass


def decision(name: str) -> Decision:
    kind = Classification(
        complexity=Complexity.STANDARD,
        inferred_complexity=Complexity.UNKNOWN,
        task_type="unknown",
        source="none",
    )
    return Decision(
        task_id=name,
        decided_ms=0,
        classification=kind,
        classification_reason="",
        requested_tier="standard",
        minimum_tier="standard",
        effective_tier="standard",
        target_type=TargetType.LOCAL,
        estimated_cost_tier=CostClass.LOCAL,
    )


def spec(name: str, kind: EndpointKind = EndpointKind.OPENAI, *, local: bool = True) -> EndpointSpec:
    return EndpointSpec(name=name, kind=kind, url=f"http://{name}:1", provider="p", host=name, local=local)


class Stage:
    """A gateway over hand-made parts."""

    def __init__(self, upstream: Upstream, desk: Desk | None = None, *, local: bool = True, **settings: object) -> None:
        self.upstream = upstream
        self.desk = desk or Desk()
        self.book = Book()
        kinds = {"anthropic": EndpointKind.ANTHROPIC, "ollama": EndpointKind.OLLAMA}
        views = {
            name: EndpointView(
                spec=spec(name, kinds.get(name, EndpointKind.OPENAI), local=local),
                health=Health.UP,
                models=frozenset({"m"}),
            )
            for name in self.desk.endpoints
        }
        models = {"m": ModelSpec(name="m", input_usd_per_mtok=2.0, output_usd_per_mtok=10.0)}
        tiers = (TierSpec(name="direct", rank=0), TierSpec(name="standard", rank=1, models=("m",)))
        policy = Policy(catalog=Catalog(tiers=tiers, models=models))
        quick = {
            "deadline_ms": 5_000,
            "queue_ms": 2_000,
            "first_token_ms": 200,
            "stall_ms": 200,
            "whole_ms": 200,
        } | settings
        hub = Hub(
            desk=self.desk,
            keys=Keys(),
            book=self.book,
            upstream=upstream,
            clock=Clock(),
            policy=lambda: policy,
            views=lambda: views,
            new_id=ids(),
            settings=GatewaySettings(**quick),  # type: ignore[arg-type]
            key_needed=False,
        )
        self.gateway = Gateway(hub, Door())
        self.face = Face(self.gateway)

    async def call(self, body: object, path: str = "/v1/chat/completions", **headers: str) -> Client:
        client = self.client(body, path, **headers)
        await self.serve(client)
        return client

    def client(self, body: object, path: str = "/v1/chat/completions", **headers: str) -> Client:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return Client(raw, path, {name.replace("_", "-"): value for name, value in headers.items()})

    async def serve(self, client: Client) -> None:
        await asyncio.wait_for(self.face_of(client), 10)
        self.check()

    async def face_of(self, client: Client) -> None:
        """Have the gateway take a request; what is on a path of somebody else gets no answer."""
        taken = self.face.take(client.line)
        if taken is not None:
            await taken

    def check(self) -> None:
        """What holds after every call: all slots are free, and each attempt is in one record once."""
        assert not self.desk.taken, "a slot is still taken"
        assert sum(len(record.attempts) for record in self.book.records) == len(self.desk.ends)
        assert not self.gateway.open, "a call is still under way"

    @property
    def record(self) -> CallRecord:
        (record,) = self.book.records
        return record
