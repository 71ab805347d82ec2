"""The clients that judge the gateway judge rightly: asked directly, they see each fault of an upstream as it is."""

from collections.abc import Iterator

import pytest

from tests.gateway.clients import CLIENTS, Client, Got
from tests.gateway.dialects import DIALECTS, MODEL
from tests.gateway.plays import (
    CONTEXT,
    GOOD,
    answers,
    cut,
    cut_by_reset,
    error_in_stream,
    fails,
    malformed,
    missing_end,
    reset,
)
from tests.gateway.upstream import Play, Upstream

SAME = {"openai": "openai-chat", "anthropic": "anthropic", "ollama": "ollama-chat"}


@pytest.fixture(params=sorted(SAME))
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    with Upstream(DIALECTS[request.param], answers()) as made:
        yield made


def client_of(upstream: Upstream) -> Client:
    return CLIENTS[SAME[upstream.dialect.name]]


@pytest.mark.parametrize("stream", [True, False])
def test_a_good_answer_is_whole_and_read(upstream: Upstream, *, stream: bool) -> None:
    """Its text, and no error."""
    got = client_of(upstream).ask(upstream.url, MODEL, stream=stream)

    assert (got.status, got.text, got.whole, got.error) == (200, GOOD.text, True, "")


@pytest.mark.parametrize("play", [cut, cut_by_reset, error_in_stream])
def test_a_broken_stream_is_not_whole_and_has_an_error(upstream: Upstream, play: Play) -> None:
    """What came before the break was read."""
    upstream.script(play)

    got = client_of(upstream).ask(upstream.url, MODEL, stream=True)

    assert not got.whole
    assert got.error
    assert got.text == GOOD.text[: len(got.text)] != GOOD.text


def test_a_stream_that_just_ends_is_neither(upstream: Upstream) -> None:
    """Neither whole nor an error: the one thing that the gateway may never let through."""
    upstream.script(missing_end)

    got = client_of(upstream).ask(upstream.url, MODEL, stream=True)

    assert (got.whole, got.error) == (False, "")


@pytest.mark.parametrize("play", [cut, malformed, reset])
def test_a_broken_document_is_not_whole(upstream: Upstream, play: Play) -> None:
    """Half of it is none of it."""
    upstream.script(play)

    got = client_of(upstream).ask(upstream.url, MODEL, stream=False)

    assert not got.whole
    assert got.error


def test_an_error_is_read_in_the_words_of_its_format(upstream: Upstream) -> None:
    """The sentence, wherever the format puts it."""
    upstream.script(fails(CONTEXT))

    got = client_of(upstream).ask(upstream.url, MODEL, stream=True)

    assert (got.status, got.whole, got.error) == (400, False, CONTEXT.message)


def test_a_stream_of_the_responses_api_is_judged_by_its_last_event() -> None:
    """Whole when it says completed, an error when it says failed."""
    reader, failed = CLIENTS["openai-responses"].read_event, {"error": {"message": "gone", "code": "server_error"}}
    got, bad = Got(), Got()

    for event in ({"type": "response.output_text.delta", "delta": "Bay"}, {"type": "response.completed"}):
        reader(event, got)
    reader({"type": "response.failed", "response": failed}, bad)

    assert (got.text, got.whole, got.error) == ("Bay", True, "")
    assert (bad.whole, bad.error) == (False, "gone")
