"""The machines with a real engine: two llama.cpp servers, each with two small models of random weights that swap.

A real engine loads, swaps and streams for real; only the text is noise, because nobody has trained the weights.
The engine does not tell which model is in memory: loads are counted from the order of the calls, and a load's time is
what was measured before the work began.
"""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

import msgspec

from ostler.demo.llama_machine import MEASURED, MachineFile, Measured
from ostler.demo.machines import MachineState, Start
from ostler.demo.simulated import FILES, cloud_speeds
from ostler.engines.llama import ServedModel, TinyShape, find_engine_python, write_tiny_model

CONTEXT_TOKENS = 4096
"""Real tokens. The weights' vocabulary is bytes, so that a text takes up to two tokens for each of its characters."""
NEARBY_PYTHON = Path(".venv-engine") / "bin" / "python"
"""Where `make engine` puts the engine, for who runs the demo without make."""

_SHAPES = {
    "llama-alpha": {
        "tiny-quality": TinyShape(layers=5, width=448, context_tokens=CONTEXT_TOKENS, seed=1),
        "tiny-latest": TinyShape(layers=6, width=512, context_tokens=CONTEXT_TOKENS, seed=2),
    },
    "llama-beta": {
        "tiny-small": TinyShape(layers=2, width=128, context_tokens=CONTEXT_TOKENS, seed=3),
        "tiny-fast": TinyShape(layers=4, width=256, context_tokens=CONTEXT_TOKENS, seed=4),
    },
}


class LlamaSite:
    """Two llama.cpp servers. `speed` is that of the simulated cloud."""

    names: tuple[str, ...] = ("llama-alpha", "llama-beta")
    engine = "llama.cpp"
    title = "two real llama.cpp servers"
    preparation = "writing four small models of random weights, starting two llama.cpp servers and measuring them ..."
    simulated = False
    what_is_real: tuple[str, ...] = (
        "the hub, its SQLite database and its three workers: processes of their own that speak HTTP",
        "both machines' engine: llama.cpp loads, swaps and streams; its kill -9 and its return; all commands",
        "every decision, wait, retry and fallback; times and tokens as the hub has stored them",
    )
    what_is_simulated: tuple[str, ...] = (
        "the weights: random and small, so that the answers are noise; both machines are this computer",
        "the cloud: its protocols and limits are as in life, its models answer with filler, its prices are made up",
    )

    def __init__(self, folder: Path, speed: float) -> None:
        self._folder = folder
        self._speed = speed
        self._files: dict[str, MachineFile] = {}
        self._measured: dict[str, Measured] = {}

    def prepare(self) -> None:
        """Find the engine and write the models. Raises `EngineError` with what to do when there is no engine."""
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        environ = dict(os.environ)
        if not environ.get("OSTLER_ENGINE_PYTHON") and NEARBY_PYTHON.exists():
            environ["OSTLER_ENGINE_PYTHON"] = str(NEARBY_PYTHON)
        python = await find_engine_python(environ)
        folder = self._folder / "models"
        folder.mkdir()
        for name, shapes in _SHAPES.items():
            models = [
                ServedModel(
                    alias=alias,
                    path=await write_tiny_model(python.absolute(), folder / f"{alias}.gguf", shape),
                    context_tokens=CONTEXT_TOKENS,
                )
                for alias, shape in shapes.items()
            ]
            self._files[name] = MachineFile(
                name=name, python=python.absolute(), folder=self._folder / name, models=tuple(models)
            )

    def start(self, name: str, port: int) -> Start:
        """How to start a machine; one that comes back is not measured again."""
        machine = msgspec.structs.replace(self._files[name], port=port, measure=port == 0)
        path = self._folder / f"{name}.json"
        path.write_bytes(machine.encoded())
        return Start(module="ostler.demo.llama_machine", arguments=(str(path),))

    def profile(self, urls: Mapping[str, str], log: Mapping[str, str]) -> str:
        """The profile, with the speeds that the machines have measured."""
        for text in log.values():
            found = re.search(rf"^{MEASURED}(.*)$", text, re.MULTILINE)
            if found is not None:
                self._measured |= msgspec.json.decode(found[1], type=dict[str, Measured])
        values = {
            "alpha_url": urls["llama-alpha"],
            "beta_url": urls["llama-beta"],
            "cloud_url": urls["sim-cloud"],
            "work_dir": json.dumps(str(self._folder / "work")),
            "cloud_speeds": cloud_speeds(self._speed),
        }
        for alias, measured in self._measured.items():
            size = alias.removeprefix("tiny-")
            values[f"speeds_{size}"] = (
                f"{{load_s: {measured.load_s:g}, unload_s: 0, decode_tokens_per_s: {measured.decode_tokens_per_s:g}}}"
            )
        return Template((FILES / "llama.yaml").read_text(encoding="utf-8")).substitute(values)

    def load_ms(self, name: str) -> Mapping[str, int]:
        """What a load of each model of a machine was measured to take."""
        return {alias: int(self._measured[alias].load_s * 1000) for alias in _SHAPES[name]}

    def state(self, url: str) -> MachineState | None:
        """Nothing: the engine does not say, and asking it would disturb its only lane."""
        del url
        return None
