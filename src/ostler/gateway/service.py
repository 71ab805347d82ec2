"""The gateway: takes requests in, one method for each kind, and lets what is under way end when the hub stops."""

import asyncio
import contextlib

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import Capability, EndpointKind, EndpointSpec, normal_model
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.live import GatewayKey, LiveCall, Refusal
from ostler.domain.states import FailureClass
from ostler.gateway.calls import CallRun
from ostler.gateway.exchanges import Exchange, TalkExchange
from ostler.gateway.facts import Facts
from ostler.gateway.inbound import (
    KEY_PREFIX,
    Door,
    Head,
    read_body,
)
from ostler.gateway.line import Line
from ostler.gateway.manners import Manners
from ostler.gateway.outlet import Outlet, answer_whole
from ostler.gateway.ports import Hub
from ostler.gateway.question import Terms, check_key_allows, own_limits, terms_of
from ostler.gateway.records import DecisionNames, Story
from ostler.gateway.watch import Cause, Watch
from ostler.routing.facts import CHARACTERS_PER_TOKEN, CallWish, describe_call
from ostler.wire.codec import Format, Peek
from ostler.wire.formats import codec
from ostler.wire.listings import ollama_loaded
from ostler.wire.talk import Ask

LOAD_BYTES_MAX = 2_048
"""A request that only loads a model is short; longer ones are not looked through for it."""
CLASSIFIED_CHARS = 4_000


_NEEDS = {
    (False, False): frozenset[Capability](),
    (True, False): frozenset({Capability.TOOLS}),
    (False, True): frozenset({Capability.VISION}),
    (True, True): frozenset({Capability.TOOLS, Capability.VISION}),
}
"""By whether a request has tools and images."""


class NoKeyError(OstlerError):
    """A key is needed, or the one that came is not ours."""

    http_status = 401
    code = "invalid_api_key"


class BusyError(OstlerError):
    """No more calls are taken in now."""

    http_status = 503
    code = "queue_full"
    retry_after_ms = 1_000


