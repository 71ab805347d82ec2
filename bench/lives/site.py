"""A hub as `ostler up` starts it, over a fresh folder, and a crew beside it; and what processor time each takes."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.hop.machine import Program, StartError, rig_env, running
from bench.lives.crew import Crew, Order, Reading
from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport

START_LIMIT_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
# One client is to ask as much as it can.
PROFILE = """\
hub: {{port: 0, requests_per_second: 0, max_open_requests: 0{database}}}
scheduler: {{task_ttl: 0}}
"""


def cpu_s(pid: int) -> float:
    """Processor time of a process, user and system, its threads included and its children not."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICKS


class Site:
    """A hub that answers."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder
        data = folder / "data"
        while not (data / "hub.json").exists():
            program.alive()
            if time.perf_counter() - program.started > START_LIMIT_S:
                raise StartError("the hub did not start in time")
            time.sleep(0.01)
        self.url = str(json.loads((data / "hub.json").read_text(encoding="utf-8"))["url"])
        self.client = HubClient(Transport(self.url))
        self.token = self.client.make_token("crew", "worker").token

    @property
    def pid(self) -> int:
        """Its process."""
        return self.program.process.pid


@contextlib.contextmanager
def hub(folder: Path, database: str = "", wrapper: tuple[str, ...] = ()) -> Iterator[Site]:
    """A hub without a worker of its own; `database`: an address, else a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    said = f", database: '{database}'" if database else ""
    (folder / "ostler.yaml").write_text(PROFILE.format(database=said), encoding="utf-8")
    command = [*(wrapper or (sys.executable,)), "-m", "ostler.cli.main", "up", "--no-worker", "--log-level", "warning"]
    command += ["--data-dir", str(folder / "data"), "--profile", str(folder / "ostler.yaml")]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with running(command, folder, env) as program:
        yield Site(program, folder)


class Hands:
    """The crew of a hub: orders go in, readings come out."""

    def __init__(self, site: Site, crew: Crew) -> None:
        command = [sys.executable, "-m", "bench.lives.crew", msgspec.json.encode(crew).decode()]
        with (site.folder / "crew.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=rig_env() | {"HOME": crew.folder},
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def live(self, order: Order) -> Reading:
        """Carry an order out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Reading)

    def close(self) -> None:
        """End it in good order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def crew_of(site: Site, *, real: bool = False, slots: int = 256) -> Iterator[Hands]:
    """A crew for as long as the block."""
    port = int(site.url.rpartition(":")[2])
    hands = Hands(site, Crew(port=port, token=site.token, folder=str(site.folder), slots=slots, real=real))
    try:
        yield hands
    finally:
        hands.close()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A window and the processor time that each of its tasks cost, in microseconds."""

    reading: Reading
    hub_us: float
    crew_us: float


def used(site: Site, hands: Hands, order: Order) -> Usage:
    """Carry an order out and see what it took."""
    before = cpu_s(site.pid), cpu_s(hands.pid)
    reading = hands.live(order)
    hub_us, crew_us = (
        (cpu_s(pid) - was) / order.count * 1e6 for pid, was in zip((site.pid, hands.pid), before, strict=True)
    )
    return Usage(reading=reading, hub_us=hub_us, crew_us=crew_us)
