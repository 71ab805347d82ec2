"""A real hub as a process of its own over a fresh folder, with its simulated endpoints; and what it takes to run it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.crowd.workers import Crew, Tally
from bench.hop.machine import Program, StartError, free_port, rig_env
from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport

START_LIMIT_S = 900.0
TICKS = os.sysconf("SC_CLK_TCK")
CLOUD_EVERY = 5
"""One of so many endpoints costs money."""


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one instant."""

    rss_mb: float
    own_mb: float
    """Memory that is nobody else's and stands in no file."""
    handles: int
    threads: int
    cpu_s: float


def gauges(pid: int) -> Gauges:
    """Read from the system; raises `OSError` when the process is gone."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text(encoding="utf-8").splitlines())
    stat = (proc / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Gauges(
        rss_mb=int(status["VmRSS"].split()[0]) / 1024,
        own_mb=int(status["RssAnon"].split()[0]) / 1024,
        handles=len(os.listdir(proc / "fd")),  # noqa: PTH208 - a folder of links to what may be gone
        threads=int(status["Threads"]),
        cpu_s=(int(stat[11]) + int(stat[12])) / TICKS,
    )


def busy_s() -> float:
    """Processor time of the whole machine since it started, idle and waiting for disks not counted."""
    user, nice, system, _idle, _waiting, *others = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
    return (user + nice + system + sum(others)) / TICKS


def profile(endpoints: int, endpoint_port: int, *, extra: str = "", hub: str = "") -> str:
    """Two tiers over simulated endpoints, each on a machine of its own; every fifth costs money, below a limit."""
    small = [number for number in range(endpoints) if number % CLOUD_EVERY]
    large = [number for number in range(endpoints) if not number % CLOUD_EVERY]
    rows = [
        f"  e{number}: {{kind: openai, url: 'http://127.0.0.1:{endpoint_port}/e{number}', host: h{number}, slots: 4,"
        f" local: {'true' if number % CLOUD_EVERY else 'false'},"
        f" models: [{'sim-small' if number % CLOUD_EVERY else 'sim-large'}],"
        f" provider: {'sim-local' if number % CLOUD_EVERY else 'sim-cloud'}}}"
        for number in (*small, *large)
    ]
    return "\n".join(
        (
            "routing:",
            "  tiers:",
            "    direct: {}",
            "    standard: {models: [sim-small]}",
            "    complex: {models: [sim-large]}",
            "  complexity: {trivial: direct, standard: standard, complex: complex}",
            "providers:",
            "  sim-local: {kind: openai, local: true}",
            "  sim-cloud: {kind: openai, local: false}",
            "models:",
            "  sim-small: {context: 65536}",
            "  sim-large: {context: 65536, input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}",
            "endpoints:",
            *rows,
            "budget:",
            "  monthly_hard_cap: 100000",
            "  per_session_cap: 1000",
            "  limits:",
            "    a-day: {scope: all, window: day, hard: 50000}",
            "    a-batch: {scope: batch, window: none, hard: 100}",
            "scheduler: {task_ttl: 0, session_dead: 1m}",
            f"hub:\n  port: 0\n{hub}",
            extra,
        )
    )


class Site:
    """The hub of a folder; it may be stopped and started again over the same one."""

    def __init__(self, folder: Path, endpoints: int, *, extra: str = "", hub: str = "", nice: int = 0) -> None:
        self._folder = folder
        self._nice = nice
        port = free_port()
        self.endpoints = Program([sys.executable, "-m", "bench.crowd.endpoints", str(port)], folder, rig_env())
        (folder / "ostler.yaml").write_text(profile(endpoints, port, extra=extra, hub=hub), encoding="utf-8")
        self.data = folder / "data"
        self.hub: Program | None = None
        self._token = ""
        self.profiled_in = ""
        """File that takes where the hub's time went, from its next start to its end."""
        self.source = ""
        """Folder of the code that the hub is to run, from its next start on; empty: the one that is installed."""

    def env(self) -> dict[str, str]:
        """Of a process that runs that code, as a person's."""
        chosen = {"PYTHONPATH": self.source} if self.source else {}
        return {"PATH": os.environ["PATH"], "HOME": str(self._folder)} | chosen

    def start(self) -> float:
        """Start the hub; seconds until it answers."""
        (self.data / "hub.json").unlink(missing_ok=True)
        arguments = ("up", "--no-worker", "--data-dir", str(self.data), "--profile", str(self._folder / "ostler.yaml"))
        command = [*(("nice", "-n", str(self._nice)) if self._nice else ()), sys.executable]
        command += [*(("-m", "cProfile", "-o", self.profiled_in) if self.profiled_in else ()), "-m", "ostler.cli.main"]
        self.hub = Program([*command, *arguments, "--log-level", "warning"], self._folder, self.env())
        while not (self.data / "hub.json").exists():
            self.hub.alive()
            if time.perf_counter() - self.hub.started > START_LIMIT_S:
                raise StartError("the hub did not start in time")
            time.sleep(0.01)
        return time.perf_counter() - self.hub.started

    @property
    def url(self) -> str:
        """Where the hub answers."""
        return str(json.loads((self.data / "hub.json").read_text(encoding="utf-8"))["url"])

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.rpartition(":")[2])

    @property
    def client(self) -> HubClient:
        """A client of the hub as it runs now."""
        return HubClient(Transport(self.url))

    def token(self) -> str:
        """For workers; made once."""
        if not self._token:
            self._token = self.client.make_token("crew", "worker").token
        return self._token

    @property
    def pid(self) -> int:
        """The process of the hub."""
        assert self.hub is not None
        return self.hub.process.pid

    def gauges(self) -> Gauges:
        """The hub at this instant."""
        return gauges(self.pid)

    def database_mb(self) -> float:
        """Its file, and what is not in it yet."""
        return sum(path.stat().st_size for path in self.data.glob("ostler.db*")) / 2**20

    def stop_hub(self) -> None:
        """In good order."""
        if self.hub is not None:
            self.hub.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.hub.process.wait(60)
            self.hub.stop()

    def stop(self) -> None:
        """Everything."""
        self.stop_hub()
        self.endpoints.stop()


class Workers:
    """A process of simulated workers and its newest tally."""

    def __init__(self, folder: Path, crew: Crew, *, nice: int = 0) -> None:
        prefix = ("nice", "-n", str(nice)) if nice else ()
        command = [*prefix, sys.executable, "-m", "bench.crowd.workers", msgspec.json.encode(crew).decode()]
        self.program = Program(command, folder, rig_env())

    def tally(self) -> Tally:
        """As of the last second."""
        self.program.alive()
        lines = self.program.log.read_bytes().splitlines()
        whole = [line for line in lines[-3:] if line.endswith(b"}")]
        return msgspec.json.decode(whole[-1], type=Tally) if whole else Tally()

    def cpu_s(self) -> float:
        """Processor time of the process so far."""
        return gauges(self.program.process.pid).cpu_s

    def stop(self) -> None:
        """At once."""
        self.program.stop()


@contextlib.contextmanager
def site(folder: Path, endpoints: int, *, extra: str = "", hub: str = "", nice: int = 0) -> Iterator[Site]:
    """A site for as long as the block."""
    made = Site(folder, endpoints, extra=extra, hub=hub, nice=nice)
    try:
        yield made
    finally:
        made.stop()
