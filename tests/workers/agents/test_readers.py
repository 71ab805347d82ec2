"""What only Codex and only aider do: their readers, on lines in the shape that the recordings have."""

import json
from collections.abc import Mapping

import pytest

from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.aider import AiderReader
from ostler.workers.runners.agents.codex import CodexReader
from ostler.workers.runners.agents.contract import AgentEvent, Text, ToolCall, ToolResult, Trouble, Verdict

F = FailureClass
USAGE = {"input_tokens": 22, "cached_input_tokens": 8, "output_tokens": 14, "reasoning_output_tokens": 4}


def codex(*rows: Mapping[str, object], exit_code: int | None = 0) -> tuple[list[AgentEvent], Verdict]:
    """What the reader of Codex makes of these lines."""
    reader = CodexReader()
    events = [event for row in rows for event in reader.feed(json.dumps(row).encode())]
    return events, reader.verdict(exit_code, "")


def item(**fields: object) -> dict[str, object]:
    """A whole item."""
    return {"type": "item.completed", "item": {"id": "item_1", **fields}}


TURN = {"type": "turn.started"}
SAID = item(type="agent_message", text="Done.")
DONE: dict[str, object] = {"type": "turn.completed", "usage": USAGE}


def test_codex_counts_over_the_whole_thread() -> None:
    """Two turns tell the sum twice: the last one is the sum. Cached tokens are part of the input, reasoning of the
    output.
    """
    _, verdict = codex(TURN, SAID, DONE, TURN, SAID, DONE)

    assert verdict.ok
    assert verdict.steps == 2
    assert verdict.usage is not None
    assert (verdict.usage.input_tokens, verdict.usage.cached_tokens) == (22, 8)
    assert (verdict.usage.output_tokens, verdict.usage.reasoning_tokens) == (14, 4)


@pytest.mark.parametrize(
    ("status", "exit_code", "ok"), [("completed", 0, True), ("failed", 2, False), ("declined", None, False)]
)
def test_a_command_that_fails_inside_fails_no_run(status: str, exit_code: int | None, ok: bool) -> None:
    """Codex ends with 0 and goes on; the tool's answer says how it went."""
    ran = item(type="command_execution", command="make", aggregated_output="", exit_code=exit_code, status=status)

    events, verdict = codex(TURN, ran, SAID, DONE)

    assert verdict.ok
    assert [event.ok for event in events if isinstance(event, ToolResult)] == [ok]


def test_what_codex_gets_over_fails_nothing() -> None:
    """Lines that say it reconnects, and items of type `error`, are shown and are no failure."""
    events, verdict = codex(
        TURN,
        item(type="error", message="Model metadata not found."),
        {"type": "error", "message": "Reconnecting... 1/1 (unexpected status 503 Service Unavailable: busy)"},
        SAID,
        DONE,
    )

    assert verdict.ok
    assert [event.recovered for event in events if isinstance(event, Trouble)] == [True]


@pytest.mark.parametrize(
    ("status", "kind"), [("429 Too Many Requests", F.RATE_LIMIT), ("401 Unauthorized", F.AUTH), ("503 busy", None)]
)
def test_codex_is_not_waited_for_while_it_sleeps_out_a_limit(status: str, kind: FailureClass | None) -> None:
    """It sleeps for as long as the answer says, which may be an hour; what may be over soon it may try again."""
    reader = CodexReader()
    retry = {"type": "error", "message": f"Reconnecting... 1/1 (unexpected status {status}: no)"}
    for row in (TURN, retry, item(type="error", message="a notice")):
        reader.feed(json.dumps(row).encode())

    stuck = reader.stuck_on("")

    assert (stuck.kind if stuck is not None else None) is kind
    reader.feed(json.dumps(SAID).encode())
    assert reader.stuck_on("") is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("exceeded retry limit, last status: 429 Too Many Requests", F.RATE_LIMIT),
        ("unexpected status 401 Unauthorized: no such key, url: http://hub/v1/responses", F.AUTH),
        ("Codex ran out of room in the model's context window. Start a new thread.", F.CONTEXT_TOO_LONG),
        ("stream disconnected before completion: connection reset", F.NETWORK),
        ('{"error": {"message": "no", "code": "content_filter"}}', F.REFUSAL),
        ("Quota exceeded. Check your plan and billing details.", F.QUOTA),
        ("something new", F.SERVER),
    ],
)
def test_a_failed_turn_has_the_class_that_its_words_say(said: str, kind: FailureClass) -> None:
    """A status in them, a sentence of its own, or the body of the answer as it came."""
    _, verdict = codex(TURN, {"type": "turn.failed", "error": {"message": said}}, exit_code=1)

    assert (verdict.ok, verdict.kind) == (False, kind)


