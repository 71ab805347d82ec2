"""The short way answers as the long one does, whatever is asked: status, headers, body, and the call of the hub."""

from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ostler.domain.errors import NotFoundError
from ostler.domain.work import Finished, Started
from ostler.web.app import build_app
from ostler.web.lane import Lane
from tests.web import samples
from tests.web.recording_hub import RecordingHub

Answer = tuple[int, dict[bytes, bytes], bytes]

REPORTS = msgspec.json.encode([
    Started(task_id="t", generation=1, at_ms=1),
    Finished(task_id="t", generation=1, at_ms=2, ok=True, output="x" * 5_000),
])  # fmt: skip
TASKS = b'{"tasks": [{"id": "a", "prompt": "write"}, {"id": "b", "kind": "command", "argv": ["true"]}]}'
GOOD: list[tuple[str, bytes]] = [
    ("/hub/tasks", TASKS),
    ("/hub/workers/s-1/heartbeat", b"null"),
    ("/hub/workers/s-1/heartbeat", msgspec.json.encode(samples.REPORT)),
    ("/hub/workers/s-1/poll", b'{"wait_ms": 0}'),
    ("/hub/workers/s-1/reports", REPORTS),
    ("/hub/workers/s-1/leave", b'{"life": "l"}'),
    ("/hub/workers/a b/leave", b"{}"),
]
BAD: list[tuple[str, bytes]] = [
    ("/hub/tasks", b""),
    ("/hub/tasks", b"{"),
    ("/hub/tasks", b'{"tasks": []}'),
    ("/hub/tasks", b'{"tasks": [{"prio": 1}]}'),
    ("/hub/workers/s-1/poll", b'{"wait_ms": -1}'),
    ("/hub/workers/s-1/reports", b'[{"type": "nothing"}]'),
    ("/hub/workers/s-1/sing", b"{}"),
    ("/hub/workers//poll", b'{"wait_ms": 0}'),
    ("/hub/workers/s-1/poll/again", b'{"wait_ms": 0}'),
    ("/hub/workers/s-1", b"{}"),
    ("/hub/workers/", b"{}"),
    ("/hub/tasks/", TASKS),
]
HEADERS: list[dict[str, str]] = [
    {},
    {"host": "evil.example"},
    {"origin": "http://evil.example"},
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"authorization": "Bearer wrong"},
    {"authorization": ""},
    {"content-length": "99999999999"},
]


async def ask(
    app: ASGIApp,
    path: str,
    body: bytes,
    headers: dict[str, str],
    *,
    method: str = "POST",
    pieces: int = 1,
    query: str = "",
) -> Answer:
    """One request, its body in so many pieces."""
    sent: list[Message] = []
    usual = {"host": "127.0.0.1:1", "content-type": "application/json", "authorization": "Bearer worker-token"}
    size = max(1, -(-len(body) // pieces))
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in (usual | headers).items() if value],
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
        "scheme": "http",
        "http_version": "1.1",
        "state": {},
    }
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


class Both:
    """The two ways into one hub."""

    def __init__(self, *, require_token: bool) -> None:
        self.hub = RecordingHub()
        app = build_app(self.hub, require_token=require_token)
        assert isinstance(app.middleware_stack, Lane)
        self.lane: ASGIApp = app  # as a server calls it
        self.short = app.middleware_stack
        stack = self.short._rest

        async def rest(scope: Scope, receive: Receive, send: Send) -> None:
            await stack({**scope, "app": app}, receive, send)

        self.rest: ASGIApp = rest

    async def agree(self, path: str, body: bytes, headers: dict[str, str], **more: Any) -> Answer:  # noqa: ANN401 - as `ask`
        """The answer, which is that of the long way too."""
        found = []
        for way in (self.lane, self.rest):
            self.hub.reset()
            found.append((await ask(way, path, body, headers, **more), list(self.hub.calls)))
        assert found[0] == found[1]
        return found[0][0]


@pytest.fixture(params=[False, True], ids=["open", "guarded"])
def both(request: pytest.FixtureRequest) -> Both:
    """On loopback, where people need no token, and where all do."""
    return Both(require_token=request.param)


@pytest.mark.parametrize(("path", "body"), GOOD + BAD)
async def test_both_ways_give_the_same_answer(both: Both, path: str, body: bytes) -> None:
    """To what is right and to what is wrong, whoever asks, in one piece or in several."""
    for headers in HEADERS:
        await both.agree(path, body, headers)
    await both.agree(path, body, {}, pieces=3)
    await both.agree(path, body, {}, query="limit=1&limit=2")
    for method in ("GET", "DELETE", "HEAD"):
        await both.agree(path, b"", {}, method=method)


@pytest.mark.parametrize(("path", "body"), GOOD)
async def test_what_is_asked_all_the_time_takes_the_short_way(path: str, body: bytes) -> None:
    """Else nothing is gained."""
    both = Both(require_token=False)

    async def nowhere(scope: Scope, *_: object) -> None:
        raise AssertionError(f"{scope['path']} went the long way")

    both.short._rest = nowhere

    status, headers, answered = await ask(both.lane, path, body, {})

    assert status in {200, 201}
    assert headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(answered)


async def test_a_refusal_of_the_hub_is_told_by_both_ways(both: Both) -> None:
    """In the one shape of all errors."""
    for error in (NotFoundError("no such session", remedy="join again"), RuntimeError("a password in a traceback")):
        answers = []
        for way in (both.lane, both.rest):
            both.hub.reset()
            both.hub.raises = error
            if isinstance(error, NotFoundError):
                answers.append(await ask(way, "/hub/workers/s-1/poll", b'{"wait_ms": 0}', {}))
            else:
                answers.append(await told_and_raised(way, error))
        assert answers[0] == answers[1]
        assert b"password" not in answers[0][2]


async def told_and_raised(way: ASGIApp, error: Exception) -> Answer:
    """A mistake of ours: the client hears that it is one, the server of which it is."""
    told: list[Message] = []

    async def send(message: Message) -> None:
        told.append(message)

    async def keep(scope: Scope, receive: Any, _send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        with pytest.raises(type(error)):
            await way(scope, receive, send)
        for message in told:
            await _send(message)

    return await ask(keep, "/hub/workers/s-1/poll", b'{"wait_ms": 0}', {})


async def test_a_body_that_grows_beyond_its_limit_is_refused_by_both_ways(both: Both) -> None:
    """Also where its length was not told, in one piece or many."""
    body = b"[" + b" " * (16 * 1024 * 1024) + b"]"
    for pieces in (1, 5):
        status, _, _ = await both.agree("/hub/workers/s-1/reports", body, {}, pieces=pieces)
        assert status == 413
