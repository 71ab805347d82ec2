"""A pipeline over two models that exclude each other: planned, followed, and seen afterwards; over real HTTP.

The machine is simulated; loads take the time it says, a hundredth of it in real seconds.
"""

import json
from contextlib import suppress
from pathlib import Path

from ostler.client.hub_client import HubClient
from ostler.domain.errors import NotFoundError
from tests.e2e.process import HubProcess, Process, until
from tests.e2e.test_swaps import DECLARED, PROFILE, Machine
from tests.e2e.test_whole import ostler

FILE = """\
tasks:
  - {id: prepare, command: [sh, -c, "until [ -e GO ]; do sleep 0.05; done"], expected: 2s}
  - {id: design, model: "beta:32b", prompt: Design it., needs: prepare, expected: 1s}
  - {id: code-a, model: "alpha:32b", prompt: Write a., needs: design, expected: 1s}
  - {id: review-a, model: "beta:32b", prompt: Review a., needs: code-a, expected: 1s}
  - {id: code-b, model: "alpha:32b", prompt: Write b., needs: design, expected: 1s}
  - {id: review-b, model: "beta:32b", prompt: Review b., needs: code-b, expected: 1s}
  - {id: code-c, model: "alpha:32b", prompt: Write c., needs: design, expected: 1s}
  - {id: review-c, model: "beta:32b", prompt: Review c., needs: code-c, expected: 1s}
"""
LOADS = 3
"""One for the design, one for all code, one for all reviews: no order of these tasks has fewer. While the plan is made,
the first task keeps all others waiting.
"""


def is_planned(client: HubClient, run: str) -> bool:
    """Whether a run has a plan that is followed."""
    with suppress(NotFoundError):
        return client.run_plan(run).following
    return False


def test_a_planned_run_loads_as_often_as_planned(tmp_path: Path) -> None:
    """The plan is made, followed and shown beside what happened: the loads are those of the plan and of the machine."""
    go = tmp_path / "go"
    (tmp_path / "pipeline.yaml").write_text(FILE.replace("GO", str(go)), encoding="utf-8")
    with Machine(tmp_path) as machine:
        profile = PROFILE.replace("URL", machine.url).replace("HOSTS", DECLARED)
        profile = profile.replace("{min_residence: 10ms}", "{min_residence: 10ms, prefetch: false}")
        profile = profile.replace("{allow: [chat]}", "{allow: [command, chat], commands: ['*']}")
        with HubProcess(tmp_path, profile=profile) as hub:
            at = ("--hub", hub.url)
            until(lambda: hub.client.status().endpoints_up == 1, "the machine was seen")
            words = ("run", "pipeline.yaml", "--plan", "--seconds", "0.5", "--run-id", "r", "--json", *at)
            with Process(tmp_path, *words) as run:
                until(lambda: is_planned(hub.client, "r"), "the run is planned")
                go.touch()
                assert run.popen.wait(30) == 0, run.log.read_text(encoding="utf-8")
            plan = json.loads(run.log.read_text(encoding="utf-8"))["plan"]
            shown = ostler(tmp_path, "plan", "--run", "r", "--svg", "run.svg", *at)
            hosts = ostler(tmp_path, "hosts", *at)
            models = json.loads(ostler(tmp_path, "models", "list", "--json", *at).stdout)["models"]
            assert hub.stop() == 0
        loads = machine.counters()["loads"]

    assert (plan["planned_figures"]["loads"], plan["actual_figures"]["loads"], loads) == (LOADS, LOADS, LOADS)
    assert len(plan["versions"]) == 1, "nothing surprised the plan"
    assert [row["task"] for row in plan["rows"] if row["end_ms"] is None] == []
    assert f"loads     {LOADS} planned, {LOADS}\n" in shown.stdout
    assert shown.stdout.index("planned: ") < shown.stdout.index("actual: ")
    picture = (tmp_path / "run.svg").read_text(encoding="utf-8")
    assert 0 < picture.index("r, planned: ") < picture.index("r, actual: ")
    assert f"since the start: {LOADS} loads, 2 unloads, 2 swaps" in hosts.stdout
    assert "simulated" in hosts.stdout
    assert {model["name"]: model["succeeded"] for model in models} == {"alpha:32b": 3, "beta:32b": 4}
    assert all(model["measured"][0]["load_ms"]["measured"]["samples"] for model in models)
