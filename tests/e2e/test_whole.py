"""The whole of it as a user has it: simulated machines on real ports, a hub, the command line; nothing is faked."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ostler.domain.states import TaskState
from ostler.domain.tasks import Complexity, TaskSpec
from tests.e2e.process import QUICK_PROFILE, HubProcess, Process, until

NO_HUB = {"OSTLER_HUB": "http://127.0.0.1:1"}
"""Nothing listens there: a hub of the person who runs the tests is not asked."""


EVERYWHERE = "0.0.0.0"  # noqa: S104 - what the test is about


def ostler(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ostler.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GOOD_KEY": "sk-simulated",
            "BAD_KEY": "sk-wrong",
            **NO_HUB,
        },
    )


class SimulatedHost(Process):
    """A simulated machine; tells its address on its first line."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(folder, "simulate-host", "--preset", "laptop", "--port", str(port), "--speed", "500")
        until(lambda: re.search(r"http://[\d.:]+", self.log.read_text(encoding="utf-8")) is not None, "it answers")
        found = re.search(r"http://[\d.:]+", self.log.read_text(encoding="utf-8"))
        assert found is not None
        self.url = found[0]


def test_a_chat_runs_on_a_simulated_host_survives_its_outage_and_explains_itself(tmp_path: Path) -> None:
    """Routed, run, charged with usage; waits with its reason while the host is away; runs when it is back."""
    with SimulatedHost(tmp_path) as host:
        port = int(host.url.rsplit(":", 1)[1])
        profile = QUICK_PROFILE.replace("provider: ollama", f"provider: ollama\n      base_url: {host.url}").replace(
            "retry_base: 100ms", "retry_base: 100ms\n  probe_interval: 300ms\n  probe_timeout: 300ms"
        )
        with HubProcess(tmp_path, profile=profile) as hub:
            first = TaskSpec(id="first", prompt="Name three horses.", complexity=Complexity.STANDARD)
            hub.client.submit([first])
            until(lambda: hub.client.task("first").task.state is TaskState.SUCCEEDED, "the first chat ends")
            answer = hub.client.task("first")
            assert answer.output is not None
            assert "simulated" in answer.output
            usage = answer.attempts[0].usage
            assert usage is not None
            assert usage.output_tokens > 0
            assert answer.decisions[0].selected_model == "llama3.2:3b"
            host.kill()

            def is_down() -> bool:
                return hub.client.endpoints().endpoints[0].view.health == "down"

            until(is_down, "the outage is noticed")
            hub.client.submit([TaskSpec(id="second", prompt="Name three more.", complexity=Complexity.STANDARD)])
            until(lambda: hub.client.task("second").task.wait is not None, "it waits")
            why = ostler(tmp_path, "why", "--hub", hub.url, "second")
            assert why.returncode == 0
            assert "endpoint down" in why.stdout
            with SimulatedHost(tmp_path, port):
                until(lambda: hub.client.task("second").task.state is TaskState.SUCCEEDED, "it runs on recovery")
            names = [event.name for event in hub.client.events().events]
            assert names.count("endpoint.up") == 2
            assert hub.stop() == 0


def test_a_changed_profile_is_taken_over_and_a_broken_one_refused_whole(tmp_path: Path) -> None:
    """The hub goes on under the old one, and everyone is told."""
    with HubProcess(tmp_path) as hub:
        before = hub.client.status().policy_version
        path = tmp_path / "ostler.yaml"
        path.write_text(QUICK_PROFILE.replace("provider", "provder"), encoding="utf-8")

        def told(name: str) -> bool:
            return any(event.name == name for event in hub.client.events().events)

        until(lambda: told("config.refused"), "the broken profile is refused")
        assert hub.client.status().policy_version == before
        refusal = next(event for event in hub.client.events().events if event.name == "config.refused")
        assert "did you mean 'provider'" in str(refusal.metadata["message"])
        path.write_text(QUICK_PROFILE.replace("retry_base: 100ms", "retry_base: 250ms"), encoding="utf-8")
        until(lambda: told("config.changed"), "the changed profile is in force")
        assert hub.client.status().policy_version != before
        assert hub.stop() == 0


