"""An empty stream with status 200 is a refusal left out: the endpoint is asked why, once, and the client told."""

import msgspec
import pytest

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.gateway import silence
from tests.gateway.stage import ANTHROPIC_ASK, ASK, OPENING, STREAM, WHOLE, Desk, Stage
from tests.gateway.support import Answer, Upstream

STREAMED = ASK | {"stream": True}


def too_long() -> CallError:
    error = CallError(FailureClass.CONTEXT_TOO_LONG, "4097 tokens are too many for 4096")
    error.status = 400
    return error


@pytest.mark.parametrize(
    ("asked", "path"), [(STREAMED, "/v1/chat/completions"), (ANTHROPIC_ASK | {"stream": True}, "/v1/messages")]
)
async def test_the_reason_that_was_left_out_is_told(asked: dict[str, object], path: str) -> None:
    """In the caller's format, as the failure of the one attempt; nobody else is asked in vain."""
    stage = Stage(Upstream(Answer([]), too_long()), Desk("a", "b"))

    client = await stage.call(asked, path)

    assert client.status == 400
    assert "4097 tokens" in client.json()["error"]["message"]
    assert [attempt.failure for attempt in stage.record.attempts] == [FailureClass.CONTEXT_TOO_LONG]
    assert [name for name, _ in stage.upstream.sent] == ["a", "a"]


async def test_the_question_is_the_same_request_for_one_token() -> None:
    """Unstreamed, under whichever name its limit has; fields that we do not know are kept."""
    stage = Stage(Upstream(Answer([]), too_long()))
    more = {"max_completion_tokens": 500, "stream_options": {"include_usage": True}, "field_of_tomorrow": 1}

    await stage.call(STREAMED | more)

    question = msgspec.json.decode(stage.upstream.sent[1][1].body)
    assert question == ASK | {"stream": False, "max_completion_tokens": 1, "field_of_tomorrow": 1}


@pytest.mark.parametrize("says", [Answer([WHOLE]), CallError(FailureClass.SERVER, "no"), 0.5])
async def test_without_a_reason_it_was_cut_and_goes_elsewhere(
    says: Answer | CallError | float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer after all, another failure, or nothing in time: as any stream that was cut."""
    monkeypatch.setattr(silence, "ASK_S", 0.05)
    stage = Stage(Upstream(Answer([]), says, Answer(STREAM)), Desk("a", "b"))

    client = await stage.call(STREAMED)

    assert client.status == 200
    assert [attempt.failure for attempt in stage.record.attempts] == [FailureClass.CUT, None]


async def test_it_is_asked_once_in_a_call() -> None:
    """Two silent places, one question."""
    stage = Stage(Upstream(Answer([]), Answer([WHOLE]), Answer([]), Answer(STREAM)), Desk("a", "b"))

    await stage.call(STREAMED)

    asked = [msgspec.json.decode(request.body)["stream"] for _, request in stage.upstream.sent]
    assert asked == [True, False, True, True]


@pytest.mark.parametrize("said", [[OPENING], [b"data: "], [CallError(FailureClass.CUT, "cut")]])
async def test_whoever_said_something_or_broke_off_is_not_asked(said: list[bytes | CallError | float]) -> None:
    """It did not refuse."""
    stage = Stage(Upstream(Answer(said), Answer(STREAM)), Desk("a", "b"))

    await stage.call(STREAMED)

    assert [name for name, _ in stage.upstream.sent] == ["a", "b"]


async def test_endpoints_of_other_kinds_are_not_asked() -> None:
    """Theirs are not the servers that do so."""
    stage = Stage(Upstream(Answer([]), Answer(STREAM)), Desk("ollama", "a"))

    await stage.call(STREAMED)

    assert [name for name, _ in stage.upstream.sent] == ["ollama", "a"]
