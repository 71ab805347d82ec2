"""The codec of each format, imported when it is first asked for: a gateway that speaks one format loads one.

Codecs hold nothing of a single request, so there is one of each.
"""

from functools import cache

from ostler.wire.codec import Codec, Format


@cache
def codec(form: Format) -> Codec:
    """The codec of a format. Raises `LookupError` for one that cannot be spoken."""
    if form is Format.ANTHROPIC:
        from ostler.wire.anthropic import Anthropic  # noqa: PLC0415 -- loaded when it is spoken

        return Anthropic()
    if form is Format.OPENAI_CHAT:
        from ostler.wire.openai_chat import OpenAIChat  # noqa: PLC0415 -- loaded when it is spoken

        return OpenAIChat()
    if form is Format.OPENAI_RESPONSES:
        from ostler.wire.openai_responses import OpenAIResponses  # noqa: PLC0415 -- loaded when it is spoken

        return OpenAIResponses()
    raise LookupError(f"no codec for {form.value}")
