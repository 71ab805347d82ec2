"""Every error has one shape, the right status, the place and a remedy."""

import socket
from collections.abc import Iterator

import pytest

from ostler.domain.errors import (
    ConflictError,
    CycleError,
    InvalidInputError,
    LimitReachedError,
    NotAllowedError,
    NotFoundError,
    OstlerError,
    UnreachableError,
)
from ostler.web.serve import ServeSettings
from tests.web.asking import ask
from tests.web.recording_hub import PATIENCE_S, ServedHub, served_hub

ERRORS: list[tuple[OstlerError, int, str]] = [
    (InvalidInputError("no tier 'standart'", where="tier", remedy="did you mean 'standard'?"), 400, "invalid_input"),
    (CycleError(("a", "b", "a")), 400, "cycle"),
    (NotAllowedError("not here", where="box"), 403, "not_allowed"),
    (NotFoundError("no task 't-x'", where="task"), 404, "not_found"),
    (ConflictError("it is final", remedy="retry it"), 409, "conflict"),
    (LimitReachedError("it has spent $5.00 of $5.00", remedy="its day ends soon"), 429, "limit_reached"),
    (UnreachableError("no answer", where="http://x"), 502, "unreachable"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=[row[2] for row in ERRORS])
def test_an_error_of_the_hub_keeps_its_four_parts(
    served: ServedHub, error: OstlerError, status: int, code: str
) -> None:
    """What is wrong, where, and what to do travel unchanged, under the status the error class fixes."""
    served.fails_with(error)

    got = ask(served, "GET", "/hub/status")

    assert got.status == status
    assert got.error == {"code": code, "message": error.what, "where": error.where, "remedy": error.remedy}


def test_a_mistake_of_ours_tells_nothing_of_the_inside(served: ServedHub) -> None:
    """An unexpected exception is a 500 in the same shape, without its text."""
    served.fails_with(RuntimeError("password in a traceback"))

    got = ask(served, "GET", "/hub/status")

    assert (got.status, got.error["code"]) == (500, "internal")
    assert "password" not in str(got.body)


BAD_BODIES: list[tuple[str, str, bytes, str, str, str]] = [
    # what is wrong, path, body, message, where, remedy
    ("truncated", "/hub/tasks", b'{"tasks": [', "not valid JSON", "body", "send a JSON document"),
    ("no JSON", "/hub/tasks", b"tasks=1", "not valid JSON", "body", "send a JSON document"),
    ("not UTF-8", "/hub/tasks", b'{"tasks": [{"id": "\xff"}]}', "not valid JSON", "body", "send a JSON document"),
    ("empty", "/hub/tasks", b"", "the body is empty", "body", "send a JSON document"),
    ("a list", "/hub/tasks", b"[]", "expected `object`, got `array`", "$", ""),
    ("no task", "/hub/tasks", b'{"tasks": []}', "length >= 1", "$.tasks", ""),
    (
        "unknown field",
        "/hub/tasks",
        b'{"tasks": [{"id": "a"}, {"id": "b", "promt": "x"}]}',
        "unknown field `promt`",
        "$.tasks[1]",
        "did you mean 'prompt'?",
    ),
    ("outer field", "/hub/tasks", b'{"task": []}', "unknown field `task`", "$", "did you mean 'tasks'?"),
    ("no id", "/hub/tasks", b'{"tasks": [{}]}', "missing required field `id`", "$.tasks[0]", ""),
    ("type", "/hub/tasks", b'{"tasks": [{"id": 3}]}', "expected `str`, got `int`", "$.tasks[0].id", ""),
    (
        "enum",
        "/hub/tasks",
        b'{"tasks": [{"id": "a", "kind": "chatt"}]}',
        "invalid enum value 'chatt'",
        "$.tasks[0].kind",
        "did you mean 'chat'?",
    ),
    (
        "priority",
        "/hub/tasks",
        b'{"tasks": [{"id": "a", "priority": "high"}]}',
        "expected `int`, got `str`",
        "$.tasks[0].priority",
        "valid: 0, 1, 2, 3",
    ),
    (
        "in an optional set",
        "/hub/route",
        b'{"id": "a", "capabilities": ["tool"]}',
        "invalid enum value 'tool'",
        "$.capabilities[0]",
        "did you mean 'tools'?",
    ),
    (
        "id with a slash",
        "/hub/tasks",
        b'{"tasks": [{"id": "a/b"}]}',
        "'a/b' cannot be used as a name",
        "$.tasks[0].id",
        "letters, digits",
    ),
    (
        "misspelt field of an endpoint",
        "/hub/endpoints",
        b'{"name":"x","kind":"ollama","url":"u","provider":"p","host":"h","local":true,"slot":3}',
        "unknown field `slot`",
        "$",
        "did you mean 'slots'?",
    ),
    (
        "key window",
        "/hub/keys",
        b'{"name": "a", "limit_window": "dya"}',
        "'dya'",
        "$.limit_window",
        "did you mean 'day'?",
    ),
    ("key field", "/hub/keys", b'{"name": "a", "modles": []}', "`modles`", "$", "did you mean 'models'?"),
    ("token scope", "/hub/tokens", b'{"name": "a", "scope": "admn"}', "'admn'", "$.scope", "did you mean 'admin'?"),
]


@pytest.mark.parametrize(
    ("path", "body", "message", "where", "remedy"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)
def test_a_bad_body_is_answered_with_place_and_remedy(
    served: ServedHub, path: str, body: bytes, message: str, where: str, remedy: str
) -> None:
    """The mistake is named where it is, with the nearest valid choice where there is one; the hub is not asked."""
    got = ask(served, "POST", path, body)

    assert (got.status, got.error["code"]) == (400, "invalid_input")
    assert message in got.error["message"]
    assert got.error["where"] == where
    assert remedy in got.error["remedy"]
    assert served.hub.calls == []


BAD_QUERIES = [
    ("/hub/tasks?state=queued,runing", "invalid enum value 'runing'", "`state[1]`", "did you mean 'running'?"),
    ("/hub/tasks?stat=queued", "unknown field `stat`", "query", "did you mean 'state'?"),
    ("/hub/tasks?limit=0", ">= 1", "`limit`", ""),
    ("/hub/tasks?limit=9999", "<= 1000", "`limit`", ""),
    ("/hub/tasks?limit=ten", "expected `int`", "`limit`", ""),
    ("/hub/tasks?limit=1&limit=2", "more than once", "`limit`", "once"),
    ("/hub/events?after=-1", ">= 0", "`after`", ""),
    ("/hub/status?x=1", "unknown field `x`", "query", ""),
    ("/hub/events/stream?after=x", "expected `int", "`after`", ""),
]


@pytest.mark.parametrize(("path", "message", "where", "remedy"), BAD_QUERIES)
def test_a_bad_query_is_answered_with_place_and_remedy(
    served: ServedHub, path: str, message: str, where: str, remedy: str
) -> None:
    """Query parameters are as strict as bodies: a misspelt one is refused, not ignored."""
    got = ask(served, "GET", path)

    assert got.status == 400
    assert message in got.error["message"]
    assert where in got.error["where"]
    assert remedy in got.error["remedy"]


@pytest.mark.parametrize("path", ["/hub/task", "/hub", "/hub/tasks/", "/hub/tasks/a/b", "/hub/tasks/a%2Fb"])
def test_an_unknown_path_is_a_404_in_json(served: ServedHub, path: str) -> None:
    """No redirect, no page: the answer says where the list of routes is."""
    got = ask(served, "GET", path)

    assert (got.status, got.error["code"]) == (404, "unknown_route")
    assert "/hub/openapi.json" in got.error["remedy"]


def test_a_misspelt_path_is_told_the_nearest_one(served: ServedHub) -> None:
    """A typing mistake in a path gets the nearest route."""
    assert "did you mean '/hub/status'?" in ask(served, "GET", "/hub/statu").error["remedy"]


def test_a_wrong_method_names_all_that_are_right(served: ServedHub) -> None:
    """405 with `Allow`, over all routes of the path and not only the first."""
    got = ask(served, "PUT", "/hub/tasks")

    assert (got.status, got.error["code"], got.headers["allow"]) == (405, "wrong_method", "GET, HEAD, POST")


@pytest.fixture(scope="module")
def narrow() -> Iterator[ServedHub]:
    """A hub that takes small bodies only."""
    with served_hub(settings=ServeSettings(require_token=False, max_body_bytes=1000)) as served:
        yield served


def test_a_body_above_the_limit_is_refused(narrow: ServedHub) -> None:
    """With the limit in the answer, so that the client knows how much it may send."""
    got = ask(narrow, "POST", "/hub/tasks", b'{"tasks": []}' + b" " * 1000)

    assert (got.status, got.error["code"]) == (413, "too_large")
    assert "1000 bytes" in got.error["message"]


def test_a_length_above_the_limit_is_refused_while_nothing_has_come(narrow: ServedHub) -> None:
    """Who says that too much will come is answered at once, not after it came."""
    head = (
        b"POST /hub/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=PATIENCE_S) as raw:
        raw.sendall(head)
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_of_unsaid_length_is_cut_at_the_limit(narrow: ServedHub) -> None:
    """Chunks are counted, so that leaving out the length does not get past the limit."""
    head = (
        b"POST /hub/tasks HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"100\r\n" + b" " * 0x100 + b"\r\n"
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=PATIENCE_S) as raw:
        raw.sendall(head + chunk * 5)
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_at_the_limit_is_taken(narrow: ServedHub) -> None:
    """The limit itself is still allowed."""
    body = b'{"tasks": [{"id": "a"}]}'

    assert ask(narrow, "POST", "/hub/tasks", body + b" " * (1000 - len(body))).status == 201
