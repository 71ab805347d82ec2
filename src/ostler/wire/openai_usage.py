"""Token counts of OpenAI's formats, read and written. Pure.

Servers leave counts out or send them as `null`; what was not said stays `None`. llama.cpp adds its own measurements of
time beside them.
"""

import msgspec

from ostler.wire.talk import Json, Tokens


class Details(msgspec.Struct, frozen=True):
    """What of a count was cached, written to the cache, or thought."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct, frozen=True):
    """`usage` of chat completions."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek"""

    def tokens(self) -> Tokens:
        """In the shared form."""
        prompt, completion = self.prompt_tokens_details or _NONE, self.completion_tokens_details or _NONE
        cached = prompt.cached_tokens
        return Tokens(
            input_tokens=self.prompt_tokens,
            cache_read_tokens=self.prompt_cache_hit_tokens if cached is None else cached,
            cache_write_tokens=prompt.cache_write_tokens,
            output_tokens=self.completion_tokens,
            reasoning_tokens=completion.reasoning_tokens,
        )


class Timings(msgspec.Struct, frozen=True):
    """llama.cpp's own measurements."""

    prompt_ms: float | None = None
    predicted_ms: float | None = None

    def tokens(self) -> Tokens:
        """In the shared form."""
        return Tokens(prefill_ms=_whole(self.prompt_ms), decode_ms=_whole(self.predicted_ms))


_NONE = Details()


def chat_usage(tokens: Tokens) -> Json | None:
    """Counts as chat completions say them; nothing if nothing is known, for zero would be a claim."""
    if tokens.input_tokens is None and tokens.output_tokens is None:
        return None
    prompt, completion = tokens.input_tokens or 0, tokens.output_tokens or 0
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    cached = {"cached_tokens": tokens.cache_read_tokens, "cache_write_tokens": tokens.cache_write_tokens}
    if said := {name: value for name, value in cached.items() if value is not None}:
        usage["prompt_tokens_details"] = said
    if tokens.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning_tokens}
    return usage


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
