"""Which format an endpoint is spoken to in, and where: as near to the caller's own as it understands.

The nearest is the same one: then the request goes on as it came, fields unknown to us included. Endpoints of kind
`openai` understand chat completions; the Responses API only where it was invented. Ollama is spoken to in its own
format even for callers of its OpenAI-like one, because only there the context can be said.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.wire.codec import Format

_PATHS: Mapping[Format, str] = {
    Format.OPENAI_CHAT: "/chat/completions",
    Format.OPENAI_RESPONSES: "/responses",
    Format.ANTHROPIC: "/v1/messages",
    Format.OLLAMA_CHAT: "/api/chat",
    Format.OLLAMA_GENERATE: "/api/generate",
}
_RESPONSES_HOSTS = frozenset({"api.openai.com"})


def format_for(asked: Format, spec: EndpointSpec) -> Format:
    """The format for an endpoint, when the caller speaks `asked`."""
    match spec.kind:
        case EndpointKind.ANTHROPIC:
            return Format.ANTHROPIC
        case EndpointKind.OLLAMA:
            return asked if asked is Format.OLLAMA_GENERATE else Format.OLLAMA_CHAT
        case EndpointKind.OPENAI:
            native = asked is Format.OPENAI_RESPONSES and urlsplit(spec.url).hostname in _RESPONSES_HOSTS
            return asked if native else Format.OPENAI_CHAT


def path_of(spoken: Format, query: str = "") -> str:
    """Where a format is spoken. The query of the caller goes on only in Anthropic's format (`beta=true`)."""
    path = _PATHS[spoken]
    return f"{path}?{query}" if query and spoken is Format.ANTHROPIC else path
