"""What all wire formats share: a request (`Ask`), an answer (`Answer`), and a streamed answer as `Piece`s.

A codec (`wire.codec.Codec`) translates one format to and from this. Rules that every codec keeps:

* roles are `system`, `user` and `assistant`. Results of tools are parts of user turns, whatever a format calls them;
* a turn holds its parts in order; formats that keep calls of tools beside the text put them after it;
* arguments of a tool are JSON text as the model wrote it, never parsed and dumped again;
* token counts are totals: `input_tokens` has cached ones in it, `output_tokens` has reasoning in it; `None` = not said;
* what a format cannot say is named (`Encoded.dropped`), never lost in silence.

Invariant: for a request or answer that uses only what two formats share, translating there and back gives an equal one.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

Json = dict[str, object]
"""A JSON object as decoded."""


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Text. `cache` = the provider may keep the prompt up to here (Anthropic's mark, as it was given)."""

    text: str
    cache: Json | None = None


class Image(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    """An image: base64 `data` with its `media_type`, or a `url`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""
    cache: Json | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True, tag="document"):
    """A file such as a PDF: base64 `data` with its `media_type`, plain text (`text/plain`), or a `url`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    cache: Json | None = None


class Thinking(msgspec.Struct, frozen=True, kw_only=True, tag="thinking"):
    """Thinking that was shown. `signature` proves it to the provider that made it; `redacted` replaces the text."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, tag="tool_use"):
    """The model calls a tool. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = "{}"
    cache: Json | None = None


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool gave back."""

    tool_use_id: str
    parts: tuple[Text | Image | Document, ...] = ()
    is_error: bool = False
    name: str = ""
    """Name of the tool, where a format says it here."""
    cache: Json | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """The model's own words for why it does not answer."""

    text: str


Part = Text | Image | Document | Thinking | ToolUse | ToolResult | Refusal


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the talk. `role`: `system`, `user` or `assistant`."""

    role: str
    parts: tuple[Part, ...] = ()
    name: str = ""

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call. `schema` is the JSON schema of its arguments, untouched."""

    name: str
    description: str = ""
    schema: Json = {}
    strict: bool | None = None
    cache: Json | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`auto`, `none`, `required` (any tool) or `tool` (the named one)."""

    mode: str = "auto"
    name: str = ""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The form the answer must have: any JSON object (`schema` is `None`), or what a JSON schema says."""

    schema: Json | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model is to think: not at all (`enabled` `False`), within `budget_tokens`, or at a `level`."""

    enabled: bool = True
    budget_tokens: int | None = None
    level: str = ""
    """`minimal`, `low`, `medium`, `high` ..., as given."""
    adaptive: bool = False
    """The model itself decides how much (Anthropic)."""
    summary: str = ""
    """How the thinking is to be shown, as given (OpenAI's `summary`, Anthropic's `display`)."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a model."""

    model: str
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    legacy_functions: bool = False
    """The caller named its tools `functions` and wants calls told in that older form (OpenAI chat)."""
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    shape: Shape | None = None
    effort: Effort | None = None
    stream: bool = False
    stream_counts: bool = True
    """A stream ends with token counts. Formats that always send them leave it true."""
    user: str = ""
    """Whom the call is for, in the caller's own terms."""
    context_tokens: int | None = None
    """Context to run with, for engines that take one per call."""
    keep_alive: str | int | float | None = None
    """How long the engine is asked to keep the model (Ollama)."""
    raw_prompt: bool = False
    """The prompt goes to the model as it is, without a template (Ollama's `raw`)."""
    suffix: str = ""
    """Text after the gap to fill (Ollama's `generate`)."""
    extra: Mapping[str, object] = {}
    """Fields of its own format that have no place here; kept for that format, dropped (and named) for others."""
    origin: str = ""
    """The format it was read from (`wire.codec.Format`): `extra` may be sent to that format alone, for names such as
    `service_tier` mean other things elsewhere.
    """

    @property
    def system(self) -> str:
        """Text of all system turns."""
        return "\n\n".join(turn.text for turn in self.turns if turn.role == "system")


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model was done, or met a stop sequence."""
    LENGTH = "length"
    """The limit of output tokens."""
    CONTEXT = "context"
    """The window was full."""
    TOOLS = "tool_calls"
    """It calls tools."""
    REFUSAL = "refusal"
    """The content was refused or filtered."""
    PAUSE = "pause"
    """A long turn was paused by the provider, to be continued (Anthropic)."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts. Totals: input with what was cached, output with reasoning; `None` = not said."""

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    load_ms: int | None = None
    prefill_ms: int | None = None
    decode_ms: int | None = None

    @property
    def are_counted(self) -> bool:
        """Whether somebody counted both sides."""
        return self.input_tokens is not None and self.output_tokens is not None

    def over(self, older: "Tokens") -> "Tokens":
        """These counts, with older ones where these say nothing."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(older, **said)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; `parts` are those of an assistant's turn."""

    id: str = ""
    model: str = ""
    parts: tuple[Part, ...] = ()
    finish: Finish = Finish.STOP
    stop_sequence: str | None = None
    tokens: Tokens = Tokens()
    created_s: int | None = None


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The answer begins."""

    id: str = ""
    model: str = ""
    created_s: int | None = None


class TextPiece(msgspec.Struct, frozen=True, kw_only=True):
    """More text."""

    text: str


class ThinkingPiece(msgspec.Struct, frozen=True, kw_only=True):
    """More thinking; `signature` or `redacted` come whole, with empty text."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


class ToolStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool begins. `index` counts the calls of this answer from 0."""

    index: int
    id: str
    name: str


class ToolPiece(msgspec.Struct, frozen=True, kw_only=True):
    """More of the arguments of call `index`: JSON text, cut anywhere."""

    index: int
    arguments: str


class RefusalPiece(msgspec.Struct, frozen=True, kw_only=True):
    """More of the model's refusal."""

    text: str


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts so far; a later one replaces what it names."""

    tokens: Tokens


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The model is done. Counts may still follow; the stream is whole only when its reader is `done`."""

    finish: Finish
    stop_sequence: str | None = None


Piece = Started | TextPiece | ThinkingPiece | ToolStarted | ToolPiece | RefusalPiece | Counted | Ended
"""A streamed answer, in this order: `Started` once, pieces of content, `Ended` once; `Counted` anywhere."""


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """A body in one format, what of the request that format cannot say (names of fields, for people), and what it
    demands that the request did not say, with what was chosen.
    """

    body: bytes
    dropped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
