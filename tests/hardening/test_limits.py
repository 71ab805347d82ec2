"""The page of limits is what the code has, and each limit holds: at its value things work, just beyond it they do not.

A limit that is tried elsewhere names that place: the file must speak of it by the word given here.
"""

import asyncio
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from ostler.app import turnstile
from ostler.cli import spec as cli_spec
from ostler.cli import taskfile
from ostler.client import http1 as client_http
from ostler.config import agent_files, sources
from ostler.config.document import DEPTH_MAX
from ostler.config.settings import AgentLimits, GatewaySettings, HubSettings
from ostler.domain.calls import CallError
from ostler.domain.errors import InvalidInputError, LimitReachedError, OstlerError, ProfileError
from ostler.domain.fleet import WorkerOffer
from ostler.domain.policy import SchedulerPolicy
from ostler.domain.rates import KEYS_MAX
from ostler.domain.tasks import TaskSpec
from ostler.fleet import http1 as upstream_http
from ostler.fleet import transport
from ostler.gateway import calls
from ostler.gateway.inbound import Door, Head
from ostler.gateway.service import BusyError, Gateway
from ostler.hub import accept, call_book, handing, link, people_desk, results, tokens
from ostler.hub.outbox import Outbox
from ostler.scheduling import failures, live
from ostler.server import asgi, connection
from ostler.telemetry import delivery, exporter, metrics
from ostler.web import bodies
from ostler.web.app import build_app
from ostler.web.decode import decode_json, decode_query
from ostler.web.pages import site
from ostler.web.routes import hub_routes
from ostler.web.serve import ServeSettings
from ostler.wire import framing
from ostler.workers import capture, outbox
from ostler.workers.runners import chat
from ostler.workers.runners.agents import lines, prompting
from tests.config.support import problems
from tests.fuzz.http_targets import House, Wire
from tests.hub.house import house
from tests.web.recording_hub import RecordingHub

PAGE = Path("docs/reference/limits.md")
HUB, CALLS, SCHEDULER = HubSettings(), GatewaySettings(), SchedulerPolicy()
JSON_DEPTH = 900


class Row(NamedTuple):
    """A limit of the page."""

    name: str
    value: int
    setting: str
    beyond: str
    tried: str


def page() -> list[Row]:
    """The rows of all tables."""
    found = []
    for text in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if text.startswith("|") and len(cells) == len(Row._fields) and cells[1].isdigit():
            found.append(Row(cells[0], int(cells[1]), cells[2].strip("`"), cells[3], cells[4].strip("`")))
    return found


# what is tried here


async def _answered(method: str, path: str, body: bytes, kind: str = "application/json") -> int:
    said: list[Any] = []
    incoming = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:  # noqa: ANN401 -- a message of ASGI
        return next(incoming, {"type": "http.disconnect"})

    async def send(message: Any) -> None:  # noqa: ANN401 -- as above
        said.append(message)

    app = build_app(RecordingHub(), require_token=False)
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"content-type", kind.encode())], "http_version": "1.1", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return int(said[0]["status"])


def _body() -> None:
    task, most = b'{"tasks":[{"id":"a","prompt":"x"}]}', ServeSettings(require_token=False).max_body_bytes
    assert asyncio.run(_answered("POST", "/hub/tasks", task.ljust(most))) == 201
    assert asyncio.run(_answered("POST", "/hub/tasks", task.ljust(most + 1))) == 413


def _form() -> None:
    form = "application/x-www-form-urlencoded"
    most = site.FORM_BYTES_MAX
    assert asyncio.run(_answered("POST", "/login", b"token=".ljust(most, b"x"), form)) == 401
    assert asyncio.run(_answered("POST", "/login", b"token=".ljust(most + 1, b"x"), form)) == 413


def _connections() -> None:
    async def play() -> None:
        made = House()
        made.connections = set(range(connection.CONNECTIONS_MAX - 1))  # type: ignore[arg-type]
        last, beyond = Wire(), Wire()
        connection.Connection(made).connection_made(last)
        connection.Connection(made).connection_made(beyond)
        assert (last.closed, beyond.closed) == (False, True)

    asyncio.run(play())


def _depth() -> None:
    deep = b'{"name":"w","host":"h","slots":{},"more":' + b"[" * JSON_DEPTH + b"]" * JSON_DEPTH + b"}"
    decode_json(deep, WorkerOffer)
    too_deep = b'{"name":"w","host":"h","slots":{},"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    _refused(lambda: decode_json(too_deep, WorkerOffer), "nested too deeply")


