"""The simulated machines: two specs that are served by `ostler simulate-host`, and the profile for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template

import msgspec

from ostler.client.transport import Transport
from ostler.demo.machines import MachineState, Start
from ostler.domain.errors import OstlerError

FILES = Path(__file__).parent / "files"
STATE_TIMEOUT_S = 2.0
READY = "ready"


class _Speed(msgspec.Struct, frozen=True):
    """Of one model, in simulated seconds, as in its spec."""

    load_s: float
    unload_s: float
    prefill: float
    decode: float


_SPEEDS = {"32b": _Speed(22.5, 17.5, 350, 14), "7b": _Speed(7.5, 7.5, 1400, 40), "3b": _Speed(3, 1.5, 2800, 45)}


def cloud_speeds(speed: float) -> str:
    """The speeds of the simulated cloud's models as the hub will see them, as a mapping in YAML."""
    first_token = f"{max(1, round(500 / speed))}ms"
    fields = {"first_token": first_token, "prefill_tokens_per_s": 20_000 * speed, "decode_tokens_per_s": 80 * speed}
    return "{" + ", ".join(f"{name}: {value}" for name, value in fields.items()) + ", load_s: 0, unload_s: 0}"


class _Resident(msgspec.Struct):
    model: str
    state: str


class _Counters(msgspec.Struct):
    loads: int
    unloads: int
    swaps: int
    load_ms: int
    unload_ms: int
    calls_finished: int
    prompt_tokens: int
    output_tokens: int


class _Host(msgspec.Struct):
    residents: tuple[_Resident, ...]
    counters: _Counters


class _Answer(msgspec.Struct):
    host: _Host


class SimulatedSite:
    """Two simulated machines; `speed` simulated seconds pass in one real second."""

    names: tuple[str, ...] = ("sim-alpha", "sim-beta")
    engine = "simulated Ollama"
    title = "two simulated machines"
    preparation = "starting two machines, a cloud, a hub and two workers, each a process of its own ..."
    simulated = True
    what_is_real: tuple[str, ...] = (
        "the hub, its SQLite database and its three workers: processes of their own that speak HTTP",
        "every decision, wait, retry and fallback; the kill -9 and the return; all commands, run by this computer",
        "the tasks' states, times and tokens as the hub has stored them; the load of this computer in each decision",
    )
    what_is_simulated: tuple[str, ...] = (
        "both machines: their memory, their loads, their speed. They answer with filler at the pace of the real thing",
        "the cloud: its protocols and limits are as in life, its models answer with filler, its prices are made up",
    )

    def __init__(self, speed: float, work_dir: Path) -> None:
        self._speed = speed
        self._work_dir = work_dir

    def prepare(self) -> None:
        """Nothing: the specs come with the package."""

    def start(self, name: str, port: int) -> Start:
        """How to start a machine; port 0 = any free one."""
        spec = str(FILES / f"{name}.yaml")
        return Start(
            module="ostler.cli.main",
            arguments=("simulate-host", "--spec", spec, "--port", str(port), "--speed", f"{self._speed:g}"),
        )

    def profile(self, urls: Mapping[str, str], log: Mapping[str, str]) -> str:
        """The profile, with speeds in real seconds as the hub will see them."""
        del log  # they print nothing that the profile needs
        values = {
            "speed": f"{self._speed:g}",
            "alpha_url": urls["sim-alpha"],
            "beta_url": urls["sim-beta"],
            "cloud_url": urls["sim-cloud"],
            # A text in JSON is a text in YAML, whatever is in it.
            "work_dir": json.dumps(str(self._work_dir)),
            "cloud_speeds": cloud_speeds(self._speed),
        }
        for size, speed in _SPEEDS.items():
            values[f"load_{size}"] = f"{speed.load_s / self._speed:g}"
            values[f"unload_{size}"] = f"{speed.unload_s / self._speed:g}"
            values[f"prefill_{size}"] = f"{speed.prefill * self._speed:g}"
            values[f"decode_{size}"] = f"{speed.decode * self._speed:g}"
        return Template((FILES / "simulated.yaml").read_text(encoding="utf-8")).substitute(values)

    def load_ms(self, name: str) -> Mapping[str, int]:
        """Nothing: the machines count for themselves."""
        del name
        return {}

    def state(self, url: str) -> MachineState | None:
        """What the machine says of itself; `None` = it does not answer."""
        try:
            raw = Transport(url, timeout_s=STATE_TIMEOUT_S).ask("GET", "/simulate/state")
        except OstlerError:
            return None
        host = msgspec.json.decode(raw, type=_Answer).host
        counted = host.counters
        return MachineState(
            residents=tuple(
                resident.model if resident.state == READY else f"{resident.model} ({resident.state})"
                for resident in host.residents
            ),
            loads=counted.loads,
            unloads=counted.unloads,
            swaps=counted.swaps,
            lost_ms=counted.load_ms + counted.unload_ms,
            calls=counted.calls_finished,
            input_tokens=counted.prompt_tokens,
            output_tokens=counted.output_tokens,
        )
