"""What is sent to an endpoint for a request, and how its answer is handed on: one strategy for each kind of request.

An `Exchange` belongs to one call and serves all its attempts, each with another endpoint and so perhaps another format.
Translation happens only where formats differ; a request that goes on in its own format keeps every byte but the name of
the model and what the dispatch decides (the context of an engine that takes one with each call).
"""

from typing import Protocol

import msgspec

from ostler.context.trim import trimmed
from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.live import Dispatch
from ostler.domain.states import FailureClass
from ostler.gateway.dialects import format_for, path_of
from ostler.gateway.inbound import Head
from ostler.gateway.manners import Manners
from ostler.gateway.relay import RawRelay, Relay, TranslatingRelay, Trim, without_counts
from ostler.wire.codec import Codec, Format, Peek
from ostler.wire.formats import codec
from ostler.wire.talk import Ask, Finish, Tokens

_FLAG = b'"stream_options"'


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, ready for the client, and what it says of itself."""

    body: bytes
    tokens: Tokens
    wants_tool: bool = False
    output_chars: int = 0


class Exchange(Protocol):
    """One request on its way to any endpoint."""

    streams: bool
    stream_type: str
    dropped: tuple[str, ...]
    """What the format of the newest attempt cannot say."""
    trimmed_turns: int
    """How many turns were left out for want of room."""

    def request(self, dispatch: Dispatch, spec: EndpointSpec) -> UpstreamRequest:
        """What is sent for an attempt. Raises `CallError` when the endpoint can never take it."""
        ...

    def learn(self, spec: EndpointSpec, refusal: CallError) -> bool:
        """Whether a refusal was for the form of the request, and the next one will have another."""
        ...

    def trim(self, prompt_tokens: int) -> int | None:
        """Leave out the oldest turns until the prompt has so many tokens at most. The estimated length it has then;
        `None` when it cannot be made so short.
        """
        ...

    def relay(self, dispatch: Dispatch) -> Relay:
        """For the streamed answer of the attempt last asked for."""
        ...

    def whole(self, body: bytes, dispatch: Dispatch) -> Heard:
        """The whole answer of the attempt last asked for. Raises `CallError` for one that is none."""
        ...


class TalkExchange:
    """A request for an answer of a model, in any of the formats."""

    def __init__(
        self, asked: Format, head: Head, body: bytes, peek: Peek, *, call_id: str, now_ms: int, manners: Manners
    ) -> None:
        self._asked = asked
        self._mine: Codec = codec(asked)
        self._head = head
        self._body = body
        self._peek = peek
        self._call_id = call_id
        self._created_s = now_ms // 1_000
        self._ask: Ask | None = None
        self._spoken = asked
        self._theirs: Codec = self._mine
        self._trims = False
        self._manners = manners
        self.streams = peek.stream
        self.stream_type = self._mine.stream_type
        self.dropped: tuple[str, ...] = ()
        self.trimmed_turns = 0

    def ask(self) -> Ask:
        """The request in the form all formats share; decoded when it is first needed. Raises `InvalidInputError`."""
        if self._ask is None:
            self._ask = self._mine.decode_ask(self._body)
        return self._ask

    def request(self, dispatch: Dispatch, spec: EndpointSpec) -> UpstreamRequest:
        """See `Exchange.request`."""
        self._spoken = spoken = format_for(self._asked, spec)
        self._theirs = self._manners.codec(spoken, spec)
        self._trims = False
        self.dropped = ()
        if spoken is self._asked:
            return UpstreamRequest(
                path=path_of(spoken, self._head.query), body=self._own(dispatch, spec), headers=self._head.passed
            )
        ask = self.ask()
        if self._peek.choices > 1:
            raise CallError(
                FailureClass.CAPABILITY, f"{self._peek.choices} answers at once: {spec.kind.value} endpoints give one"
            )
        asked = msgspec.structs.replace(
            ask,
            model=dispatch.model,
            context_tokens=dispatch.context_tokens or ask.context_tokens,
            keep_alive=dispatch.keep_alive_s if dispatch.keep_alive_s is not None else ask.keep_alive,
            stream_counts=self._manners.counts(spec),
        )
        encoded = self._theirs.encode_ask(asked)
        self.dropped = encoded.dropped
        return UpstreamRequest(path=path_of(spoken), body=encoded.body)

    def _own(self, dispatch: Dispatch, spec: EndpointSpec) -> bytes:
        """The request as it came, for the model and with the context of the dispatch."""
        body = self._body
        if self._peek.model != dispatch.model:
            body = self._mine.renamed(body, dispatch.model)
        if spec.kind is EndpointKind.OLLAMA and (dispatch.context_tokens or dispatch.keep_alive_s is not None):
            return _with_context(body, dispatch)
        wants = self._asked is Format.OPENAI_CHAT and self.streams and self._manners.counts(spec)
        if wants and _FLAG not in body:
            self._trims = True
            return b'{"stream_options":{"include_usage":true},' + body.lstrip()[1:]
        return body

    def learn(self, spec: EndpointSpec, refusal: CallError) -> bool:
        """See `Exchange.learn`. What the caller itself wrote is the caller's."""
        return (self._trims or self._spoken is not self._asked) and self._manners.learn(spec, refusal)

    def trim(self, prompt_tokens: int) -> int | None:
        """See `Exchange.trim`."""
        shorter = trimmed(self.ask(), prompt_tokens)
        if not shorter.dropped_turns or shorter.tokens > prompt_tokens:
            return None
        self._ask = shorter.ask
        self._body = self._mine.encode_ask(shorter.ask).body
        self.trimmed_turns += shorter.dropped_turns
        return shorter.tokens

    def relay(self, dispatch: Dispatch) -> Relay:
        """See `Exchange.relay`."""
        if self._spoken is self._asked:
            trim: Trim | None = without_counts if self._trims else None
            bare = Ask(model=self._peek.model, stream=True)
            return RawRelay(
                self._mine.tap(),
                lambda: self._mine.writer(bare, self._call_id, self._created_s),
                lines="json" in self.stream_type,
                trim=trim,
            )
        writer = self._mine.writer(self.ask(), self._call_id, self._created_s)
        return TranslatingRelay(self._theirs.reader(), writer, dispatch.model)

    def whole(self, body: bytes, dispatch: Dispatch) -> Heard:
        """See `Exchange.whole`."""
        if self._spoken is self._asked:
            seen = self._theirs.glance(body)
            tools = seen.finish is Finish.TOOLS
            return Heard(body=body, tokens=seen.tokens, wants_tool=tools, output_chars=len(body))
        answer = self._theirs.decode_answer(body)
        answer = msgspec.structs.replace(answer, id=self._call_id, model=dispatch.model, created_s=self._created_s)
        out = self._mine.encode_answer(answer, self.ask())
        tools = answer.finish is Finish.TOOLS
        return Heard(body=out, tokens=answer.tokens, wants_tool=tools, output_chars=len(out))


def _with_context(body: bytes, dispatch: Dispatch) -> bytes:
    """An Ollama request with the context its model is to run with: another one would load it anew."""
    fields = msgspec.json.decode(body)
    if dispatch.context_tokens is not None:
        options = fields.get("options")
        fields["options"] = (options if isinstance(options, dict) else {}) | {"num_ctx": dispatch.context_tokens}
    if dispatch.keep_alive_s is not None:
        # On a host whose memory the scheduler decides about, no caller decides when a model leaves it.
        fields["keep_alive"] = dispatch.keep_alive_s
    return msgspec.json.encode(fields)
