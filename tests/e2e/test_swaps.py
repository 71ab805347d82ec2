"""Two models that exclude each other on a simulated machine, over real HTTP: with the memory declared, and without.

The machine is simulated; loads take the time it says, a hundredth of it in real seconds.
"""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from ostler.domain.tasks import TaskSpec
from tests.e2e.process import HubProcess, Process, until

TASKS = 12
MACHINE = """\
name: box
memory_gib: 32
reserve_gib: 2
models:
  - {name: "alpha:32b", weights_gib: 18, load_s: 20, unload_s: 10, output_tokens: 60, num_ctx: 8192}
  - {name: "beta:32b", weights_gib: 18, load_s: 20, unload_s: 10, output_tokens: 60, num_ctx: 8192}
"""
PROFILE = """\
routing:
  tiers:
    standard: {models: ["alpha:32b", "beta:32b"]}
endpoints:
  - {name: box, provider: ollama, url: URL, host: box, slots: 1, models: ["alpha:32b", "beta:32b"]}
HOSTS
models:
  "alpha:32b": {context: 8192, memory: 20GiB, speeds: {load_s: 0.2, unload_s: 0.1}}
  "beta:32b": {context: 8192, memory: 20GiB, speeds: {load_s: 0.2, unload_s: 0.1}}
residency: {min_residence: 10ms}
scheduler: {probe_interval: 500ms, probe_timeout: 400ms}
worker: {allow: [chat]}
hub: {port: 0}
"""
DECLARED = "hosts:\n  box: {memory: 32GiB, reserve: 2GiB}"


class Machine(Process):
    """The simulated machine; tells its address on its first line."""

    def __init__(self, folder: Path) -> None:
        (folder / "machine.yaml").write_text(MACHINE, encoding="utf-8")
        super().__init__(folder, "simulate-host", "--spec", "machine.yaml", "--port", "0", "--speed", "100")
        until(lambda: re.search(r"http://[\d.:]+", self.log.read_text(encoding="utf-8")) is not None, "it answers")
        found = re.search(r"http://[\d.:]+", self.log.read_text(encoding="utf-8"))
        assert found is not None
        self.url = found[0]

    def counters(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/simulate/state") as answer:  # noqa: S310 - an address of our own
            counters = json.load(answer)["host"]["counters"]
        return {name: counters[name] for name in ("loads", "swaps", "unloads")}


def run(folder: Path, hosts: str) -> tuple[dict[str, int], dict[str, int]]:
    """Twelve tasks, for the two models in turn; returns the machine's counters and how many events of which name."""
    with Machine(folder) as machine:
        profile = PROFILE.replace("URL", machine.url).replace("HOSTS", hosts)
        with HubProcess(folder, profile=profile) as hub:
            models = [("alpha:32b", "beta:32b")[n % 2] for n in range(TASKS)]
            hub.client.submit([TaskSpec(id=f"t{n}", prompt="Name a horse.", model=m) for n, m in enumerate(models)])
            until(lambda: hub.client.status().counts.get("succeeded", 0) == TASKS, "all tasks succeed", 60)
            events = hub.client.events(0, 1000).events
            names = [event.name for event in events if event.name.startswith("model.")]
            assert hub.stop() == 0
        return machine.counters(), {name: names.count(name) for name in sorted(set(names))}


@pytest.mark.parametrize(
    ("hosts", "loads", "events"),
    [
        pytest.param(DECLARED, 2, {"model.loaded": 2, "model.loading": 2, "model.unloaded": 1}, id="declared"),
        pytest.param("", TASKS, {}, id="left to the engine"),
    ],
)
def test_alternating_work_is_grouped_where_the_memory_is_declared(
    tmp_path: Path, hosts: str, loads: int, events: dict[str, int]
) -> None:
    """Two loads instead of twelve; without a declaration nothing is loaded by us, and the engine swaps at each call."""
    counters, told = run(tmp_path, hosts)

    assert counters["loads"] == loads
    assert told == events
