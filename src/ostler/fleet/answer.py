"""What a streamed answer adds up to, whatever its wire format. Pure: bytes in, deltas out, then one verdict.

A reader is fed chunks until it is `done`: the end marker of its format was seen. `completion` then judges the whole:
an answer that is a refusal, or that spent its limit on thinking and says nothing, is a failure although the wire said
success. Token counts of the endpoint win; without them both sides are estimated and marked so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import msgspec

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Usage
from ostler.wire.classify import one_line
from ostler.wire.framing import LineTooLongError, SseEvent, SseParser

CHARS_PER_TOKEN = 4


def estimate_tokens(text_chars: int, pieces: int = 0) -> int:
    """Tokens of a text when nobody counted them: four characters each, but at least one for each streamed piece."""
    return max(-(-text_chars // CHARS_PER_TOKEN), pieces)


class Counts(msgspec.Struct, kw_only=True):
    """Tokens and times as the endpoint reported them; `None` = it did not say. Output includes reasoning."""

    input_tokens: int | None = None
    cached_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    load_ms: int | None = None
    prefill_ms: int | None = None
    decode_ms: int | None = None


class AnswerReader(ABC):
    """Reads one answer. Subclasses know a wire format and call `_text`, `_reasoning` and set the rest."""

    def __init__(self, call: ModelCall, now_ms: int) -> None:
        self._call = call
        self.now_ms = now_ms
        """Instant of the call, for waits that are given as a date inside the stream."""
        self.done = False
        self.finish_reason = ""
        self.refusal = ""
        """Why the endpoint refused the content, if it did; a space when it gave no reason."""
        self.counts = Counts()
        self._text_chars = 0
        self._reasoning_chars = 0
        self._pieces = 0

    @abstractmethod
    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Deltas completed by a chunk. Raises `CallError` for an error or nonsense in the stream.

        The deltas before it are given first: what was received does not depend on how the network cut it.
        """

    @abstractmethod
    def end(self) -> Iterator[Delta]:
        """The stream is over: take what is complete without its last line end. `done` may still be false after."""

    def completion(self, first_token_ms: int | None) -> Completion:
        """The verdict on a finished answer. Raises `CallError` for an answer that is none."""
        if self.refusal or self.finish_reason == "content_filter":
            reason = self.refusal.strip() or "no reason given"
            raise CallError(FailureClass.REFUSAL, one_line(f"the content was refused: {reason}"))
        usage = self._usage(first_token_ms)
        if self.finish_reason == "length" and not self._text_chars:
            raise CallError(
                FailureClass.CAPABILITY,
                f"the model spent its {usage.output_tokens} output tokens on thinking and answered nothing; "
                "raise max_output_tokens or take a model that thinks less",
            )
        return Completion(finish_reason=self.finish_reason or "stop", usage=usage)

    def _text(self, text: str | None, reasoning: str | None = None) -> list[Delta]:
        if not text and not reasoning:
            return []
        self._pieces += 1
        self._text_chars += len(text or "")
        self._reasoning_chars += len(reasoning or "")
        return [Delta(text=text or "", reasoning=reasoning or "")]

    def _usage(self, first_token_ms: int | None) -> Usage:
        counts = self.counts
        prompt_chars = sum(len(message.text) for message in self._call.messages)
        output = counts.output_tokens
        if output is None:
            output = estimate_tokens(self._text_chars + self._reasoning_chars, self._pieces)
        return Usage(
            input_tokens=estimate_tokens(prompt_chars) if counts.input_tokens is None else counts.input_tokens,
            cached_tokens=counts.cached_tokens,
            output_tokens=output,
            reasoning_tokens=counts.reasoning_tokens or estimate_tokens(self._reasoning_chars),
            estimated=counts.input_tokens is None or counts.output_tokens is None,
            first_token_ms=first_token_ms,
            load_ms=counts.load_ms,
            prefill_ms=counts.prefill_ms,
            decode_ms=counts.decode_ms,
        )


class SseReader(AnswerReader):
    """An answer in server-sent events."""

    def __init__(self, call: ModelCall, now_ms: int) -> None:
        super().__init__(call, now_ms)
        self._parser = SseParser()

    @abstractmethod
    def _event(self, event: SseEvent) -> list[Delta]:
        """One event of the format. Sets `done` at its end marker. Raises `CallError`."""

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """See `AnswerReader.feed`."""
        try:
            events = self._parser.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error)) from error
        for event in events:
            if self.done:
                return
            yield from self._event(event)

    def end(self) -> Iterator[Delta]:
        """See `AnswerReader.end`. An event that was cut in the middle is dropped: the answer is cut, not malformed."""
        event = self._parser.end()
        if event is not None and not self.done:
            yield from unless_malformed(lambda: self._event(event))


def unless_malformed(read: Callable[[], list[Delta]]) -> list[Delta]:
    """What `read` gives, nothing where it finds nonsense: for the last bytes of a stream, which may be half a frame."""
    try:
        return read()
    except CallError as error:
        if error.kind is FailureClass.MALFORMED:
            return []
        raise


def malformed(what: str, sample: bytes = b"") -> CallError:
    """The failure for bytes that are not what the protocol promises; shows their beginning."""
    shown = f": {sample[:80].decode('utf-8', 'replace')!r}" if sample else ""
    return CallError(FailureClass.MALFORMED, one_line(f"the stream is malformed: {what}{shown}"))
