"""A key from the command line to the bill: a client calls with it, is told of its limit, and the hub may be killed.

Hub and provider are processes; the provider is simulated. The client is plain HTTP.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from ostler.domain.errors import ExitCode
from ostler.domain.ports import CallQuery
from tests.e2e.process import HubProcess, Process, until

MODEL = "gpt-simulated-mini"
PROFILE = """\
routing:
  tiers:
    standard: {{models: [{model}]}}
providers:
  sim: {{kind: openai, base_url: {url}/v1, api_key_env: SIM_KEY}}
models:
  {model}: {{provider: sim, context: 128k, input_usd_per_mtok: 2.5, output_usd_per_mtok: 10}}
hub:
  port: 0
"""


class Answer(NamedTuple):
    """What a client sees."""

    status: int
    headers: dict[str, str]
    text: str


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """The profile of a hub whose one provider is simulated."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    with Process(folder, "simulate-cloud", "--port", "0", "--speed", "100") as cloud:
        until(lambda: "answers at" in cloud.log.read_text(encoding="utf-8"), "the simulated cloud answers")
        found = re.search(r"http://\S+", cloud.log.read_text(encoding="utf-8"))
        assert found is not None
        yield PROFILE.format(model=MODEL, url=found[0])


def started(tmp_path: Path, profile: str) -> HubProcess:
    hub = HubProcess(tmp_path, profile=profile, env={"SIM_KEY": "sk-simulated"})
    until(lambda: hub.client.status().endpoints_up == 1, "the simulated cloud is found")
    return hub


def verb(folder: Path, hub: HubProcess, *arguments: str) -> tuple[int, str]:
    """A verb as a user types it: exit code and what it said."""
    with Process(folder, *arguments, "--hub", hub.url) as process:
        code = process.popen.wait(30)
        return code, process.log.read_text(encoding="utf-8")


def call(hub: HubProcess, key: str) -> Answer:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "say hello"}], "max_tokens": 40}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection = HTTPConnection(hub.url.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        got = connection.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read().decode())


def until_refused(hub: HubProcess, key: str) -> tuple[list[Answer], Answer]:
    """Calls that were answered, and the one that was not: the key's limit would have been passed."""
    good: list[Answer] = []
    for _ in range(60):
        answer = call(hub, key)
        if answer.status == 429:
            return good, answer
        assert answer.status == 200, answer
        good.append(answer)
    raise AssertionError("the limit was never reached")


def test_a_key_is_made_used_limited_and_revoked_and_nothing_of_it_is_lost(tmp_path: Path, profile: str) -> None:
    """The limit holds over a killed hub, every call is explained by the id in its header, and a revoked key is shut."""
    with started(tmp_path, profile) as hub:
        limits = ("--limit", "0.002usd", "--per", "total", "--task", "nightly")
        code, key = verb(tmp_path, hub, "keys", "create", "agent", "--model", MODEL, *limits)
        assert code == ExitCode.OK
        key = key.strip()
        good, refused = until_refused(hub, key)
        assert good
        assert "$0.002" in refused.text
        spent = sum(record.cost_micro_usd or 0 for record in hub.client.calls(CallQuery(key="agent")).calls)
        assert 0 < spent <= 2_000, "what is held before a call keeps the sum below the limit"
        ids = [answer.headers["x-ostler-call"] for answer in good]
        answered = [record for record in hub.client.calls(CallQuery(key="agent")).calls if record.status == 200]
        assert [record.id for record in answered] == ids[::-1]
        before = hub.client.keys().keys
        hub.kill()

    with started(tmp_path, profile) as hub:
        assert hub.client.keys().keys == before, "what was spent outlives the hub"
        assert call(hub, key).status == 429
        code, said = verb(tmp_path, hub, "why", ids[0])
        assert code == ExitCode.OK
        assert said.startswith(f"{ids[0]} was answered by {MODEL} on ")
        assert "key agent, task nightly" in said
        assert "$0.000" in said
        assert "Candidates" in said, "the decision is there too"
        assert verb(tmp_path, hub, "why", ids[0][:-1] + ("2" if ids[0][-1] != "2" else "3"))[0] == ExitCode.REFUSED

        code, other = verb(tmp_path, hub, "keys", "create", "other")
        assert call(hub, other.strip()).status == 200
        assert verb(tmp_path, hub, "keys", "revoke", "other") == (ExitCode.OK, "revoked other\n")
        assert call(hub, other.strip()).status == 401
        assert hub.stop() == 0
    assert key not in "".join(path.read_bytes().decode("latin-1") for path in (tmp_path / "data").glob("ostler.db*"))
