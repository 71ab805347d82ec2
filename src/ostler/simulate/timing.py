"""When the parts of one simulated call happen, in modelled milliseconds. Pure.

A call is submitted, attached to a loaded model (after queueing, eviction and load), started on a slot, reads its prompt
(prefill) and then writes one token after another at a constant pace (decode). Slots do not slow each other down: give
speeds as measured at the configured parallelism.
"""

import math

import msgspec


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one call. All times are modelled epoch milliseconds, all durations modelled milliseconds."""

    submitted_ms: int
    attached_ms: int
    started_ms: int
    prefill_ms: int
    decode_ms: int

    @property
    def load_ms(self) -> int:
        """From the submission until a loaded model took the call; waiting for a slot is not in it."""
        return self.attached_ms - self.submitted_ms

    @property
    def total_ms(self) -> int:
        """From the submission to the last token."""
        return self.ends_ms - self.submitted_ms

    @property
    def prefilled_ms(self) -> int:
        """When the prompt has been read; the first token follows one decode step later."""
        return self.started_ms + self.prefill_ms

    @property
    def ends_ms(self) -> int:
        """When the last token is out."""
        return self.prefilled_ms + self.decode_ms

    def token_due_ms(self, tokens: int, of_tokens: int) -> int:
        """When `tokens` of `of_tokens` are out."""
        if of_tokens <= 0:
            return self.prefilled_ms
        return self.prefilled_ms + math.ceil(self.decode_ms * min(tokens, of_tokens) / of_tokens)


def duration_ms(tokens: int, tokens_per_s: float) -> int:
    """How long `tokens` take at a speed, rounded up to a millisecond.

    >>> duration_ms(90, 30.0), duration_ms(0, 30.0)
    (3000, 0)
    """
    return math.ceil(tokens * 1000 / tokens_per_s)
