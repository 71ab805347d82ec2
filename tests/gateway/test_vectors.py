"""Embeddings through the gateway: the same format byte by byte, the other one translated, each recorded as a call."""

import msgspec
import pytest

from ostler.domain.states import FailureClass
from tests.gateway.stage import Desk, Stage
from tests.gateway.support import Answer, Upstream

OPENAI = msgspec.json.encode(
    {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
)
OLLAMA = msgspec.json.encode({"model": "m", "embeddings": [[0.5, -1.0]], "prompt_eval_count": 3})


async def test_the_same_format_goes_through_byte_by_byte() -> None:
    """And its tokens are in the record."""
    stage = Stage(Upstream(Answer([OPENAI])))
    client = await stage.call({"model": "m", "input": "hello", "field_of_tomorrow": 1}, "/v1/embeddings")
    assert (client.status, client.body) == (200, OPENAI)
    assert b"field_of_tomorrow" in stage.upstream.sent[0][1].body
    assert stage.upstream.sent[0][1].path == "/embeddings"
    assert stage.record.attempts[0].input_tokens == 3
    assert stage.record.format == "openai-embeddings"


@pytest.mark.parametrize(
    ("path", "body", "desk", "answer", "sent_to"),
    [
        ("/v1/embeddings", {"model": "m", "input": ["hello"]}, "ollama", OLLAMA, "/api/embed"),
        ("/api/embed", {"model": "m", "input": ["hello"]}, "a", OPENAI, "/embeddings"),
        ("/api/embeddings", {"model": "m", "prompt": "hello"}, "ollama", OLLAMA, "/api/embed"),
    ],
)
async def test_the_other_format_is_translated_both_ways(
    path: str, body: object, desk: str, answer: bytes, sent_to: str
) -> None:
    """The vector is the same in every client's words."""
    stage = Stage(Upstream(Answer([answer])), Desk(desk))
    client = await stage.call(body, path)
    assert client.status == 200, client.body
    assert stage.upstream.sent[0][1].path == sent_to
    found = client.json()
    vectors = {
        "/v1/embeddings": lambda: found["data"][0]["embedding"],
        "/api/embed": lambda: found["embeddings"][0],
        "/api/embeddings": lambda: found["embedding"],
    }
    assert vectors[path]() == [0.5, -1.0]


async def test_an_endpoint_that_makes_none_says_so() -> None:
    """In the client's own format."""
    stage = Stage(Upstream(), Desk("anthropic"))
    client = await stage.call({"model": "m", "input": "hello"}, "/v1/embeddings")
    assert client.status == 400
    assert "no embeddings" in client.json()["error"]["message"]
    assert stage.record.failure is FailureClass.CAPABILITY


@pytest.mark.parametrize("body", [b"{", {"input": "x"}, {"model": "m"}])
async def test_what_is_no_request_is_refused(body: object) -> None:
    """With one message and without an attempt that reached a model."""
    stage = Stage(Upstream())
    client = await stage.call(body, "/v1/embeddings")
    assert client.status == 400, client.body
    assert client.json()["error"]["message"]