def _rows() -> None:
    (tasks,) = (row for row in hub_routes() if (row.method, row.path) == ("GET", "/hub/tasks"))
    decode_query([("limit", str(bodies.MAX_PAGE))], tasks.query)
    _refused(lambda: decode_query([("limit", str(bodies.MAX_PAGE + 1))], tasks.query), "limit")


def _wait() -> None:
    decode_json(b'{"wait_ms":%d}' % bodies.MAX_WAIT_MS, bodies.PollBody)
    _refused(lambda: decode_json(b'{"wait_ms":%d}' % (bodies.MAX_WAIT_MS + 1), bodies.PollBody), "wait_ms")


def _held() -> None:
    waits: list[int] = []

    class Box(Outbox):
        async def fetch(self, wait_ms: int, lease_ms: int) -> Any:  # noqa: ANN401 -- not looked at
            waits.append(wait_ms)
            return await super().fetch(0, lease_ms)

    async def play() -> None:
        async with house() as built:
            session = await built.hub.link.join(WorkerOffer(name="w", host="h", slots={}))
            built.pump.outboxes[session.id] = Box()
            for wait_ms in (link.MAX_POLL_MS, link.MAX_POLL_MS + 1):
                await built.hub.link.poll(session.id, wait_ms)

    asyncio.run(play())
    assert waits == [link.MAX_POLL_MS] * 2


def _batch() -> None:
    many = [TaskSpec(id=f"t{number}", prompt="x") for number in range(accept.MAX_BATCH + 1)]
    accept.check_batch(many[:-1], {})
    _refused(lambda: accept.check_batch(many, {}), "tasks at once")


def _open_tasks() -> None:
    one = [TaskSpec(id="new", prompt="x")]
    accept.check_room(one, set(), HUB.max_open_tasks - 1, HUB.max_open_tasks)
    with pytest.raises(LimitReachedError, match="may be open"):
        accept.check_room(one, set(), HUB.max_open_tasks, HUB.max_open_tasks)


def _id() -> None:
    accept.check_batch([TaskSpec(id="a" * accept.MAX_ID_LENGTH, prompt="x")], {})
    _refused(lambda: accept.check_batch([TaskSpec(id="a" * (accept.MAX_ID_LENGTH + 1), prompt="x")], {}), "no task id")


def _answer() -> None:
    async def play() -> None:
        async with house() as built:
            most = people_desk.ANSWER_CHARACTERS_MAX
            with pytest.raises(OstlerError, match="there is no task"):
                await built.hub.people.answer("gone", "a" * most)
            with pytest.raises(InvalidInputError, match="characters"):
                await built.hub.people.answer("gone", "a" * (most + 1))

    asyncio.run(play())


def _token_name() -> None:
    async def play() -> None:
        async with house() as built:
            await built.hub.tokens.make("a" * tokens.NAME_LENGTH_MAX, "worker")
            with pytest.raises(InvalidInputError, match="needs a name"):
                await built.hub.tokens.make("a" * (tokens.NAME_LENGTH_MAX + 1), "worker")

    asyncio.run(play())


def _in_line() -> None:
    hub = SimpleNamespace(settings=CALLS, views=dict, key_needed=False)
    gateway, head = Gateway(cast("Any", hub), Door()), Head(method="POST", path="/v1/messages")
    gateway.open = dict.fromkeys(cast("Any", range(CALLS.max_waiting - 1)))
    assert gateway.key_of(head) is None
    gateway.open[cast("Any", "one more")] = None
    with pytest.raises(BusyError) as caught:
        gateway.key_of(head)
    assert (caught.value.http_status, caught.value.retry_after_ms) == (503, 1_000)


def _whole_answer() -> None:
    calls._check_size(bytearray(calls.ANSWER_BYTES_MAX))
    with pytest.raises(CallError, match="larger than"):
        calls._check_size(bytearray(calls.ANSWER_BYTES_MAX + 1))


