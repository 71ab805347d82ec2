"""Processes of a measurement: where they run, how they are started and ended, and how long they take to answer."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.hop import payloads
from bench.hop.load import Order, Readings

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 10.0
START_POLL_S = 0.005
HTTP_OK = 200


class Cores:
    """The target has one core for itself, everything else another one, where there are two.

    `alone`: what is started here goes before everything else on its core, so that a busy machine measures like an idle
    one. It takes the right to do so, and whatever else runs waits meanwhile.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        cores = sorted(os.sched_getaffinity(0))
        self.target, self.rest = cores[-1], cores[0]

    @contextlib.contextmanager
    def on(self, core: int) -> Iterator[None]:
        """Processes started inside run on that core."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        if self._alone:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
            if self._alone:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class StartError(Exception):
    """A program did not start, with what it said."""


class RunError(Exception):
    """A target that had started answered wrongly, or not at all."""


class Program:
    """A process with its output in a file."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
        self.started = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, env=env, start_new_session=True
            )

    def alive(self) -> None:
        """Raises `StartError` when it has ended."""
        if self.process.poll() is not None:
            raise StartError(f"{self.process.args!r} ended:\n{self.log.read_text(errors='replace')[-2_000:]}")

    def stop(self) -> None:
        """As a person does; killed when it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_S)


def end_all_when_told() -> None:
    """SIGTERM ends this program as Ctrl-C does: with all that it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """A program for as long as the block."""
    program = Program(command, folder, env)
    try:
        yield program
    finally:
        program.stop()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rig_env() -> dict[str, str]:
    """For the rig's own processes."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def order(cores: Cores, what: Order) -> Readings:
    """Have the load generator carry out an order. Raises `RunError` with what went wrong."""
    command = [sys.executable, "-m", "bench.hop.load", msgspec.json.encode(what).decode()]
    with cores.on(cores.rest):
        done = subprocess.run(command, capture_output=True, env=rig_env(), check=False)
    if done.returncode:
        raise RunError(f"{what.kind} on port {what.port}: {done.stderr.decode(errors='replace')[-2_000:]}")
    return msgspec.json.decode(done.stdout, type=Readings)


def first_answer_s(program: Program, port: int, key: str, model: str, limit_s: float) -> float:
    """Seconds from the start of a program to its first good answer to a real request."""
    request = payloads.chat(model)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    said = ""
    while time.perf_counter() - program.started < limit_s:
        program.alive()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)
        try:
            client.request("POST", "/v1/chat/completions", request, headers)
            answer = client.getresponse()
            said = answer.read().decode(errors="replace")
            if answer.status == HTTP_OK and payloads.MARK.decode() in said:
                return time.perf_counter() - program.started
        except OSError as error:
            said = str(error)
        finally:
            client.close()
        time.sleep(START_POLL_S)
    raise StartError(
        f"no good answer within {limit_s} s, but: {said}\n{program.log.read_text(errors='replace')[-2_000:]}"
    )
