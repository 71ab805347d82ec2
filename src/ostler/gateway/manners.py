"""What endpoints of OpenAI's format do not take, learned from what they refuse by name.

"Compatible" differs from server to server. Nothing has been worked on when a request is refused for its form, so asking
again in the form that the server wants is no retry of work; from then on it is asked so at once.
"""

from urllib.parse import urlsplit

from ostler.domain.calls import CallError
from ostler.domain.catalog import EndpointSpec
from ostler.wire.codec import Codec, Format
from ostler.wire.formats import codec
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.openai_chat_request import STRICT

_STRICT_HOSTS = frozenset({"api.openai.com"})
_REFUSED_FORM = frozenset({400, 422})


class Manners:
    """One for all calls of a gateway."""

    def __init__(self) -> None:
        self._no_counts: set[str] = set()
        self._strict: set[str] = set()
        self._strict_chat: Codec = OpenAIChat(STRICT)

    def counts(self, spec: EndpointSpec) -> bool:
        """Whether it may be asked to count tokens at the end of a stream."""
        return spec.name not in self._no_counts

    def codec(self, spoken: Format, spec: EndpointSpec) -> Codec:
        """The codec for requests to this endpoint."""
        if spoken is Format.OPENAI_CHAT and self._is_strict(spec):
            return self._strict_chat
        return codec(spoken)

    def learn(self, spec: EndpointSpec, refusal: CallError) -> bool:
        """Take in why a request was refused; whether that was news, so that it is worth asking again."""
        if refusal.status not in _REFUSED_FORM:
            return False
        news = False
        if (b"stream_options" in refusal.body or b"include_usage" in refusal.body) and self.counts(spec):
            self._no_counts.add(spec.name)
            news = True
        if b"max_completion_tokens" in refusal.body and not self._is_strict(spec):
            self._strict.add(spec.name)
            news = True
        return news

    def _is_strict(self, spec: EndpointSpec) -> bool:
        return spec.name in self._strict or urlsplit(spec.url).hostname in _STRICT_HOSTS
