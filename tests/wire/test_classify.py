"""From what endpoints say to what kind of failure it is. Bodies are as the servers send them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import FailureClass as F
from ostler.wire.classify import (
    SEARCHED_CHARS,
    Problem,
    classify_answer,
    classify_problem,
    classify_stream_error,
    one_line,
    redact,
)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def anthropic(message: str, kind: str, error_code: str | None = None) -> str:
    error: dict[str, object] = {"type": kind, "message": message}
    if error_code:
        error["details"] = {"error_code": error_code}
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"})


def ollama(message: str) -> str:
    return json.dumps({"error": message})


NESTED = json.dumps(
    {
        "error": {
            "code": 400,
            "message": "request (2622 tokens) exceeds the available context size (512 tokens), try increasing it",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 2622,
            "n_ctx": 512,
        }
    }
)

CASES = [
    # OpenAI
    (401, openai("Incorrect API key provided: sk-no.", "invalid_api_key"), F.AUTH),
    (403, openai("Country, region, or territory not supported", "unsupported_country_region_territory"), F.AUTH),
    (429, openai("Rate limit reached for gpt-5 on tokens per min.", "rate_limit_exceeded", "tokens"), F.RATE_LIMIT),
    (429, openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"), F.QUOTA),
    (429, openai("You exceeded your current quota, please check your plan and billing details.", None), F.QUOTA),
    (404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found"), F.MODEL_MISSING),
    (400, openai("This model's maximum context length is 8192 tokens.", "context_length_exceeded"), F.CONTEXT_TOO_LONG),
    (400, openai("Your request was rejected as a result of our safety system.", "content_policy_violation"), F.REFUSAL),
    (400, openai("Unsupported parameter: 'logprobs'", "unsupported_parameter"), F.CAPABILITY),
    (500, openai("The server had an error", None, "server_error"), F.SERVER),
    (503, openai("The engine is currently overloaded, please try again later"), F.OVERLOADED),
    # Anthropic
    (401, anthropic("invalid x-api-key", "authentication_error"), F.AUTH),
    (403, anthropic("Your API key lacks permission", "permission_error"), F.AUTH),
    (404, anthropic("model: claude-9", "not_found_error"), F.MODEL_MISSING),
    (413, anthropic("Request exceeds the maximum size", "request_too_large"), F.CONTEXT_TOO_LONG),
    (429, anthropic("This request would exceed your rate limit", "rate_limit_error"), F.RATE_LIMIT),
    (429, anthropic("Spend limit", "rate_limit_error", "enforced_spend_limit_reached"), F.QUOTA),
    (529, anthropic("Overloaded", "overloaded_error"), F.OVERLOADED),
    (500, anthropic("Internal server error", "api_error"), F.SERVER),
    (402, anthropic("Payment failed", "billing_error"), F.QUOTA),
    (400, anthropic("prompt is too long: 208310 tokens > 200000 maximum", "invalid_request_error"), F.CONTEXT_TOO_LONG),
    (
        400,
        anthropic("input length and `max_tokens` exceed context limit: 19 + 2 > 20", "invalid_request_error"),
        F.CONTEXT_TOO_LONG,
    ),
    (400, anthropic("Your credit balance is too low to access the Anthropic API.", "invalid_request_error"), F.QUOTA),
    (400, anthropic("You have reached your specified API usage limits.", "invalid_request_error"), F.QUOTA),
    (400, anthropic("messages: at least one message is required", "invalid_request_error"), F.CAPABILITY),
    # Ollama
    (404, ollama("model 'qwen:7b' not found"), F.MODEL_MISSING),
    (404, ollama('model "x" not found, try pulling it first'), F.MODEL_MISSING),
    (500, ollama("model requires more system memory (7.5 GiB) than is available (5.2 GiB)"), F.OUT_OF_MEMORY),
    (500, ollama("llama runner process has terminated: cudaMalloc failed: out of memory"), F.OUT_OF_MEMORY),
    (500, ollama("llama runner process has terminated: signal: killed"), F.OUT_OF_MEMORY),
    (500, ollama("llama runner process has terminated: exit status 2"), F.SERVER),
    (500, ollama("llama-server process has terminated: exit status 1: error loading model: bad file"), F.SERVER),
    (400, ollama("the input length exceeds the context length"), F.CONTEXT_TOO_LONG),
    (400, ollama(NESTED), F.CONTEXT_TOO_LONG),
    (400, ollama('"gemma" does not support tools'), F.CAPABILITY),
    (503, ollama("server busy, please try again.  maximum pending requests exceeded"), F.OVERLOADED),
    (404, "404 page not found", F.MALFORMED),
    (503, "no model could take the call: model small is not available: barn is down", F.SERVER),
    # llama.cpp, llama-cpp-python, vLLM
    (400, NESTED, F.CONTEXT_TOO_LONG),
    (503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', F.OVERLOADED),
    (
        500,
        openai("Requested tokens (2285) exceed context window of 2048", None, "internal_server_error"),
        F.CONTEXT_TOO_LONG,
    ),
    (400, openai("Requested tokens (2285) exceed context window of 2048"), F.CONTEXT_TOO_LONG),
    (
        400,
        json.dumps(
            {
                "object": "error",
                "message": "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens.",
                "type": "BadRequestError",
                "code": 400,
            }
        ),
        F.CONTEXT_TOO_LONG,
    ),
    (400, json.dumps({"object": "error", "message": "max_tokens must be at least 1, got -186."}), F.CONTEXT_TOO_LONG),
    (400, openai("The decoder prompt is longer than the maximum model length of 4096."), F.CONTEXT_TOO_LONG),
    (404, json.dumps({"object": "error", "message": "The model `a/b` does not exist.", "code": 404}), F.MODEL_MISSING),
    # OpenRouter, DeepSeek, Gemini, Mistral
    (402, json.dumps({"error": {"code": 402, "message": "Insufficient credits"}}), F.QUOTA),
    (403, json.dumps({"error": {"code": 403, "message": "Your input was flagged for violence"}}), F.REFUSAL),
    (402, openai("Insufficient Balance", "invalid_request_error", "unknown_error"), F.QUOTA),
    (429, json.dumps([{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}]), F.RATE_LIMIT),
    (
        400,
        json.dumps([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]),
        F.AUTH,
    ),
    (422, json.dumps({"detail": [{"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}]}), F.CAPABILITY),
    # whatever stands in between
    (502, "<html><body>Bad Gateway</body></html>", F.SERVER),
    (504, "", F.SERVER),
    (408, "", F.TIMEOUT),
    (405, "Method Not Allowed", F.MALFORMED),
    (302, "", F.MALFORMED),
    (418, "", F.CAPABILITY),
    (429, "", F.RATE_LIMIT),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_each_answer_has_its_class(status: int, body: str, kind: F) -> None:
    """Codes beat wordings, wordings beat the status."""
    assert classify_answer(status, {}, body.encode(), 0).kind is kind


def test_what_a_server_repeats_of_the_request_is_no_word_of_its_own() -> None:
    """A prompt that speaks of context windows does not make a broken server say that the prompt is too long."""
    said = "10 validation errors: Input should be a valid string, input: " + "x" * SEARCHED_CHARS
    body = json.dumps({"error": {"message": f"{said} the context window is too small"}}).encode()

    assert classify_answer(500, {}, body, 0).kind is F.SERVER


def test_the_innermost_message_is_shown() -> None:
    """Ollama hands on its engine's error as JSON inside JSON; people want the sentence."""
    fault = classify_answer(400, {}, ollama(NESTED).encode(), 0)

    assert fault.message.startswith("HTTP 400: request (2622 tokens) exceeds")


