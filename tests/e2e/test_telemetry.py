"""What is seen of a real hub: told by a webhook, remembered over a kill, and without a word of a prompt."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ostler.domain.alerts import AlertState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.process import QUICK_PROFILE, HubProcess, until

CANARY = "canary-7f3a-of-a-prompt"
LAST_WORDS = "canary-2b9c-of-a-program"
QUICK = """\
alerts:
  every: 1s
  start_after: 0s
  rules:
    no_worker: {for: 0s, clear: 0s, cooldown: 0s}
    needs_human: {enabled: false}
    errors: {enabled: false}
    failure_share: {enabled: false}
telemetry:
  log_format: json
  log_events: true
"""


class Hook:
    """An address that remembers: alerts, and spans of traces."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.url = ""


@contextmanager
def hook() -> Iterator[Hook]:
    remembered = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            remembered.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    remembered.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield remembered
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scrape(hub: HubProcess) -> str:
    with urllib.request.urlopen(f"{hub.url}/metrics", timeout=10) as answer:  # noqa: S310 - our own address
        text: str = answer.read().decode()
    return text


def test_an_alert_is_told_once_remembered_over_a_kill_and_cleared(tmp_path: Path) -> None:
    """A hub without a worker: told by the webhook, acknowledged; killed and started again it says nothing new, and
    clears it when a worker is there.
    """
    work = TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))
    with hook() as remembered:
        profile = QUICK_PROFILE + QUICK.replace("alerts:", f"alerts:\n  webhooks: {{ops: {{url: '{remembered.url}'}}}}")
        hub = HubProcess(tmp_path, "--no-worker", profile=profile)
        with hub:
            hub.client.submit([work])
            until(lambda: bool(remembered.said), "the webhook is told")
            assert [row.id for row in hub.client.alerts().alerts] == ["no_worker"]
            hub.client.acknowledge("no_worker", by="ann", note="on it")
            hub.kill()

        again = HubProcess(tmp_path, "--no-worker", profile=profile)
        with again:
            (row,) = again.client.alerts().alerts
            assert (row.alert.state, row.alert.acknowledged_by) == (AlertState.ACKNOWLEDGED, "ann")
            assert again.stop() == 0

        last = HubProcess(tmp_path, profile=profile)
        with last:
            until(lambda: not last.client.alerts().alerts, "a worker clears it")
            until(lambda: len(remembered.said) > 1, "the end is told")
            told = [one["event"] for one in remembered.said]  # a hub that stops has no worker for a moment
            assert last.stop() == 0

    assert told == ["alert.raised", "alert.cleared"]


def test_no_word_of_a_prompt_is_in_logs_events_metrics_or_alerts(tmp_path: Path) -> None:
    """Prompts, arguments of commands, system prompts and what programs write: none of it is where it is only watched.
    The task itself has it, for that is where it belongs; and its failure tells the last words of a program.
    """
    specs = [
        TaskSpec(id="chat", prompt=f"say {CANARY}", system=f"you are {CANARY}"),
        TaskSpec(id="good", kind=TaskKind.COMMAND, argv=("echo", CANARY)),
        TaskSpec(id="bad", kind=TaskKind.COMMAND, argv=("sh", "-c", f"echo {LAST_WORDS}; exit 3"), max_attempts=1),
    ]
    with (
        hook() as traced,
        HubProcess(
            tmp_path,
            "--log-level",
            "debug",
            profile=QUICK_PROFILE + QUICK + f"  traces_url: {traced.url}\n",
        ) as hub,
    ):
        hub.client.submit(specs)
        until(lambda: hub.client.task("good").task.finished_ms is not None, "the command ended")
        until(lambda: hub.client.task("bad").task.finished_ms is not None, "the failure ended")
        watched = {
            "events": json.dumps([str(event) for event in hub.client.events(0, 1_000).events]),
            "metrics": scrape(hub),
            "alerts": str(hub.client.alerts(every=True)),
            "status": str(hub.client.status()),
        }
        kept = hub.client.task("good").output
        assert hub.stop() == 0
        watched["log"] = hub.log.read_text(encoding="utf-8")
        watched["spans"] = json.dumps(traced.said)

    assert CANARY in (kept or "")
    assert [name for name, text in watched.items() if CANARY in text] == []
    assert [name for name, text in watched.items() if LAST_WORDS in text] == ["events"]
    lines = [json.loads(line) for line in watched["log"].splitlines() if line.startswith("{")]
    assert {"task.submitted", "scheduler.route", "task.succeeded"} <= {line["event"] for line in lines}
    routes = [line for line in lines if line["event"] == "scheduler.route"]
    named = {"selected_model", "selected_endpoint", "classification_reason"}
    assert all(named <= {*line, *_unsaid(line)} for line in routes)
    spans = [span for one in traced.said for span in _spans(one)]
    assert {"task command", "attempt", "queue", "decide"} <= {span["name"] for span in spans}
    families = {family.name for family in text_string_to_metric_families(watched["metrics"])}
    assert {"ostler_tasks_ended", "ostler_decisions", "ostler_workers"} <= families


def _unsaid(line: dict[str, object]) -> set[str]:
    """A direct command has no model and no endpoint, and its line leaves them out."""
    return {"selected_model", "selected_endpoint"} if line.get("target_type") == "direct" else set()


def _spans(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [span for one in request["resourceSpans"] for scope in one["scopeSpans"] for span in scope["spans"]]
