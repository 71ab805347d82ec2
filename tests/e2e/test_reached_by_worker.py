"""A model server that listens on loopback beside a worker: the worker tells the hub what it has, and calls it."""

import json
import urllib.error
import urllib.request
from pathlib import Path

from ostler.cli.host_text import host_lines
from ostler.client.hub_client import HubClient
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.process import HubProcess, Process, until
from tests.e2e.test_swaps import PROFILE, Machine
from tests.e2e.test_whole import ostler


def health(client: HubClient) -> str:
    """Of the only endpoint."""
    (row,) = client.endpoints().endpoints
    return row.view.health.value


def test_a_worker_lists_and_calls_what_only_it_reaches(tmp_path: Path) -> None:
    """Down while no worker looks at it; with one, its models and what is loaded are in the hub's picture, chat tasks
    run there, and calls of the gateway and agents do not. When the worker has left it is down again.
    """
    with Machine(tmp_path) as machine:
        far = PROFILE.replace("URL", machine.url).replace("HOSTS\n", "")
        far = far.replace("host: box,", "host: den, reached_by: worker,").replace("context: 8192", "context: 64k")
        far = far.replace("scheduler: {", "scheduler: {heartbeat: 300ms, session_dead: 3s, ")
        with HubProcess(tmp_path, "--no-worker", profile=far) as hub:
            until(lambda: health(hub.client) == "down", "nobody looks at it")
            env = {"OSTLER_TOKEN": hub.client.make_token("w", "worker").token}
            words = ("worker", "--hub", hub.url, "--name", "w", "--on-host", "den", "--profile", "ostler.yaml")
            with Process(tmp_path, *words, env=env) as worker:
                until(lambda: health(hub.client) == "up", "the worker lists it")
                hub.client.submit([TaskSpec(id="chat", prompt="Name a horse.", model="beta:32b")])
                until(lambda: hub.client.task("chat").task.state is TaskState.SUCCEEDED, "the worker calls it")
                assert hub.client.task("chat").task.worker == "w"
                until(lambda: "\n  beta:32b " in shown(hub.client), "what it loaded is seen")
                assert "only workers on it reach it" in shown(hub.client)
                assert called(hub.url, "beta:32b") == 400, "a call of the gateway is refused at once"
                hub.client.submit([TaskSpec(id="agent", kind=TaskKind.AGENT, prompt="Name a horse.", model="beta:32b")])
                until(lambda: hub.client.task("agent").task.state is TaskState.QUEUED, "the agent waits")
                why = ostler(tmp_path, "why", "agent", "--hub", hub.url)
                assert "reached by workers on its machine only" in why.stdout, why.stdout
                worker.stop()
            until(lambda: health(hub.client) == "down", "nobody looks at it any more")


def shown(client: HubClient) -> str:
    """What `ostler hosts` prints."""
    return "\n".join(host_lines(client.hosts(saved=False), 100))


def called(url: str, model: str) -> int:
    """The status of a call of the gateway."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Name a horse."}]}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})  # noqa: S310 -- our own hub
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- as above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