class Gateway:
    """Serves live calls over a hub."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self.hub = hub
        self.door = door
        self.open: dict[Watch, None] = {}
        """Calls under way."""
        self._names = DecisionNames()
        self._manners = Manners()
        self._facts = Facts()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def talk(self, asked: Format, head: Head, line: Line) -> None:
        """A request for an answer of a model. Raises `OstlerError` for what is refused before it became a call."""
        hub = self.hub
        key = self.key_of(head)
        body = await read_body(line, head, hub.settings)
        story = self.story(head)
        story.key, story.format = key, asked.value
        peek = codec(asked).peek(body)
        load = load_of(asked, body)
        if load is not None and not self._ollama_serves(peek.model):
            await self._loaded(asked, load, line)
            return
        story.asked_model, story.stream = peek.model, peek.stream
        exchange = TalkExchange(asked, head, body, peek, call_id=story.id, now_ms=story.at_ms, manners=self._manners)
        if hub.settings.store_prompts:
            story.prompt = body.decode("utf-8", "replace")
        wish = wish_of(peek, exchange)
        await self.carry_out(story, exchange, wish, asked, line)

    async def _loaded(self, asked: Format, load: Ask, line: Line) -> None:
        """Programs of Ollama ask for a model without a prompt to have it loaded. Other servers have what they have."""
        describe_call(CallWish(model=load.model), self.hub.policy(), self.hub.views())  # an unknown one is told
        unloads = load.keep_alive in (0, "0", "0s")
        created_s = self.hub.clock.now_ms() // 1_000
        answer = ollama_loaded(load.model, created_s, chat=asked is Format.OLLAMA_CHAT, unloaded=unloads)
        await answer_whole(line, 200, {"content-type": "application/json"}, answer)

    def _ollama_serves(self, asked: str) -> bool:
        catalog, name = self.hub.policy().catalog, normal_model(asked)
        model = catalog.model_aliases.get(name, name)
        views = self.hub.views().values()
        return any(view.spec.kind is EndpointKind.OLLAMA and view.serves(model) for view in views)

    def story(self, head: Head) -> Story:
        """The record of a new call."""
        return Story(self.hub.new_id(), head, self.hub.clock, self._names)

    async def carry_out(self, story: Story, exchange: Exchange, wish: CallWish, asked: Format, line: Line) -> None:
        """Run one call to its end."""
        hub = self.hub
        terms = terms_of(story.head, story.key, hub.settings)
        story.trace = hub.trace_of(story.id, story.key, story.head.traceparent)
        call = self._call(story, wish, terms)
        watch = Watch(line, terms.deadline_s)
        self.open[watch] = None
        self._idle.clear()
        try:
            run = CallRun(hub, story, exchange, terms, asked=asked, watch=watch, outlet=Outlet(line, watch))
            await run.run(call)
        finally:
            self.open.pop(watch, None)
            watch.close()
            if not self.open:
                self._idle.set()

    def _call(self, story: Story, wish: CallWish, terms: Terms) -> LiveCall:
        key = story.key
        facts = self._facts.of(wish, key, self.hub.policy(), self.hub.views(), local_only=terms.local_only)
        now_ms = story.at_ms
        call = LiveCall(
            id=story.id,
            facts=facts,
            priority=terms.priority,
            offered_ms=now_ms,
            deadline_ms=now_ms + round(terms.queue_s * 1_000),
            key=key.name if key is not None else "",
            task=key.task if key is not None else "",
            limits=own_limits(key),
        )
        check_key_allows(key, call)
        return call

    def key_of(self, head: Head) -> GatewayKey | None:
        """Who calls. Raises `NoKeyError`, and what its limit says.

        On loopback no key is needed, and clients that cannot do without one send whatever they were given.
        """
        if self._stopping:
            raise BusyError("the hub is stopping", remedy="try again in a moment")
        key = self.who(head)
        most = self.hub.settings.max_waiting
        if len(self.open) >= most and len(self.open) >= most + self._slots():
            raise BusyError(
                f"{len(self.open)} calls are under way or in line, as many as may be",
                remedy="try again later, or raise gateway.max_waiting",
            )
        if key is not None:
            self.hub.keys.check(key)
        return key

    def who(self, head: Head) -> GatewayKey | None:
        """Who asks. Raises `NoKeyError`."""
        if head.key and (self.hub.key_needed or head.key.startswith(KEY_PREFIX)):
            sign_ins = self.hub.sign_ins
            sign_ins.check(head.address, head.key)
            key = self.hub.keys.find(head.key)
            if key is None:
                sign_ins.failed(head.address, head.key)
                raise NoKeyError("the key is not valid", where="key", remedy="'ostler keys create' makes one")
            sign_ins.passed(head.address, head.key)
            return key
        if self.hub.key_needed:
            remedy = "send `Authorization: Bearer ...` or `x-api-key`; 'ostler keys create' makes one"
            raise NoKeyError("a key is needed here", where="key", remedy=remedy)
        return None

    def refused(self, path: str, head: Head | None, error: OstlerError) -> None:
        """A request was refused before it became a call."""
        key = self.hub.keys.find(head.key) if head is not None and head.key else None
        self.hub.book.refused(Refusal(reason=error.code, path=path, key=key.name if key is not None else ""))

    async def fetch(self, spec: EndpointSpec, request: UpstreamRequest) -> bytes:
        """A whole answer that no slot is needed for. Raises `CallError`."""
        limit_s = self.hub.settings.first_token_ms / 1_000
        try:
            async with asyncio.timeout(limit_s):
                answer = await self.hub.upstream.send(spec, request)
                try:
                    parts = []
                    while chunk := await answer.read():
                        parts.append(chunk)
                    return b"".join(parts)
                finally:
                    answer.close()
        except TimeoutError:
            raise CallError(FailureClass.TIMEOUT, f"no answer from {spec.name} within {limit_s:g} s") from None

    def _slots(self) -> int:
        return sum(view.slots for view in self.hub.views().values())

    async def stop(self, grace_s: float) -> None:
        """Take nothing more in; let answers end within the grace, then end them. Safe to repeat."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        for watch in list(self.open):
            watch.stop(Cause.STOPPED)
        await self._idle.wait()


def wish_of(peek: Peek, exchange: TalkExchange) -> CallWish:
    """What a request needs. Its text is looked at only where the choice of a model is ours."""
    return CallWish(
        model=peek.model,
        prompt_tokens=-(-peek.prompt_chars // CHARACTERS_PER_TOKEN),
        max_output_tokens=peek.max_output_tokens,
        context_tokens=peek.context_tokens,
        capabilities=_NEEDS[peek.tools, peek.images],
        text=_last_words(exchange) if is_open_choice(peek.model) else "",
    )


def load_of(asked: Format, body: bytes) -> Ask | None:
    """An Ollama request without a prompt, which is about the model's being loaded; `None` for any other."""
    if asked not in (Format.OLLAMA_CHAT, Format.OLLAMA_GENERATE) or len(body) > LOAD_BYTES_MAX:
        return None
    try:
        ask = codec(asked).decode_ask(body)
    except InvalidInputError:
        return None  # the server it goes to may know better
    return None if ask.turns else ask


def is_open_choice(model: str) -> bool:
    """Whether a name leaves the choice of a tier to us."""
    return model.strip().lower() == "auto"


def _last_words(exchange: TalkExchange) -> str:
    ask = exchange.ask()
    said = next((turn.text for turn in reversed(ask.turns) if turn.role == "user" and turn.text), "")
    return said[-CLASSIFIED_CHARS:]
