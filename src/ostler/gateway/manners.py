"""What endpoints of OpenAI's format do not take, learned from what they refuse by name.

"Compatible" differs from server to server. Nothing has been worked on when a request is refused for its form, so asking
again in the form that the server wants is no retry of work; from then on it is asked so at once.
"""

import re
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.catalog import EndpointSpec
from ostler.wire.codec import Codec, Format
from ostler.wire.formats import codec
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.openai_chat_request import STRICT, Dialect

_STRICT_HOSTS = frozenset({"api.openai.com"})
_REFUSED_FORM = frozenset({400, 422})
_LISTS_REFUSED = frozenset({400, 422, 500})
"""llama.cpp's Python server says 500 where a system turn is a list of texts."""
_STRING_WANTED = re.compile(rb"content.{0,200}(?:valid string|must be a string|expected a? ?string)", re.DOTALL)


class Manners:
    """One for all calls of a gateway."""

    def __init__(self) -> None:
        self._no_counts: set[str] = set()
        self._strict: set[str] = set()
        self._flat: set[str] = set()
        self._chats: dict[tuple[bool, bool], Codec] = {
            (True, False): OpenAIChat(STRICT),
            (True, True): OpenAIChat(msgspec.structs.replace(STRICT, flat_text=True)),
            (False, True): OpenAIChat(Dialect(flat_text=True)),
        }
        """By whether it is strict, and whether it takes only strings; what is neither has the usual one."""

    def counts(self, spec: EndpointSpec) -> bool:
        """Whether it may be asked to count tokens at the end of a stream."""
        return spec.name not in self._no_counts

    def codec(self, spoken: Format, spec: EndpointSpec) -> Codec:
        """The codec for requests to this endpoint."""
        if spoken is not Format.OPENAI_CHAT:
            return codec(spoken)
        return self._chats.get((self._is_strict(spec), spec.name in self._flat)) or codec(spoken)

    def learn(self, spec: EndpointSpec, refusal: CallError) -> bool:
        """Take in why a request was refused; whether that was news, so that it is worth asking again."""
        news = False
        if refusal.status in _LISTS_REFUSED and spec.name not in self._flat and _STRING_WANTED.search(refusal.body):
            self._flat.add(spec.name)
            news = True
        if refusal.status not in _REFUSED_FORM:
            return news
        if (b"stream_options" in refusal.body or b"include_usage" in refusal.body) and self.counts(spec):
            self._no_counts.add(spec.name)
            news = True
        if b"max_completion_tokens" in refusal.body and not self._is_strict(spec):
            self._strict.add(spec.name)
            news = True
        return news

    def _is_strict(self, spec: EndpointSpec) -> bool:
        return spec.name in self._strict or _is_strict_host(spec.url)


@lru_cache(maxsize=256)
def _is_strict_host(url: str) -> bool:
    return urlsplit(url).hostname in _STRICT_HOSTS
