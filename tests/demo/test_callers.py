"""The demo's live calls: sent as programs send them, read back from the records, never in the way of the story."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ostler.demo.callers import AWAY, CALM, Callers, call_row
from ostler.domain.live import CallAttempt, CallRecord
from ostler.gateway.face import TALKS
from ostler.wire.formats import codec


@contextmanager
def listening(status: int) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that answers everything with a status; its address, and what it was asked."""
    asked: list[tuple[str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, body))
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as in the base class
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_question_is_one_that_the_gateway_takes() -> None:
    """Its path is served, and its body is a request of that path's format."""
    for question in (*CALM, *AWAY):
        body = msgspec.json.encode(question.body)
        assert codec(TALKS[question.path]).decode_ask(body).turns


def test_all_are_asked_at_once_and_waited_for() -> None:
    """Each once, whatever the answer is: a refusal is in the hub's records."""
    for status in (200, 503):
        with listening(status) as (url, asked):
            callers = Callers(url)
            callers.ask(CALM)
            callers.ask(AWAY)
            assert callers.wait() == len(CALM) + len(AWAY)
        assert sorted(path for path, _ in asked) == sorted(question.path for question in (*CALM, *AWAY))


def test_a_hub_that_is_gone_stops_no_story() -> None:
    """The thread ends; that the call is missing shows in the report."""
    callers = Callers("http://127.0.0.1:1")
    callers.ask(CALM)
    assert callers.wait() == len(CALM)


def test_a_row_sums_up_what_all_attempts_took() -> None:
    """Tokens of failed attempts are paid too."""
    attempt = CallAttempt(
        endpoint="a", model="m", tier="t", started_ms=0, duration_ms=5, input_tokens=10, output_tokens=2
    )
    record = CallRecord(
        id="c-1",
        at_ms=0,
        format="anthropic",
        path="/v1/messages",
        asked_model="auto",
        stream=True,
        status=200,
        attempts=(attempt, attempt),
        cost_micro_usd=None,
    )
    row = call_row(record)
    assert (row.attempts, row.input_tokens, row.output_tokens, row.cost_micro_usd) == (2, 20, 4, None)
