"""The simulated upstream: each format is what the makers' own clients read, and each fault is exactly that fault."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import anthropic
import openai
import pytest

from tests.gateway.agent_script import FINAL_TEXT, SIDE_TEXT, writes_note
from tests.gateway.dialects import (
    ANSWER_TOKENS,
    CACHED_TOKENS,
    DIALECTS,
    MODEL,
    PROMPT_TOKENS,
    AnswerDialect,
    Said,
    Tool,
)
from tests.gateway.plays import (
    FAULTS,
    GOOD,
    RATE_LIMIT,
    SERVER,
    answers,
    cut,
    error_in_stream,
    fails,
    flapping,
    headers_only,
    malformed,
    missing_end,
    no_prefill,
    reset,
    silent,
    slow_first,
    stall,
)
from tests.gateway.upstream import Json, Play, Upstream, at_most, eventually

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/api/chat"}
RICH = Said(
    text="I look.",
    thinking="What is asked?",
    tools=(Tool("call_1", "weather", {"city": "Bonn"}), Tool("call_2", "weather", {"city": "Köln"})),
    finish="tools",
)


@pytest.fixture(params=sorted(DIALECTS))
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    with Upstream(DIALECTS[request.param], answers()) as made:
        yield made


def question(*, stream: bool = True, last: str = "user") -> Json:
    turns = [{"role": "user", "content": "Which colours?"}] + [{"role": "assistant", "content": "Bay"}] * (
        last != "user"
    )
    return {"model": MODEL, "messages": turns, "stream": stream, "max_tokens": 100}


def ask(upstream: Upstream, body: Json, timeout_s: float = 5.0) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers as a plain HTTP client gets them. Raises what that client raises."""
    host = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=timeout_s)
    with closing(host):
        host.request("POST", PATHS[upstream.dialect.name], json.dumps(body), {"content-type": "application/json"})
        answer = host.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


def dialect_of(upstream: Upstream) -> AnswerDialect:
    dialect = upstream.dialect
    assert isinstance(dialect, AnswerDialect)
    return dialect


@pytest.mark.parametrize("upstream", ["openai"], indirect=True)
def test_openai_s_own_client_reads_a_stream(upstream: Upstream) -> None:
    """Text, thinking, parallel tools, finish reason and counts arrive in OpenAI's client as they were said."""
    upstream.script(answers(RICH))
    with openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="sk-simulated", max_retries=0) as client:
        with client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": "?"}]) as stream:
            whole = stream.get_final_completion()
        plain = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "?"}])

    calls = whole.choices[0].message.tool_calls or []
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        (tool.id, tool.name, tool.arguments) for tool in RICH.tools
    ]
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (RICH.text, "tool_calls")
    assert plain.choices[0].message.content == GOOD.text
    assert plain.usage is not None
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)


@pytest.mark.parametrize("upstream", ["anthropic"], indirect=True)
def test_anthropic_s_own_client_reads_a_stream(upstream: Upstream) -> None:
    """Thinking with its signature, text, tools and counts arrive in Anthropic's client as they were said."""
    upstream.script(answers(RICH))
    with anthropic.Anthropic(base_url=upstream.url, api_key="sk-simulated", max_retries=0) as client:
        with client.messages.stream(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "?"}]) as stream:
            whole = stream.get_final_message()
        plain = client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "?"}])

    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole.stop_reason == "tool_use"
    assert whole.usage.cache_read_input_tokens == CACHED_TOKENS
    assert whole.usage.output_tokens == ANSWER_TOKENS
    assert plain.content[0].type == "text"
    assert plain.content[0].text == GOOD.text


@pytest.mark.parametrize("upstream", ["ollama"], indirect=True)
def test_a_stream_of_ollama_is_lines_of_json_of_which_the_last_is_done(upstream: Upstream) -> None:
    """And it streams when the request says nothing of it."""
    body = question()
    del body["stream"]

    _, raw, headers = ask(upstream, body)

    rows = [json.loads(line) for line in raw.splitlines()]
    assert headers["content-type"] == "application/x-ndjson"
    assert "".join(row["message"]["content"] for row in rows) == GOOD.text
    assert [row["done"] for row in rows] == [False] * (len(rows) - 1) + [True]


def test_what_was_sent_is_recorded_in_order(upstream: Upstream) -> None:
    """Bodies, instants and how far the answer came."""
    ask(upstream, question())
    ask(upstream, question(stream=False))

    first, second = upstream.calls
    assert (first.json["stream"], second.json["stream"]) == (True, False)
    assert first.begun_s < second.begun_s
    assert first.frames_sent == len(dialect_of(upstream).frames(GOOD))
    assert not first.gave_up
    eventually(upstream.all_over, "both are over")


def test_a_client_that_hangs_up_is_seen_with_how_much_it_got(upstream: Upstream) -> None:
    """The record says that it gave up, when, and after how many events."""
    upstream.script(answers(between_s=0.1))
    with socket.create_connection(("127.0.0.1", upstream.port)) as raw:
        body = json.dumps(question()).encode()
        raw.sendall(
            b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (PATHS[upstream.dialect.name].encode(), len(body))
        )
        raw.sendall(body)
        eventually(lambda: upstream.calls and upstream.calls[0].frames_sent >= 2, "two events are sent")
    begun = time.monotonic()

    eventually(lambda: upstream.calls[0].over, "the end is noticed")

    assert upstream.calls[0].gave_up
    assert 2 <= upstream.calls[0].frames_sent <= 4
    assert time.monotonic() - begun < 0.5