def _stream_line() -> None:
    piece = b"a" * (1024 * 1024)
    splitter = framing.LineSplitter()
    for _ in range(framing.MAX_LINE_BYTES // len(piece)):
        splitter.feed(piece)
    with pytest.raises(framing.LineTooLongError):
        splitter.feed(b"aa")


def _profile(path: Path) -> None:
    source = sources.Source(path=path, label="ostler.yaml", name="x")
    path.write_bytes(b"#".ljust(sources.BYTES_MAX))
    sources.read_text(source)
    path.write_bytes(b"#".ljust(sources.BYTES_MAX + 1))
    _refused(lambda: sources.read_text(source), "at most")


def _yaml() -> None:
    def nested(depth: int) -> str:
        return "x: " + "[" * depth + "]" * depth

    assert not any("nested deeper" in problem.what for problem in problems(nested(DEPTH_MAX - 1)))
    assert any("nested deeper" in problem.what for problem in problems(nested(DEPTH_MAX + 1)))


def _tasks_file(path: Path) -> None:
    path.write_bytes(b"#".ljust(taskfile.BYTES_MAX))
    taskfile.read_text(str(path))
    path.write_bytes(b"#".ljust(taskfile.BYTES_MAX + 1))
    _refused(lambda: taskfile.read_text(str(path)), "at most")


def _agent() -> None:
    agent_files.parse_agent(b"text".ljust(agent_files.BYTES_MAX), "a.md")
    _refused(lambda: agent_files.parse_agent(b"text".ljust(agent_files.BYTES_MAX + 1), "a.md"), "at most")


def _agents(path: Path) -> None:
    path.mkdir()
    for number in range(agent_files.FILES_MAX + 1):
        (path / f"{number:05}.md").write_text("nobody", encoding="utf-8")
    assert len(agent_files.read_agents([str(path)]).passed_over) == agent_files.FILES_MAX


def _output() -> None:
    kept = capture.Capture()
    kept.feed(b"a" * capture.DEFAULT_LIMIT_BYTES)
    assert "cut" not in kept.text()
    kept.feed(b"b")
    assert "[... 1 bytes cut ...]" in kept.text()


def _prompt() -> None:
    spec = TaskSpec(id="t", prompt="a" * prompting.PROMPT_BYTES_MAX)
    assert len(prompting.prompt_of(spec, [])) > prompting.PROMPT_BYTES_MAX
    run = Path("src/ostler/workers/runners/agents/runner.py").read_text(encoding="utf-8")
    assert "length > PROMPT_BYTES_MAX" in run, "nobody asks how long a prompt may be"


def _refused(do: Callable[[], object], says: str) -> None:
    with pytest.raises((InvalidInputError, ProfileError), match=says):
        do()


class Here(NamedTuple):
    """Tried by a function of this file."""

    value: int
    probe: Callable[..., None]


class There(NamedTuple):
    """Tried in the file that the page names, which speaks of it by a word."""

    value: int
    word: str


LIMITS: Mapping[str, Here | There] = {
    "bytes of a body": Here(ServeSettings(require_token=False).max_body_bytes, _body),
    "bytes of a form of the dashboard": Here(site.FORM_BYTES_MAX, _form),
    "bytes of a head": There(connection.HEAD_BYTES_MAX, "431"),
    "seconds for a head": There(round(connection.HEAD_S), "408"),
    "seconds for a body": There(round(asgi.BODY_S), "BODY_S"),
    "seconds without a request": There(round(connection.REST_S), "REST_S"),
    "requests in line on one connection": There(connection.QUEUE_MAX, "QUEUE_MAX"),
    "bytes thrown away after a refusal": There(connection.DISCARD_BYTES_MAX, "DISCARD_BYTES_MAX"),
    "connections at once": Here(connection.CONNECTIONS_MAX, _connections),
    "requests a second of one client": There(HUB.requests_per_second, "BURST_S"),
    "requests at once of one client": There(HUB.max_open_requests, "open_requests"),
    "failed sign-ins a minute": There(HUB.sign_in_failures_per_minute, "sign_in_failures_per_minute"),
    "clients that are counted": There(KEYS_MAX, "keys_max"),
    "depth of JSON": Here(JSON_DEPTH, _depth),
    "rows of a page": Here(bodies.MAX_PAGE, _rows),
    "milliseconds that a poll asks for": Here(bodies.MAX_WAIT_MS, _wait),
    "milliseconds that a poll is held": Here(link.MAX_POLL_MS, _held),
    "tasks in one submit": Here(accept.MAX_BATCH, _batch),
    "open tasks": Here(HUB.max_open_tasks, _open_tasks),
    "characters of an id": Here(accept.MAX_ID_LENGTH, _id),
    "characters of a derived title": There(accept.MAX_TITLE_LENGTH, "MAX_TITLE_LENGTH"),
    "characters of an answer": Here(people_desk.ANSWER_CHARACTERS_MAX, _answer),
    "attempts": There(SCHEDULER.max_attempts, "max_attempts"),
    "attempts lost with their workers": There(failures.MAX_LOST_ATTEMPTS, "MAX_LOST_ATTEMPTS"),
    "characters handed on from needs": There(handing.MAX_CHARACTERS, "MAX_CHARACTERS"),
    "characters of the results of a run": There(results.MAX_CHARACTERS, "MAX_CHARACTERS"),
    "characters of the name of a token or key": Here(tokens.NAME_LENGTH_MAX, _token_name),
    "bytes of a call": There(CALLS.max_body_bytes, "BodyTooLargeError"),
    "milliseconds that a call waits for money that other pools hold": There(live.PART_WAIT_MS, "PART_WAIT_MS"),
    "calls in line": Here(CALLS.max_waiting, _in_line),
    "attempts of a call": There(CALLS.attempts, "attempts"),
    "bytes of a whole answer": Here(calls.ANSWER_BYTES_MAX, _whole_answer),
    "bytes of a line of a stream": Here(framing.MAX_LINE_BYTES, _stream_line),
    "bytes of an endpoint's head": There(upstream_http.HEAD_BYTES_MAX, "HEAD_BYTES_MAX"),
    "bytes of an endpoint's listing": There(transport.MAX_BODY_BYTES, "limit_bytes"),
    "records in line for the store": There(call_book.MAX_WAITING, "max_waiting"),
    "bytes of a profile": Here(sources.BYTES_MAX, _profile),
    "depth of YAML": Here(DEPTH_MAX, _yaml),
    "bytes of a file of tasks": Here(taskfile.BYTES_MAX, _tasks_file),
    "bytes of an agent's file": Here(agent_files.BYTES_MAX, _agent),
    "agents' files in a folder": Here(agent_files.FILES_MAX, _agents),
    "bytes from standard input": There(cli_spec.MAX_INPUT_BYTES, "MAX_INPUT_BYTES"),
    "bytes of an answer to the command line": There(client_http.BODY_BYTES_MAX, "http client"),
    "headers of an answer to the command line": There(client_http.HEADERS_MAX, "too many headers"),
    "bytes kept of a command's output": Here(capture.DEFAULT_LIMIT_BYTES, _output),
    "bytes kept of a model's answer": There(chat.ANSWER_LIMIT_BYTES, "ANSWER_LIMIT_BYTES"),
    "bytes an agent may print": There(AgentLimits().output_bytes, "output_bytes"),
    "bytes of a line of an agent": There(lines.LINE_MAX_BYTES, "LineCutter"),
    "bytes of a prompt in arguments": Here(prompting.PROMPT_BYTES_MAX, _prompt),
    "reports at once": There(outbox.BATCH_REPORTS_MAX, "BATCH_REPORTS_MAX"),
    "series of a metric": There(metrics.SERIES_MAX, "SERIES_MAX"),
    "spans in line": There(exporter.WAITING_MAX, "WAITING_MAX"),
    "alerts in line for one place": There(delivery.WAITING_MAX, "WAITING_MAX"),
}


def test_the_page_names_every_limit_of_this_file_and_no_other() -> None:
    """In the same order, so that both are read side by side."""
    assert [row.name for row in page()] == list(LIMITS)


@pytest.mark.parametrize("row", page(), ids=lambda row: row.name)
def test_each_limit_is_what_the_page_says(row: Row, tmp_path: Path) -> None:
    """Its number is the code's, its setting exists, and it is tried."""
    limit = LIMITS[row.name]
    assert row.value == limit.value
    assert row.beyond, "nobody says what happens beyond it"
    if isinstance(limit, There):
        assert limit.word in Path(row.tried).read_text(encoding="utf-8"), f"{row.tried} does not try it"
        return
    assert row.tried == "here"
    if limit.probe.__annotations__.get("path") is not None:
        limit.probe(tmp_path / "file.yaml")
    else:
        limit.probe()


def test_each_setting_of_the_page_is_one() -> None:
    """As the reference of the profile writes it."""
    reference = Path("docs/reference/profile.md").read_text(encoding="utf-8")
    for row in page():
        if row.setting:
            assert re.search(rf"^\| `{re.escape(row.setting)}` \|", reference, re.MULTILINE), row.setting


def test_a_burst_is_ten_seconds_of_the_rate() -> None:
    """As the page on the API says."""
    assert turnstile.BURST_S == 10
    assert sys.getrecursionlimit() >= JSON_DEPTH
    assert msgspec.json.decode(b"[" * 500 + b"]" * 500)