class Provider(BaseHTTPRequestHandler):
    """A provider that knows one key and has a bad day when it is told to."""

    status = 200

    def do_GET(self) -> None:
        """Answer a listing."""
        known = self.headers.get("Authorization") == "Bearer sk-simulated"
        code = self.status if known else 401
        body = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]} if code == 200 else {}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[str]:
    """The address of a provider."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
    Provider.status = 200


PROBED = """\
routing:
  tiers:
    only: {{models: [m]}}
providers:
  p: {{kind: openai}}
endpoints:
  - {{name: good, provider: p, url: {url}, api_key_env: GOOD_KEY, models: [m]}}
  - {{name: bad, provider: p, url: {url}, api_key_env: BAD_KEY, models: [m]}}
  - {{name: nokey, provider: p, url: {url}, api_key_env: NO_SUCH_KEY, models: [m]}}
  - {{name: gone, provider: p, url: "http://127.0.0.1:9", api_key_env: GOOD_KEY, models: [m]}}
"""


def test_the_exit_code_of_a_check_is_the_same_from_the_cache_and_fresh(tmp_path: Path, provider: str) -> None:
    """0 available, 1 unavailable, 2 rate limited, 3 invalid key or none."""
    (tmp_path / "ostler.yaml").write_text(PROBED.format(url=provider), encoding="utf-8")
    for name, code in (("good", 0), ("gone", 1), ("bad", 3), ("nokey", 3)):
        fresh, cached = (ostler(tmp_path, "endpoints", "check", name) for _ in range(2))
        assert (fresh.returncode, cached.returncode) == (code, code), (name, fresh.stderr, cached.stderr)
        assert "sk-" not in fresh.stdout + fresh.stderr + cached.stdout + cached.stderr
    Provider.status = 429
    limited = [ostler(tmp_path, "endpoints", "check", *flags) for flags in (("good", "--force"), ("good",))]
    assert [one.returncode for one in limited] == [2, 2]


def test_bad_starts_say_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    """A profile with a mistake, a port that is taken, a folder that cannot be made: exit code 2 and no traceback."""
    (tmp_path / "broken.yaml").write_text("routing:\n  tiers:\n    a: {modle: x}\n", encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as taken:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        cases = [
            (["up", "--profile", "broken.yaml"], "broken.yaml:3", "model"),
            (["up", "--port", str(taken.server_address[1]), "--data-dir", "d"], "cannot listen", "--port"),
            (["up", "--port", "0", "--data-dir", "file/x"], "cannot make", "--data-dir"),
            (["up", "--profile", "nowhere.yaml"], "nowhere.yaml", ""),
        ]
        for arguments, what, remedy in cases:
            done = ostler(tmp_path, *arguments)
            assert done.returncode == 2, (arguments, done.stderr)
            assert what in done.stderr
            assert remedy in done.stderr
            assert "Traceback" not in done.stderr


def test_beyond_loopback_the_first_token_is_left_for_the_hubs_user(tmp_path: Path) -> None:
    """Nobody could ask for one without one; the file is for its owner alone, and a restart leaves it valid."""
    with HubProcess(tmp_path, "--host", EVERYWHERE) as hub:
        refused = ostler(tmp_path, "status", "--hub", hub.url)
        assert refused.returncode == 4
        path = hub.data / "admin.token"
        assert path.stat().st_mode & 0o777 == 0o600
        made = ostler(tmp_path, "tokens", "create", "box", "--hub", hub.url, "--token-file", str(path))
        assert made.returncode == 0, made.stderr
        assert hub.stop() == 0
    with HubProcess(tmp_path, "--host", EVERYWHERE) as hub:
        again = ostler(tmp_path, "status", "--hub", hub.url, "--token-file", str(path))
        assert again.returncode == 0, again.stderr
        assert hub.stop() == 0