def test_a_connection_serves_several_requests(upstream: Upstream) -> None:
    """As servers do, so that a pool of connections is tried too."""
    host = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=5)
    with closing(host):
        for _ in range(3):
            host.request("POST", PATHS[upstream.dialect.name], json.dumps(question()))
            assert host.getresponse().read()

        assert upstream.connections_open == 1


def test_errors_come_in_the_words_of_the_format(upstream: Upstream) -> None:
    """Status, sentence and Retry-After."""
    upstream.script(fails(RATE_LIMIT, retry_after="7"), fails(SERVER))

    status, body, headers = ask(upstream, question())

    assert (status, headers["retry-after"]) == (429, "7")
    assert RATE_LIMIT.message in body.decode()
    status, _, headers = ask(upstream, question())
    assert (status, "retry-after" in headers) == (500, False)


@pytest.mark.parametrize(
    ("play", "failure"),
    [(reset, ConnectionError), (cut, http.client.IncompleteRead), (silent, TimeoutError), (stall, TimeoutError)],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_breaks_a_connection_breaks_it(
    upstream: Upstream, play: Play, failure: type[Exception], stream: bool
) -> None:
    """A reset, a cut, a silence and a stall are what they are called, whole or streamed."""
    upstream.script(play)

    with pytest.raises(failure):
        ask(upstream, question(stream=stream), timeout_s=0.2 if failure is TimeoutError else 10.0)

    eventually(upstream.all_over, "the upstream is rid of it")


def test_a_head_without_an_answer(upstream: Upstream) -> None:
    """The status comes at once, no word of the answer ever."""
    upstream.script(headers_only)
    host = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=10)
    with closing(host):
        host.request("POST", PATHS[upstream.dialect.name], json.dumps(question()))
        line = host.sock
        answer = host.getresponse()

        assert answer.status == 200
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            answer.read()


def test_a_late_first_token_is_late_and_then_whole(upstream: Upstream) -> None:
    """Nothing is missing."""
    upstream.script(answers(), slow_first(0.2))
    _, at_once, _ = ask(upstream, question())
    begun = time.monotonic()

    _, late, _ = ask(upstream, question())

    assert time.monotonic() - begun >= 0.2
    assert late == at_once


def test_a_stream_without_its_end_marker_is_otherwise_whole(upstream: Upstream) -> None:
    """The connection ends in good order: only the reader of the format can know."""
    upstream.script(missing_end, answers())

    _, short, _ = ask(upstream, question())
    _, whole, _ = ask(upstream, question())

    assert whole.startswith(short)
    assert whole[len(short) :] == dialect_of(upstream).frames(GOOD)[-1]


def test_a_malformed_event_is_in_the_middle(upstream: Upstream) -> None:
    """Before and after it all is well; a whole answer is half of one."""
    upstream.script(malformed, malformed)

    _, raw, _ = ask(upstream, question())

    broken = dialect_of(upstream).malformed_frame()
    assert raw.replace(broken, b"") == b"".join(dialect_of(upstream).frames(GOOD))
    _, whole, _ = ask(upstream, question(stream=False))
    with pytest.raises(json.JSONDecodeError):
        json.loads(whole)


def test_an_error_in_a_stream_is_its_last_event(upstream: Upstream) -> None:
    """HTTP has said 200 before."""
    upstream.script(error_in_stream)

    status, raw, _ = ask(upstream, question())

    assert status == 200
    assert raw.endswith(dialect_of(upstream).error_frame(SERVER))


def test_a_prefill_is_refused_and_nothing_else_is(upstream: Upstream) -> None:
    """400 when the last turn is the assistant's."""
    upstream.script(then=no_prefill)

    assert ask(upstream, question(last="assistant"))[0] == 400
    assert ask(upstream, question())[0] == 200


def test_flapping_is_bad_and_good_in_turn(upstream: Upstream) -> None:
    """The script is used up in order; then comes the default."""
    upstream.script(*flapping(fails(SERVER), 2))

    assert [ask(upstream, question())[0] for _ in range(6)] == [500, 200, 500, 200, 200, 200]


def test_every_fault_can_be_played_in_every_format(upstream: Upstream) -> None:
    """Their steps can be made for whole and streamed answers of this format, and end somehow."""
    for fault in FAULTS:
        upstream.script(fault.play)
        with at_most(2.0, fault.name):
            try:
                status, _, _ = ask(upstream, question(), timeout_s=0.1)
            except (OSError, http.client.HTTPException):
                continue
        assert status in {200, 400, 401, 429, 500, 503}, fault.name


def test_the_agent_s_model_calls_a_tool_then_finishes(upstream: Upstream) -> None:
    """No tools: a short text. Tools: a call of the writing one. Its result: the last words."""
    upstream.script(then=writes_note("/stable/note.txt", "Oats."))
    schema = {"type": "object", "properties": {"filePath": {}, "content": {}}}
    tool = {"name": "Write", "input_schema": schema}
    tools = [tool if upstream.dialect.name == "anthropic" else {"function": {"name": "Write", "parameters": schema}}]
    if upstream.dialect.name == "anthropic":
        result: Json = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_note_1"}]}
    else:
        result = {"role": "tool", "content": "done"}
    asked = question(stream=False)

    side = ask(upstream, asked)[1].decode()
    first = ask(upstream, {**asked, "tools": tools})[1].decode()
    last = ask(upstream, {**asked, "tools": tools, "messages": [*asked["messages"], result]})[1].decode()

    assert SIDE_TEXT in side
    assert "/stable/note.txt" in first
    assert "Write" in first
    assert FINAL_TEXT in last
