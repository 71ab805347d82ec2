"""A subscription in a real hub: what its answers say of it decides where the next call goes, and is kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ostler.domain.ledger import Basis, LedgerQuery
from ostler.domain.ports import CallQuery
from tests.e2e.process import HubProcess, until
from tests.gateway.dialects import OpenAI
from tests.gateway.plays import answers
from tests.gateway.test_money import Place, _status
from tests.gateway.upstream import Call, Play, Step, Upstream

PROFILE = """\
routing:
  tiers:
    large: {{models: [dear]}}
providers:
  plan: {{kind: openai, api_key_env: CLOUDY_KEY, local: false}}
  metered: {{kind: openai, api_key_env: CLOUDY_KEY, local: false}}
endpoints:
  aa-metered: {{provider: metered, url: "{box}/v1", models: [dear], slots: 64}}
  sky: {{provider: plan, url: "{sky}/v1", models: [dear], slots: 64}}
models:
  dear: {{context: 32000, input_usd_per_mtok: 10.0, output_usd_per_mtok: 100.0}}
budget:
  monthly_hard_cap: 1.00
  providers:
    plan: {{billing: subscription, pace: none}}
scheduler:
  probe_interval: 60s
hub:
  port: 0
"""


def telling(share: Callable[[], float]) -> Play:
    """A good answer that says how much of the five hours is used."""
    good = answers()

    def told(call: Call, dialect: Any) -> Sequence[Step]:  # noqa: ANN401 -- any dialect
        steps = list(good(call, dialect))
        said = f"anthropic-ratelimit-unified-5h-utilization: {share()}\r\n".encode()
        number = next(number for number, step in enumerate(steps) if isinstance(step, bytes))
        head = steps[number]
        assert isinstance(head, bytes)
        steps[number] = head.replace(b"\r\n", b"\r\n" + said, 1)
        return steps

    return told


@pytest.fixture
def shares() -> list[float]:
    """What the answers of the plan say, one after the other."""
    return [0.2, 0.86, 0.97]


@pytest.fixture
def place(tmp_path: Path, shares: list[float]) -> Iterator[Place]:
    with ExitStack() as stack:
        box = stack.enter_context(Upstream(OpenAI(("dear",)), answers()))
        sky = stack.enter_context(Upstream(OpenAI(("dear",)), telling(lambda: shares.pop(0))))
        text = PROFILE.format(box=box.url, sky=sky.url)
        hub = stack.enter_context(HubProcess(tmp_path, "--no-worker", profile=text, env={"CLOUDY_KEY": "sk"}))
        until(lambda: all(row.view.health == "up" for row in hub.client.endpoints().endpoints), "all are up")
        yield Place(hub, sky, box, tmp_path)


def test_a_plan_is_used_until_its_answers_say_that_it_is_used_up(place: Place) -> None:
    """Three calls go to it, the fourth to the provider by the token; near the end it was told of, once. What it covered
    is no money; what it said outlives the hub.
    """
    assert [place.ask("dear")[0] for _ in range(4)] == [200] * 4
    assert (len(place.sky.calls), len(place.box.calls)) == (3, 1)

    until(lambda: len(place.ledger().entries(LedgerQuery())) == 8, "each call is charged")
    ends = place.ledger().entries(LedgerQuery())[1::2]
    bases = [entry.basis for entry in ends]
    assert sorted(bases) == sorted([Basis.SUBSCRIPTION] * 3 + [Basis.PRICED])
    alerts = [event for event in place.hub.client.events(limit=500).events if event.name == "alert.allowance"]
    assert [event.metadata["level"] for event in alerts] == ["near_end", "used_up"]

    shown = _status(place.folder)
    (plan,) = shown["subscriptions"]
    assert (plan["usable"], plan["allowances"][0]["used_percent"]) == (False, 97.0)
    assert shown["covered_micro_usd"] > 0
    newest = place.hub.client.calls(CallQuery(limit=1)).calls[0].id
    assert "has nothing left: 5h is used up" in "\n".join(place.hub.client.call(newest).lines)

    text = (place.folder / "ostler.yaml").read_text(encoding="utf-8")
    place.hub.kill()
    with HubProcess(place.folder, "--no-worker", profile=text, env={"CLOUDY_KEY": "sk"}) as again:
        until(lambda: all(row.view.health == "up" for row in again.client.endpoints().endpoints), "all are up")
        assert Place(again, place.sky, place.box, place.folder).ask("dear")[0] == 200
    assert (len(place.sky.calls), len(place.box.calls)) == (3, 2)