def test_a_turn_that_codex_leaves_open_is_cut() -> None:
    """Whatever it had said in it, and although it ends with 0."""
    _, verdict = codex(TURN, SAID)

    assert verdict.kind is F.CUT


def aider(*lines: str, exit_code: int | None = 0) -> tuple[AiderReader, list[AgentEvent], Verdict]:
    """What the reader of aider makes of these lines."""
    reader = AiderReader()
    events = [event for line in lines for event in reader.feed(line.encode())]
    return reader, events, reader.verdict(exit_code, "")


def log(event: str, **properties: object) -> str:
    """A line of its log."""
    return json.dumps({"event": event, "properties": properties})


OPEN = log("message_send_starting")
ANSWERED = log("message_send", prompt_tokens=11, completion_tokens=7, cost=0.25)
BYE = log("exit", reason="Completed --message")
AGAIN = "Retrying in 0.2 seconds..."
LIMITED = "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached."


def test_an_edit_of_aider_counts_as_a_tool() -> None:
    """It has no tools of its own: the file that it wrote stands for one."""
    _, events, verdict = aider(OPEN, "I write.", "Tokens: 11 sent", ANSWERED, "Applied edit to note.txt", BYE)

    assert verdict.ok
    assert [event.about for event in events if isinstance(event, ToolCall)] == ["note.txt"]
    assert verdict.text == "I write."


def test_what_aider_says_around_its_answers_is_not_the_answer() -> None:
    """Greetings, tokens and advice are no words of the model."""
    _, events, verdict = aider("Aider v0.86.2", OPEN, "Yes.", "Tokens: 11 sent, 7 received.", ANSWERED, "Bye.", BYE)

    assert verdict.text == "Yes."
    assert [event.text for event in events if isinstance(event, Text)] == ["Yes."]


def test_an_error_that_aider_gets_over_fails_nothing() -> None:
    """It tried again, and the answer came."""
    _, _, verdict = aider(OPEN, LIMITED, AGAIN, "Yes.", ANSWERED, BYE)

    assert verdict.ok


def test_an_error_in_the_words_of_an_answer_is_none() -> None:
    """A model may well quote an error: the answer was taken in, so no call failed."""
    _, _, verdict = aider(OPEN, "You saw this:", LIMITED, ANSWERED, BYE)

    assert (verdict.ok, verdict.text) == (True, "You saw this:")


def test_aider_is_not_waited_for_when_all_of_its_calls_fail() -> None:
    """Six in a row, each tried elsewhere by the gateway; one that no further try mends ends it at once."""
    broken = "litellm.InternalServerError: InternalServerError: odd"
    assert aider(OPEN, *[broken, AGAIN] * 5)[0].stuck_on("") is None
    stuck = aider(OPEN, *[broken, AGAIN] * 6)[0].stuck_on("")
    assert stuck is not None
    assert stuck.kind is F.SERVER
    for line, kind in ((LIMITED, F.RATE_LIMIT), ("litellm.AuthenticationError: bad key", F.AUTH)):
        hopeless = aider(OPEN, line)[0].stuck_on("")
        assert hopeless is not None
        assert hopeless.kind is kind
    assert aider(OPEN, *[broken, AGAIN] * 6, ANSWERED)[0].stuck_on("") is None


@pytest.mark.parametrize(
    ("lines", "exit_code", "kind"),
    [
        ((OPEN, ANSWERED), -15, F.CUT),
        ((OPEN, ANSWERED), 0, F.CUT),
        (("aider: error: unrecognized arguments: --from-the-past",), 2, F.ENVIRONMENT),
        ((OPEN,), -9, F.ENVIRONMENT),
        ((OPEN, "litellm.BadRequestError: OpenAIException - prompt was flagged", BYE), 0, F.REFUSAL),
        ((OPEN, "litellm.NotFoundError: OpenAIException - no", BYE), 0, F.MODEL_MISSING),
        ((OPEN, "litellm.InternalServerError: InternalServerError: odd", BYE), 0, F.SERVER),
        ((OPEN, "Model x has hit a token limit!", "Output tokens: ~0 of 9", BYE), 0, F.CONTEXT_TOO_LONG),
        ((OPEN, "Model x has hit a token limit!", "Output tokens: ~9 of 9", BYE), 0, F.CAPABILITY),
    ],
)
def test_each_bad_end_of_aider_has_its_class(lines: tuple[str, ...], exit_code: int, kind: FailureClass) -> None:
    """Whatever the exit code says."""
    _, _, verdict = aider(*lines, exit_code=exit_code)

    assert (verdict.ok, verdict.kind) == (False, kind), verdict
    assert verdict.message
