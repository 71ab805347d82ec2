"""Money of live calls in a real hub: limits hold for many at once, an end is charged, a killed hub forgets nothing.

A call to the paid model is expected to cost ten cents: a thousand tokens of answer, and a few of prompt.
"""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ostler.domain.ledger import Amount, LedgerQuery
from ostler.hub.gateway_views import KeyWish
from ostler.hub.spending_views import Spending
from ostler.store.ledger_file import LedgerFile
from tests.e2e.process import HubProcess, until
from tests.gateway.dialects import OpenAI
from tests.gateway.plays import answers, held
from tests.gateway.upstream import Upstream

PROFILE = """\
routing:
  default_output_tokens: 1000
  tiers:
    standard: {{provider: mine, models: [small]}}
    large: {{provider: cloudy, models: [dear]}}
providers:
  mine: {{kind: openai, local: true}}
  cloudy: {{kind: openai, api_key_env: CLOUDY_KEY, local: false}}
endpoints:
  box: {{provider: mine, url: "{box}/v1", models: [small], slots: 64}}
  sky: {{provider: cloudy, url: "{sky}/v1", models: [dear], slots: 64}}
models:
  small: {{provider: mine, context: 32000}}
  dear: {{provider: cloudy, context: 32000, input_usd_per_mtok: 10.0, output_usd_per_mtok: 100.0}}
budget:
  monthly_hard_cap: 1.00
scheduler:
  probe_interval: 60s
hub:
  port: 0
"""


class Place(NamedTuple):
    """A hub before a local and a paid upstream."""

    hub: HubProcess
    sky: Upstream
    box: Upstream
    folder: Path

    def ask(self, model: str, key: str = "") -> tuple[int, Any]:
        """One call; status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.hub.url.rpartition(":")[2]), timeout=20)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def many(self, count: int, model: str, key: str = "", *, refused: int, answer: threading.Event) -> list[int]:
        """Calls at once, answered when so many others are over; their statuses."""
        with ThreadPoolExecutor(count) as crowd:
            calls = [crowd.submit(self.ask, model, key) for _ in range(count)]
            try:
                until(lambda: sum(call.done() for call in calls) >= refused, "those without room are refused")
            finally:
                answer.set()
            return [call.result()[0] for call in calls]

    def ledger(self) -> LedgerFile:
        """The ledger, read beside the hub."""
        return LedgerFile(self.hub.data / "ostler.db")


@pytest.fixture
def answer() -> threading.Event:
    """Nobody who asks the paid one has an answer before this is set."""
    return threading.Event()


@pytest.fixture
def place(tmp_path: Path, answer: threading.Event) -> Iterator[Place]:
    with ExitStack() as stack:
        box = stack.enter_context(Upstream(OpenAI(("small",)), answers()))
        sky = stack.enter_context(Upstream(OpenAI(("dear",)), held(answer)))
        text = PROFILE.format(box=box.url, sky=sky.url)
        hub = stack.enter_context(HubProcess(tmp_path, "--no-worker", profile=text, env={"CLOUDY_KEY": "sk"}))
        until(lambda: all(row.view.health == "up" for row in hub.client.endpoints().endpoints), "all are up")
        yield Place(hub, sky, box, tmp_path)


def test_many_calls_at_once_stay_below_the_month_and_local_ones_are_never_held(
    place: Place, answer: threading.Event
) -> None:
    """Thirty at once, room for nine: the others are told at once; afterwards what was really used leaves room again."""
    statuses = place.many(30, "dear", refused=21, answer=answer)
    assert (statuses.count(200), statuses.count(429)) == (9, 21)
    assert place.ask("small")[0] == 200
    entries = place.ledger().entries(LedgerQuery())
    assert {entry.scopes.endpoint for entry in entries} == {"sky"}
    until(lambda: len(place.ledger().entries(LedgerQuery())) == 18, "each of the nine is charged once")
    assert place.ask("dear")[0] == 200


def test_a_keys_limit_holds_for_many_at_once(place: Place, answer: threading.Event) -> None:
    """Room for three; the refusal names the limit."""
    key = place.hub.client.make_key(KeyWish(name="ci", limit_micro_usd=350_000)).key
    statuses = place.many(12, "dear", key, refused=9, answer=answer)
    assert (statuses.count(200), statuses.count(429)) == (3, 9)


def test_an_open_choice_goes_to_a_local_model_when_the_money_is_used_up(place: Place) -> None:
    """And the record of the call says which limit it was."""
    place.hub.client.record_spending(Spending(attempt="bill", amount=Amount(micro_usd=1_000_000)))
    status, body = place.ask("dear")
    assert status == 429
    assert "limit month of $1.00 is reached; free again at" in body["error"]["message"]
    assert place.ask("auto")[0] == 200
    assert len(place.sky.calls) == 0


def test_a_killed_hub_keeps_what_its_calls_held_as_ambiguous(place: Place) -> None:
    """Nothing is lost, nothing is held for ever, and `ostler budget status` shows it."""
    with ThreadPoolExecutor(3) as crowd:
        calls = [crowd.submit(place.ask, "dear") for _ in range(3)]
        place.sky.wait_for(3)
        place.hub.kill()
        assert all(call.exception() is not None for call in calls)
    text = (place.folder / "ostler.yaml").read_text(encoding="utf-8")
    with HubProcess(place.folder, "--no-worker", profile=text, env={"CLOUDY_KEY": "sk"}) as again:
        ended = [entry for entry in place.ledger().entries(LedgerQuery()) if entry.ambiguous]
        assert len(ended) == 3
        shown = _status(place.folder)
        assert shown["total_micro_usd"] == sum(entry.amount.micro_usd for entry in ended)
        assert again.popen.poll() is None


def _status(folder: Path) -> Any:  # noqa: ANN401 -- foreign JSON
    """What `ostler budget status` says of the hub in a folder."""
    command = [sys.executable, "-m", "ostler.cli.main", "budget", "status", "--json"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "OSTLER_HUB_DATA_DIR": str(folder / "data")}
    return json.loads(subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True).stdout)
