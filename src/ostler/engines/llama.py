"""A real llama.cpp server as a child process: several models in one endpoint, one of them in memory at a time.

Model: the server reads a list of models and holds one. A call that names another one unloads first, then loads: a real
swap with a real duration. One lock serialises everything, so while it generates or loads it also answers nothing else,
not even `/v1/models`; a model it does not know is silently answered by the first of the list.

Invariants: the process runs at low priority in a group of its own, listens on loopback, sees no variable of our
environment that could change its settings, and is gone when `stop` returns. It also goes when this process dies without
calling `stop` (see leash.py).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
import psutil

from ostler.domain.errors import OstlerError

NICENESS = 10
STOP_GRACE_S = 5.0
POLL_S = 0.05
LOG_LINES_SHOWN = 5

_HERE = Path(__file__).parent


class EngineError(OstlerError):
    """The engine is not installed, did not start, or could not write a model."""

    code = "engine"


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the server: the name callers use, its file, and the context it is loaded with."""

    alias: str
    path: Path
    context_tokens: int = 1024


class TinyShape(msgspec.Struct, frozen=True, kw_only=True):
    """Size of a random model. `width` is a multiple of 8; bytes are about 40 x layers x width x width."""

    layers: int = 2
    width: int = 64
    context_tokens: int = 2048
    seed: int = 0


async def find_engine_python(environ: Mapping[str, str]) -> Path:
    """Return the interpreter that has the engine: `OSTLER_ENGINE_PYTHON` when it is set, else the running one.

    Raises EngineError when there is no such interpreter or the engine is not installed in it.
    """
    named = environ.get("OSTLER_ENGINE_PYTHON")
    python = Path(named or sys.executable)
    where = "OSTLER_ENGINE_PYTHON" if named else str(python)
    probe = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('llama_cpp', 'fastapi', 'gguf'))))"
    try:
        process = await asyncio.create_subprocess_exec(python, "-c", probe, stdin=asyncio.subprocess.DEVNULL)
    except OSError as error:
        raise EngineError(f"no interpreter at {python}", where=where, remedy="run `make engine`") from error
    async with _ended(process):
        code = await process.wait()
    if code != 0:
        raise EngineError(
            f"llama.cpp is not installed for {python}",
            where=where,
            remedy="run `make engine`, or install the extra `ostler[engine]`",
        )
    return python


async def write_tiny_model(python: Path, out: Path, shape: TinyShape | None = None) -> Path:
    """Write a random model of this shape to `out` and return `out`; a file of that name is replaced whole.

    Raises EngineError with what the engine's interpreter said.
    """
    shape = shape or TinyShape()
    process = await asyncio.create_subprocess_exec(
        python,
        _HERE / "tiny_gguf.py",
        out,
        f"--layers={shape.layers}",
        f"--width={shape.width}",
        f"--context-tokens={shape.context_tokens}",
        f"--seed={shape.seed}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with _ended(process):
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise EngineError(f"could not write a model: {_tail(said.decode(errors='replace'))}", where=str(out))
    return out


class LlamaServer:
    """One server process. `async with` starts and stops it; stopping twice, or before starting, does nothing."""

    def __init__(self, python: Path, models: Sequence[ServedModel], folder: Path, *, port: int = 0) -> None:
        """`python` is the engine's interpreter, the first of `models` is loaded first, `folder` takes the log.

        `port` is for a server that must come back where it was; 0 = any free one.
        """
        if not models:
            raise EngineError("a server needs at least one model", where="models")
        self._python = python
        self._models = tuple(models)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._wanted_port = port
        self._port = 0

    @property
    def base_url(self) -> str:
        """Address without a path, valid after `start`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path:
        """What the process wrote to its output."""
        return self._folder / "llama-server.log"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, timeout_s: float = 120.0) -> None:
        """Start the process and wait until it lists its models; on any failure nothing is left behind.

        Raises EngineError with the end of the log when it exits or does not answer in time.
        """
        if self._process:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "llama-server.json"
        config.write_bytes(msgspec.json.encode(self._settings()))
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(self._python, _HERE / "leash.py", "llama_cpp.server", "--config_file", config),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                # The server takes settings from variables such as MODEL, HOST and PORT: it gets none of ours.
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._folder)},
                start_new_session=True,
            )
        try:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self._process.pid).nice(NICENESS)
            async with asyncio.timeout(timeout_s):
                await self._until_listed(self._process)
        except (TimeoutError, aiohttp.ClientError) as error:
            await self.stop()
            raise self._failure(f"did not list its models within {timeout_s:g} s") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process group: politely, then by force after five seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await process.wait()
        except TimeoutError:
            _signal_group(process, signal.SIGKILL)
            await process.wait()
        finally:
            if process.stdin:
                process.stdin.close()

    def _settings(self) -> dict[str, object]:
        return {
            "host": "127.0.0.1",
            "port": self._wanted_port,
            # When on, any waiting call, even a listing, cuts the stream that is running.
            "interrupt_requests": False,
            "models": [
                {
                    "model": str(model.path),
                    "model_alias": model.alias,
                    "n_ctx": model.context_tokens,
                    "use_mlock": False,
                    "verbose": False,
                }
                for model in self._models
            ],
        }

    async def _until_listed(self, process: asyncio.subprocess.Process) -> None:
        """The port opens only after the first model is loaded, so a listing that answers means ready."""
        while not (port := _listening_port(process.pid)):
            if process.returncode is not None:
                raise self._failure(f"ended with status {process.returncode} before it answered")
            await asyncio.sleep(POLL_S)
        self._port = port
        async with aiohttp.ClientSession() as session, session.get(f"{self.base_url}/v1/models") as response:
            response.raise_for_status()

    def _failure(self, what: str) -> EngineError:
        said = _tail(self.log_path.read_text(encoding="utf-8", errors="replace"))
        return EngineError(f"llama.cpp {what}: {said}", where=str(self.log_path))


@contextlib.asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """A process that is gone with the block, also where it is waited for no longer."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _listening_port(pid: int) -> int:
    """Return the TCP port a process listens on, 0 while there is none."""
    try:
        sockets = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return 0
    return next((socket.laddr.port for socket in sockets if socket.status == psutil.CONN_LISTEN), 0)


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal the whole group; the leader is not reaped yet when `returncode` is None, so the id is still its own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-LOG_LINES_SHOWN:]) or "it said nothing"
