"""The codec of each format, imported when it is first asked for: a gateway that speaks one format loads one.

Codecs hold nothing of a single request, so there is one of each.
"""

from functools import cache

from ostler.wire.codec import Codec, Format


@cache
def codec(form: Format) -> Codec:
    """The codec of a format."""
    match form:
        case Format.ANTHROPIC:
            from ostler.wire.anthropic import Anthropic  # noqa: PLC0415 -- loaded when it is spoken

            return Anthropic()
        case Format.OPENAI_CHAT:
            from ostler.wire.openai_chat import OpenAIChat  # noqa: PLC0415 -- as above

            return OpenAIChat()
        case Format.OPENAI_RESPONSES:
            from ostler.wire.openai_responses import OpenAIResponses  # noqa: PLC0415 -- as above

            return OpenAIResponses()
        case Format.OLLAMA_CHAT:
            from ostler.wire.ollama import OllamaChat  # noqa: PLC0415 -- as above

            return OllamaChat()
        case Format.OLLAMA_GENERATE:
            from ostler.wire.ollama import OllamaGenerate  # noqa: PLC0415 -- as above

            return OllamaGenerate()
