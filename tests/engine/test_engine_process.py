"""Starting and ending an engine, with a program that stands for it: no engine needed."""

import asyncio
import os
import stat
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from ostler.engines.llama import EngineError, LlamaServer, ServedModel, find_engine_python, write_tiny_model

LEASH = Path(__file__).resolve().parents[2] / "src" / "ostler" / "engines" / "leash.py"
MODELS = [ServedModel(alias="small", path=Path("small.gguf"))]


def program(folder: Path, body: str) -> Path:
    """Write an executable that takes the interpreter's place: whatever its arguments are, it runs `body`."""
    path = folder / "stand-in"
    path.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


async def gone(pid: int, *, within_s: float = 5.0) -> bool:
    """Whether a process has ended (a zombie has) within the bound."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.01)
    return False


SERVES = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/v1/models' else 404)
        self.end_headers()
        self.wfile.write(repr((os.nice(0), os.getpgid(0) == os.getpid(), sorted(os.environ), sys.argv[1:])).encode())
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
server.serve_forever()
"""


async def test_a_server_is_ready_when_start_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A started server answers a listing, at low priority, in its own process group, without a variable of ours."""
    monkeypatch.setenv("PORT", "1")
    async with (
        LlamaServer(program(tmp_path, SERVES), MODELS, tmp_path / "work") as server,
        aiohttp.ClientSession(server.base_url) as session,
        session.get("/v1/models") as response,
    ):
        said = await response.text()

    assert said.startswith("(10, True, ")
    assert "PORT" not in said
    assert "leash.py" in said


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Stopping ends the process, and stopping again or without a start does nothing."""
    server = LlamaServer(program(tmp_path, SERVES), MODELS, tmp_path)
    await server.stop()
    await server.start()
    pid = server.pid
    assert pid
    await server.start()
    assert server.pid == pid, "a second start must not start a second process"

    await server.stop()
    await server.stop()

    assert await gone(pid)


async def test_a_deaf_engine_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that ignores the polite signal is ended by force, together with its children."""
    monkeypatch.setattr("ostler.engines.llama.STOP_GRACE_S", 0.1)
    deaf = "import signal, subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '60'])"
    server = LlamaServer(program(tmp_path, deaf + SERVES), MODELS, tmp_path)
    await server.start()
    assert server.pid
    family = [server.pid, *(child.pid for child in psutil.Process(server.pid).children())]
    assert len(family) == 2

    await server.stop()

    assert [pid for pid in family if not await gone(pid)] == []


async def test_an_engine_that_fails_says_why(tmp_path: Path) -> None:
    """When it ends before it answers, the error holds its status and its last words."""
    failing = program(tmp_path, "import sys; print('cannot read small.gguf'); sys.exit(3)")

    with pytest.raises(EngineError, match=r"ended with status 3 .*cannot read small\.gguf") as caught:
        await LlamaServer(failing, MODELS, tmp_path).start()

    assert caught.value.where == str(tmp_path / "llama-server.log")


async def test_an_engine_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """When the time for starting is over, the error says so and the process is gone."""
    note = tmp_path / "pid"
    silent = program(tmp_path, f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")

    with pytest.raises(EngineError, match=r"did not list its models within 1 s: it said nothing"):
        await LlamaServer(silent, MODELS, tmp_path).start(timeout_s=1)

    assert await gone(int(note.read_text(encoding="utf-8")))


async def test_the_engine_ends_with_the_process_that_started_it() -> None:
    """When the starter is killed without a chance to clean up, its end of the pipe closes and the engine leaves."""
    starter = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, {str(LEASH)!r}, 'http.server', '0'], stdin=subprocess.PIPE,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", starter, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    engine = int(await process.stdout.readline())
    assert psutil.pid_exists(engine)

    process.kill()
    await process.communicate()

    assert await gone(engine), "the engine outlived its starter"


def test_the_leash_runs_the_module_with_its_own_arguments(tmp_path: Path) -> None:
    """The module sees the command line it would see if it were started directly."""
    (tmp_path / "told.py").write_text("import sys; print(__name__, sys.argv[1:])", encoding="utf-8")
    reading, writing = os.pipe()
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    out = tmp_path / "out"

    with out.open("wb") as file:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, str(LEASH), "told", "--config_file", "x"],
            environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, file.fileno(), 1)],
        )
        os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)

    assert out.read_text(encoding="utf-8").split(maxsplit=1) == ["__main__", "['--config_file', 'x']\n"]


async def test_a_missing_interpreter_is_named() -> None:
    """A wrong OSTLER_ENGINE_PYTHON is told with its place and the remedy."""
    with pytest.raises(EngineError, match=r"^OSTLER_ENGINE_PYTHON: no interpreter at /no/such/python .*make engine"):
        await find_engine_python({"OSTLER_ENGINE_PYTHON": "/no/such/python"})


async def test_an_interpreter_without_the_engine_is_refused(tmp_path: Path) -> None:
    """An interpreter that cannot find the engine's modules is named together with the remedy."""
    without = program(tmp_path, "raise SystemExit(1)")

    with pytest.raises(EngineError, match=r"llama\.cpp is not installed for .*stand-in .*`make engine`"):
        await find_engine_python({"OSTLER_ENGINE_PYTHON": str(without)})


async def test_a_model_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """What the engine's interpreter said is part of the error, and its place is the file."""
    without = program(tmp_path, "raise SystemExit(\"No module named 'gguf'\")")

    with pytest.raises(EngineError, match=r"could not write a model: .*No module named 'gguf'") as caught:
        await write_tiny_model(without, tmp_path / "tiny.gguf")

    assert caught.value.where == str(tmp_path / "tiny.gguf")


def test_a_server_needs_a_model(tmp_path: Path) -> None:
    """An empty list is refused before anything is started."""
    with pytest.raises(EngineError, match="at least one model"):
        LlamaServer(Path(sys.executable), [], tmp_path)


@pytest.mark.parametrize("asked", ["the interpreter", "a model"])
async def test_a_program_that_is_waited_for_no_longer_is_ended(tmp_path: Path, asked: str) -> None:
    """The wait may be broken off: nobody else would end it."""
    pid = tmp_path / "pid"
    body = f"import os, pathlib, time; p = pathlib.Path('{pid}'); p.with_suffix('.new').write_text(str(os.getpid())); "
    python = program(tmp_path, f"{body}p.with_suffix('.new').rename(p); time.sleep(60)")
    if asked == "a model":
        asking = asyncio.ensure_future(write_tiny_model(python, tmp_path / "tiny.gguf"))
    else:
        asking = asyncio.ensure_future(find_engine_python({"OSTLER_ENGINE_PYTHON": str(python)}))
    async with asyncio.timeout(10):
        while not pid.exists():  # noqa: ASYNC110 -- what is waited for is a program
            await asyncio.sleep(0.005)
    asking.cancel()
    await asyncio.wait({asking})

    assert asking.cancelled()
    assert await gone(int(pid.read_text(encoding="utf-8")), within_s=0.5)
