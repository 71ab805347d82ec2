"""A streamed answer as one whole, and a whole answer as a stream. Pure; linear in what is added.

Neighbouring pieces of one kind are one part. A signature ends the thinking it proves; redacted thinking is a part of
its own. Calls of tools stand where they began, whatever came between their arguments; no arguments are the empty
object.

Invariant: `fold(pieces(answer)) == answer` for an answer without empty parts and without two neighbouring parts that a
stream cannot tell apart (two texts, two refusals, thinking after thinking that has no signature).
"""

from collections.abc import Iterable, Iterator

from ostler.wire.talk import (
    Answer,
    Counted,
    Ended,
    Finish,
    Part,
    Piece,
    Refusal,
    RefusalPiece,
    Started,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    Tokens,
    ToolPiece,
    ToolStarted,
    ToolUse,
)

NO_ARGUMENTS = "{}"


class _Open:
    """A part that may still grow: what it is, what names it, and its text so far."""

    __slots__ = ("kind", "name", "proof", "texts")

    def __init__(self, kind: type[Part], *, proof: str = "", name: str = "") -> None:
        self.kind = kind
        self.proof = proof
        """Signature of thinking, or id of a call."""
        self.name = name
        """Name of a tool, or what stands for redacted thinking."""
        self.texts: list[str] = []

    def part(self) -> Part:
        text = "".join(self.texts)
        if self.kind is ToolUse:
            return ToolUse(id=self.proof, name=self.name, arguments=text if text.strip() else NO_ARGUMENTS)
        if self.kind is Thinking:
            return Thinking(text=text, signature=self.proof, redacted=self.name)
        return Refusal(text=text) if self.kind is Refusal else Text(text=text)


class Fold:
    """Collects the pieces of one answer. `answer()` may be asked at any time, and says what came until then."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the model was done; the stream is whole only when its reader says so."""
        self._started = Started()
        self._parts: list[_Open] = []
        self._calls: dict[int, _Open] = {}
        self._tokens = Tokens()
        self._end = Ended(finish=Finish.STOP)

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        if isinstance(piece, TextPiece):
            self._grow(Text, piece.text)
        elif isinstance(piece, ToolPiece):
            self._arguments(piece)
        elif isinstance(piece, ThinkingPiece):
            self._think(piece)
        elif isinstance(piece, RefusalPiece):
            self._grow(Refusal, piece.text)
        elif isinstance(piece, ToolStarted):
            self._calls[piece.index] = self._open(_Open(ToolUse, proof=piece.id, name=piece.name))
        elif isinstance(piece, Counted):
            self._tokens = piece.tokens.over(self._tokens)
        elif isinstance(piece, Started):
            self._started = piece
        else:
            self.ended, self._end = True, piece

    def answer(self) -> Answer:
        """The answer so far."""
        return Answer(
            id=self._started.id,
            model=self._started.model,
            created_s=self._started.created_s,
            parts=tuple(part.part() for part in self._parts),
            finish=self._end.finish,
            stop_sequence=self._end.stop_sequence,
            tokens=self._tokens,
        )

    def _grow(self, kind: type[Part], text: str) -> None:
        if not text:
            return
        last = self._parts[-1] if self._parts else None
        if last is None or last.kind is not kind or (kind is Thinking and (last.proof or last.name)):
            last = self._open(_Open(kind))
        last.texts.append(text)

    def _think(self, piece: ThinkingPiece) -> None:
        if piece.redacted:
            self._open(_Open(Thinking, name=piece.redacted))
        self._grow(Thinking, piece.text)
        if piece.signature:
            last = self._parts[-1] if self._parts else None
            if last is None or last.kind is not Thinking or last.proof or last.name:
                last = self._open(_Open(Thinking))
            last.proof = piece.signature

    def _arguments(self, piece: ToolPiece) -> None:
        call = self._calls.get(piece.index)
        if call is None:
            call = self._calls[piece.index] = self._open(_Open(ToolUse))
        call.texts.append(piece.arguments)

    def _open(self, part: _Open) -> _Open:
        self._parts.append(part)
        return part


def fold(pieces: Iterable[Piece]) -> Answer:
    """The answer that a stream made.

    >>> fold([TextPiece(text="to"), TextPiece(text="day"), Ended(finish=Finish.STOP)]).parts
    (Text(text='today', cache=None),)
    """
    whole = Fold()
    for piece in pieces:
        whole.add(piece)
    return whole.answer()


def pieces(answer: Answer) -> Iterator[Piece]:
    """The stream that makes this answer. Counts come first, for formats that say the input's at the beginning."""
    yield Started(id=answer.id, model=answer.model, created_s=answer.created_s)
    if answer.tokens != Tokens():
        yield Counted(tokens=answer.tokens)
    calls = 0
    for part in answer.parts:
        if isinstance(part, ToolUse):
            yield ToolStarted(index=calls, id=part.id, name=part.name)
            yield ToolPiece(index=calls, arguments=part.arguments)
            calls += 1
        else:
            yield from _content(part)
    yield Ended(finish=answer.finish, stop_sequence=answer.stop_sequence)


def _content(part: Part) -> Iterator[Piece]:
    if isinstance(part, Text) and part.text:
        yield TextPiece(text=part.text)
    elif isinstance(part, Refusal) and part.text:
        yield RefusalPiece(text=part.text)
    elif isinstance(part, Thinking):
        if part.text:
            yield ThinkingPiece(text=part.text)
        if part.signature:
            yield ThinkingPiece(signature=part.signature)
        if part.redacted:
            yield ThinkingPiece(redacted=part.redacted)
