"""What a streamed answer adds up to, whatever its wire format. Pure: bytes in, deltas out, then one verdict.

The bytes are read by the format's own reader (`wire`). An answer is fed chunks until it is `done`: the end marker of
its format was seen. `completion` then judges the whole: an answer that is a refusal, or that spent its limit on
thinking and says nothing, is a failure although the wire said success. Token counts of the endpoint win; without them
both sides are estimated and marked so.
"""

from collections.abc import Iterable, Iterator

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Usage
from ostler.wire.classify import one_line
from ostler.wire.codec import StreamReader
from ostler.wire.talk import Counted, Ended, Finish, Piece, RefusalPiece, TextPiece, ThinkingPiece, Tokens

CHARS_PER_TOKEN = 4


def estimate_tokens(text_chars: int, pieces: int = 0) -> int:
    """Tokens of a text when nobody counted them: four characters each, but at least one for each streamed piece."""
    return max(-(-text_chars // CHARS_PER_TOKEN), pieces)


class AnswerReader:
    """Reads one answer."""

    def __init__(self, call: ModelCall, wire: StreamReader) -> None:
        self._call = call
        self._wire = wire
        self._finish = Finish.STOP
        self._refusal = ""
        self._tokens = Tokens()
        self._text_chars = 0
        self._reasoning_chars = 0
        self._pieces = 0

    @property
    def done(self) -> bool:
        """Whether the end marker was seen; a stream that ends without it was cut."""
        return self._wire.done

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Deltas completed by a chunk. Raises `CallError` for an error or nonsense in the stream.

        The deltas before it are given first: what was received does not depend on how the network cut it.
        """
        for line in chunk.splitlines(keepends=True):
            yield from self._deltas(self._wire.feed(line))

    def end(self) -> Iterator[Delta]:
        """The stream is over: take what is complete without its last line end. `done` may still be false after."""
        yield from self._deltas(self._wire.end())

    def completion(self, first_token_ms: int | None) -> Completion:
        """The verdict on a finished answer. Raises `CallError` for an answer that is none."""
        if self._refusal or self._finish is Finish.REFUSAL:
            raise CallError(
                FailureClass.REFUSAL, one_line(f"the content was refused: {self._refusal or 'no reason given'}")
            )
        usage = self._usage(first_token_ms)
        at_limit = self._finish in {Finish.LENGTH, Finish.CONTEXT}
        if at_limit and not self._text_chars:
            raise CallError(
                FailureClass.CAPABILITY,
                f"the model spent its {usage.output_tokens} output tokens on thinking and answered nothing; "
                "raise max_output_tokens or take a model that thinks less",
            )
        return Completion(finish_reason=(Finish.LENGTH if at_limit else self._finish).value, usage=usage)

    def _deltas(self, pieces: Iterable[Piece]) -> Iterator[Delta]:
        for piece in pieces:
            if isinstance(piece, TextPiece):
                self._text_chars += len(piece.text)
                self._pieces += 1
                yield Delta(text=piece.text)
            elif isinstance(piece, ThinkingPiece):
                if piece.text:
                    self._reasoning_chars += len(piece.text)
                    self._pieces += 1
                    yield Delta(reasoning=piece.text)
            elif isinstance(piece, RefusalPiece):
                self._refusal += piece.text
            elif isinstance(piece, Counted):
                self._tokens = piece.tokens.over(self._tokens)
            elif isinstance(piece, Ended):
                self._finish = piece.finish

    def _usage(self, first_token_ms: int | None) -> Usage:
        said = self._tokens
        prompt_chars = sum(len(message.text) for message in self._call.messages)
        output = said.output_tokens
        if output is None:
            output = estimate_tokens(self._text_chars + self._reasoning_chars, self._pieces)
        return Usage(
            input_tokens=estimate_tokens(prompt_chars) if said.input_tokens is None else said.input_tokens,
            cached_tokens=said.cache_read_tokens or 0,
            output_tokens=output,
            reasoning_tokens=said.reasoning_tokens or estimate_tokens(self._reasoning_chars),
            estimated=not said.are_counted,
            first_token_ms=first_token_ms,
            load_ms=said.load_ms,
            prefill_ms=said.prefill_ms,
            decode_ms=said.decode_ms,
        )
