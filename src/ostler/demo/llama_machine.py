"""One machine of the demo with a real llama.cpp on it, as a process of its own: `python -m ostler.demo.llama_machine`.

Reads what it serves from a JSON file, starts the server, measures how long each model takes to load and how fast it
writes, says where it answers, and stays until it is told to stop. When it is killed, the server goes with it.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import msgspec

from ostler.domain.errors import OstlerError
from ostler.engines.llama import LlamaServer, ServedModel

MEASURED = "measured "
WRITTEN_TOKENS = 24


class MachineFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine serves. The first model is in memory once it answers."""

    name: str
    python: Path
    """The engine's interpreter."""
    folder: Path
    models: tuple[ServedModel, ...]
    port: int = 0
    measure: bool = True

    def encoded(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self, enc_hook=str)

    @staticmethod
    def decoded(raw: bytes) -> "MachineFile":
        """From JSON."""
        return msgspec.json.decode(raw, type=MachineFile, dec_hook=lambda _type, text: Path(text))


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of one model on this computer, in real seconds."""

    load_s: float
    decode_tokens_per_s: float


async def serve(machine: MachineFile) -> None:
    """Serve until a signal. Raises `OstlerError` when the engine does not start."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LlamaServer(machine.python, machine.models, machine.folder, port=machine.port) as server:
        if machine.measure:
            measured = await _measure(server.base_url, [model.alias for model in machine.models])
            _say(MEASURED + msgspec.json.encode(measured).decode())
        _say(f"llama.cpp on {machine.name} answers at {server.base_url}")
        await stop.wait()


async def _measure(url: str, aliases: list[str]) -> Mapping[str, Measured]:
    """Swap through all models and back to the first, each time a short call on the cold and on the loaded model."""
    found: dict[str, Measured] = {}
    async with aiohttp.ClientSession(url) as session:
        for alias in [*aliases[1:], aliases[0]]:
            cold_s = await _call_s(session, alias, "a", 1)
            warm_s = await _call_s(session, alias, "b", 1)
            written_s = await _call_s(session, alias, "b", 1 + WRITTEN_TOKENS)
            speed = WRITTEN_TOKENS / max(0.001, written_s - warm_s)
            found[alias] = Measured(load_s=round(max(0.0, cold_s - warm_s), 3), decode_tokens_per_s=round(speed, 1))
    return found


async def _call_s(session: aiohttp.ClientSession, alias: str, prompt: str, tokens: int) -> float:
    body = {"model": alias, "max_tokens": tokens, "temperature": 0, "messages": [{"role": "user", "content": prompt}]}
    begun_s = time.monotonic()
    async with session.post("/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        await answer.read()
    return time.monotonic() - begun_s


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the file that is named on the command line, and serve."""
    machine = MachineFile.decoded(Path(sys.argv[1]).read_bytes())
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(machine))
        except OstlerError as error:
            _say(str(error))
            sys.exit(1)


if __name__ == "__main__":
    main()