@pytest.mark.parametrize(
    ("status", "waits"), [(429, 2_000), (503, 2_000), (529, 2_000), (402, 2_000), (401, None), (413, None)]
)
def test_a_wait_is_reported_only_where_waiting_helps(status: int, waits: int | None) -> None:
    """A proxy may add Retry-After to anything."""
    assert classify_answer(status, {"retry-after": "2"}, b"", 0).retry_after_ms == waits


def test_the_wait_inside_a_google_error_is_found() -> None:
    """It is a detail of the error, not a header."""
    body = json.dumps([{"error": {"code": 429, "message": "x", "details": [{"retryDelay": "34s"}]}}])

    assert classify_answer(429, {}, body.encode(), 0).retry_after_ms == 34_000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (anthropic("Overloaded", "overloaded_error"), F.OVERLOADED),
        (json.dumps({"error": {"code": 502, "message": "Provider disconnected"}}), F.SERVER),
        (json.dumps({"error": {"code": 429, "message": "too fast"}}), F.RATE_LIMIT),
        (ollama("an error was encountered while running the model: CUDA error: out of memory"), F.OUT_OF_MEMORY),
        (ollama("unexpected EOF"), F.SERVER),
        ("{}", F.SERVER),
    ],
)
def test_errors_inside_a_stream_have_their_class(body: str, kind: F) -> None:
    """HTTP said success before; a code in the body takes the place of the status."""
    assert classify_stream_error(body.encode(), 0).kind is kind


@pytest.mark.parametrize("problem", Problem)
def test_every_connection_problem_has_a_class_and_a_line(problem: Problem) -> None:
    """And names where it happened."""
    fault = classify_problem(problem, "box:11434", "detail")

    assert fault.kind in (F.NETWORK, F.CUT, F.MALFORMED)
    assert "box:11434" in fault.message


@given(status=st.integers(300, 599), body=st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "detail", "details", "message", "msg", "code", "type", "status"]), inner, max_size=4),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_body_is_too_strange(status: int, body: bytes) -> None:
    """Any answer other than success gets a class and a message of one bounded line."""
    fault = classify_answer(status, {}, body, 0)

    assert isinstance(fault.kind, F)
    assert len(fault.message) <= 300
    assert fault.message.isprintable()


def test_deep_nesting_is_no_attack() -> None:
    """A body nested a hundred thousand times is text like any other."""
    assert classify_answer(500, {}, b"[" * 100_000, 0).kind is F.SERVER


def test_one_line_keeps_what_people_read() -> None:
    """Line ends and control characters become single spaces; the rest is cut with dots."""
    assert one_line("a\r\n\tb\x00\x1b[31m c") == "a b [31m c"
    assert one_line("x" * 400) == "x" * 297 + "..."


def test_a_key_in_a_message_is_replaced() -> None:
    """Some servers echo the key they refuse."""
    assert redact("bad key sk-123", "sk-123") == "bad key [key]"
    assert redact("no key", "") == "no key"
