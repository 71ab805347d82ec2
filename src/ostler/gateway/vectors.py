"""Embeddings: the same way through the gateway as answers, with formats of their own. Anthropic has none."""

from collections.abc import Mapping

import msgspec

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import Capability, EndpointKind, EndpointSpec
from ostler.domain.live import Dispatch
from ostler.domain.states import FailureClass
from ostler.gateway.exchanges import Heard
from ostler.gateway.inbound import Head, read_body
from ostler.gateway.line import Line
from ostler.gateway.relay import Relay
from ostler.gateway.service import Gateway
from ostler.routing.facts import CHARACTERS_PER_TOKEN, CallWish
from ostler.wire.codec import Format
from ostler.wire.embeddings import EmbedAsk, EmbedFormat, embed_codec
from ostler.wire.talk import Tokens

_PATHS: Mapping[EmbedFormat, str] = {EmbedFormat.OPENAI: "/embeddings", EmbedFormat.OLLAMA: "/api/embed"}
FACES: Mapping[str, tuple[EmbedFormat, Format]] = {
    "/v1/embeddings": (EmbedFormat.OPENAI, Format.OPENAI_CHAT),
    "/api/embed": (EmbedFormat.OLLAMA, Format.OLLAMA_CHAT),
    "/api/embeddings": (EmbedFormat.OLLAMA_LEGACY, Format.OLLAMA_CHAT),
}
"""Path -> format of the request, and the one whose errors its clients read."""


class EmbedExchange:
    """A request for embeddings. Satisfies `Exchange`; nothing of it streams."""

    streams = False
    stream_type = ""
    trimmed_turns = 0

    def __init__(self, asked: EmbedFormat, body: bytes) -> None:
        self._asked = asked
        self._body = body
        self._mine = embed_codec(asked)
        self._model = self._mine.peek(body).model
        self._ask: EmbedAsk | None = None
        self._spoken = asked
        self.dropped: tuple[str, ...] = ()

    def ask(self) -> EmbedAsk:
        """The request in the form that both formats share. Raises `InvalidInputError`."""
        if self._ask is None:
            self._ask = self._mine.decode_ask(self._body)
        return self._ask

    def request(self, dispatch: Dispatch, spec: EndpointSpec) -> UpstreamRequest:
        """See `Exchange.request`."""
        if spec.kind is EndpointKind.ANTHROPIC:
            raise CallError(FailureClass.CAPABILITY, f"{spec.name} makes no embeddings")
        self._spoken = EmbedFormat.OLLAMA if spec.kind is EndpointKind.OLLAMA else EmbedFormat.OPENAI
        self.dropped = ()
        if self._spoken is self._asked and dispatch.context_tokens is None:
            body = self._body if dispatch.model == self._model else self._mine.renamed(self._body, dispatch.model)
            return UpstreamRequest(path=_PATHS[self._spoken], body=body)
        ask = self.ask()
        asked = msgspec.structs.replace(
            ask, model=dispatch.model, context_tokens=dispatch.context_tokens or ask.context_tokens
        )
        encoded = embed_codec(self._spoken).encode_ask(asked)
        self.dropped = encoded.dropped
        return UpstreamRequest(path=_PATHS[self._spoken], body=encoded.body)

    def learn(self, spec: EndpointSpec, refusal: CallError) -> bool:  # noqa: ARG002 -- the port's signature
        """See `Exchange.learn`: there is one form only."""
        return False

    def trim(self, prompt_tokens: int) -> int | None:  # noqa: ARG002 -- the port's signature
        """See `Exchange.trim`: a text without its beginning would be another text."""
        return None

    def relay(self, dispatch: Dispatch) -> Relay:
        """See `Exchange.relay`: never asked for."""
        raise NotImplementedError(f"{dispatch.call_id}: embeddings do not stream")

    def whole(self, body: bytes, dispatch: Dispatch) -> Heard:
        """See `Exchange.whole`."""
        answer = embed_codec(self._spoken).decode_answer(body)
        same = self._spoken is self._asked
        if not same:
            answer = msgspec.structs.replace(answer, model=dispatch.model)
        out = body if same else self._mine.encode_answer(answer, self.ask())
        return Heard(body=out, tokens=Tokens(input_tokens=answer.input_tokens, output_tokens=0))


class Vectors:
    """Answers requests for embeddings."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, head: Head, line: Line) -> None:
        """One request. Raises `OstlerError` for what is refused before it became a call."""
        gateway = self._gateway
        asked, face = FACES[head.path]
        key = gateway.key_of(head)
        body = await read_body(line, head, gateway.hub.settings)
        story = gateway.story(head)
        peek = embed_codec(asked).peek(body)
        story.key, story.format, story.asked_model = key, asked.value, peek.model
        tokens = -(-peek.prompt_chars // CHARACTERS_PER_TOKEN)
        wish = CallWish(
            model=peek.model,
            prompt_tokens=tokens,
            max_output_tokens=0,
            capabilities=frozenset({Capability.EMBEDDING}),
        )
        await gateway.carry_out(story, EmbedExchange(asked, body), wish, face, line)
