"""Streams that end without a word. Some servers answer a prompt they cannot take with status 200 and an empty stream.

Asked again for one token, unstreamed, they say what is wrong; then the client is told, and nobody is asked in vain. A
server that has nothing to say has cut its answer. Nothing was said yet, so asking costs no work twice but one token's.
"""

import asyncio

import msgspec

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.ports import Upstream
from ostler.domain.states import FailureClass
from ostler.gateway.dialects import path_of
from ostler.wire.codec import Format

ASK_S = 5.0
_F = FailureClass
_REFUSALS = frozenset({_F.CONTEXT_TOO_LONG, _F.MODEL_MISSING, _F.OUT_OF_MEMORY, _F.CAPABILITY, _F.REFUSAL})
"""What a server may have to say about a call whose stream it ended without a word."""


async def explained(upstream: Upstream, spec: EndpointSpec, request: UpstreamRequest, cut: CallError) -> CallError:
    """The refusal that an empty stream left out, if the server says one now; else the cut itself."""
    if spec.kind is not EndpointKind.OPENAI or request.path != path_of(Format.OPENAI_CHAT):
        return cut
    question = msgspec.structs.replace(request, body=_for_one_token(request.body))
    try:
        async with asyncio.timeout(ASK_S):
            (await upstream.send(spec, question)).close()
    except TimeoutError:
        return cut
    except CallError as refusal:
        return refusal if refusal.kind in _REFUSALS else cut
    return cut


def _for_one_token(body: bytes) -> bytes:
    """The same request, unstreamed and as short as can be."""
    fields: dict[str, object] = msgspec.json.decode(body)
    fields.pop("stream_options", None)
    limit = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    return msgspec.json.encode(fields | {"stream": False, limit: 1})
