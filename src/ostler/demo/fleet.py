"""The fleet of the demo: machines, cloud, hub and workers as real processes that speak real HTTP to each other.

Order: machines and cloud (they choose their ports), profile, hub, a token for each machine's worker, workers. A machine
and its worker are switched off and on together. The demo itself is a user: it speaks to the hub as any other would.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.config.load import load_profile
from ostler.demo.machines import MachineState, Site
from ostler.demo.processes import Child, ProcessError, Processes
from ostler.demo.simulated import FILES
from ostler.demo.workload import CAPABILITY, PYTHON
from ostler.domain.catalog import Catalog
from ostler.domain.errors import UnreachableError
from ostler.domain.fleet import Health
from ostler.hub.views import SubmitAnswer

CLOUD = "sim-cloud"
CLOUD_KEY = "sk-simulated"
ANSWERS = r"answers at (http://\S+)"
READY_WITHIN_S = 60.0
HUB_TIMEOUT_S = 10.0
POLL_S = 0.1
COMMAND = "ostler.cli.main"


class _HubFile(msgspec.Struct):
    url: str


class Machine:
    """One machine: its process and its worker's, and what it said before it was switched off."""

    def __init__(self, name: str, token_path: Path) -> None:
        self.name = name
        self.token_path = token_path
        self.url = ""
        self.children: tuple[Child, ...] = ()
        self.before = MachineState()
        self.starts_ms: list[int] = []
        self.deaths = 0

    @property
    def is_on(self) -> bool:
        """Whether it has not been switched off."""
        return bool(self.children)


class Fleet:
    """All processes of the demo. `folder` is empty and takes every file; `speed` goes to the cloud too."""

    def __init__(self, site: Site, folder: Path, tag: str, *, speed: float, port: int = 0) -> None:
        self.site = site
        for name in ("logs", "hub", "work", "bin"):
            (folder / name).mkdir()
        # Tasks call it by its bare name, which the workers' allow-list has.
        (folder / "bin" / PYTHON).symlink_to(Path(sys.executable).resolve())
        self._worker_env = {
            "SIMULATED_CLOUD_KEY": CLOUD_KEY,
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        self.processes = Processes(folder / "logs", tag)
        self.client: HubClient
        self.catalog: Catalog
        self.folder = folder
        self._speed = speed
        self._port = port
        self._machines = {name: Machine(name, folder / f"{name}.token") for name in site.names}

    @property
    def doomed(self) -> str:
        """The machine that is switched off half-way."""
        return self.site.names[0]

    @property
    def machines(self) -> Mapping[str, Machine]:
        """The machines by name."""
        return self._machines

    def start(self) -> None:
        """Start everything and wait until the hub sees all of it. Raises `OstlerError`."""
        self.site.prepare()
        hosts = {name: self._start_machine(name) for name in self._machines}
        cloud = self._start_cloud()
        for name, child in hosts.items():
            self._machines[name].url = child.wait_for_line(ANSWERS, READY_WITHIN_S)
            self._machines[name].children = (child,)
        urls = {name: machine.url for name, machine in self._machines.items()}
        urls[CLOUD] = cloud.wait_for_line(ANSWERS, READY_WITHIN_S)
        self._write_profile(urls, {name: child.log() for name, child in hosts.items()})
        self._start_hub()
        for machine in self._machines.values():
            made = self.client.make_token(machine.name, "worker")
            machine.token_path.touch(mode=0o600)
            machine.token_path.write_text(made.token, encoding="utf-8")
            machine.children += (self._start_worker(machine),)
        self._wait_until_complete()

    def run_file(self, path: Path, run_id: str) -> SubmitAnswer:
        """Hand in a file of tasks as a user does, with `ostler run --plan`. Raises `ProcessError`."""
        arguments = ("run", str(path), "--no-wait", "--plan", "--run-id", run_id, "--json", "--hub", self.client.url)
        run = self.processes.start(f"run-{run_id}", COMMAND, arguments, {})
        answer = run.wait_for_line(r"(\{.*\})", HUB_TIMEOUT_S)
        if not run.wait(HUB_TIMEOUT_S) or run.status != 0:
            raise run.failure("did not hand in its tasks")
        self.processes.forget(run)
        return msgspec.json.decode(answer, type=SubmitAnswer)

    def switch_off(self, name: str) -> None:
        """Pull the plug of a machine: its server and its worker are killed at the same moment."""
        machine = self._machines[name]
        machine.before = self.total(name)
        self.processes.kill(*machine.children)
        machine.children = ()
        machine.deaths += 1

    def switch_on(self, name: str) -> None:
        """Start a machine and its worker again, at the same address."""
        machine = self._machines[name]
        port = int(machine.url.rpartition(":")[2])
        child = self._start_machine(name, port)
        machine.children = (child, self._start_worker(machine))
        child.wait_for_line(ANSWERS, READY_WITHIN_S)

    def total(self, name: str) -> MachineState:
        """What a machine has counted in all its lives; residents of now."""
        machine = self._machines[name]
        now = self.site.state(machine.url) if machine.is_on else None
        return machine.before.plus(now or MachineState())

    def _start_machine(self, name: str, port: int = 0) -> Child:
        start = self.site.start(name, port)
        self._machines[name].starts_ms.append(int(time.time() * 1000))
        return self.processes.start(name, start.module, start.arguments, {})

    def _start_cloud(self) -> Child:
        arguments = (
            "simulate-cloud",
            "--spec",
            str(FILES / f"{CLOUD}.yaml"),
            "--port",
            "0",
            "--speed",
            f"{self._speed:g}",
        )
        return self.processes.start(CLOUD, COMMAND, arguments, {})

    def _write_profile(self, urls: Mapping[str, str], log: Mapping[str, str]) -> None:
        self._profile.write_text(self.site.profile(urls, log), encoding="utf-8")
        self.catalog = load_profile(self._profile, {}, cwd=self.folder).policy.catalog

    @property
    def _profile(self) -> Path:
        return self.folder / "profile.yaml"

    @property
    def _data(self) -> Path:
        return self.folder / "hub"

    def _start_hub(self) -> None:
        arguments = ("up", "--profile", str(self._profile), "--data-dir", str(self._data), "--port", str(self._port))
        hub = self.processes.start("hub", COMMAND, arguments, self._worker_env)
        path = self._data / "hub.json"
        deadline_s = time.monotonic() + READY_WITHIN_S
        while not path.exists():
            if not hub.runs or time.monotonic() > deadline_s:
                raise hub.failure("does not answer" if hub.runs else "did not start")
            time.sleep(POLL_S)
        url = msgspec.json.decode(path.read_bytes(), type=_HubFile).url
        self.client = HubClient(Transport(url, timeout_s=HUB_TIMEOUT_S))

    def _start_worker(self, machine: Machine) -> Child:
        # One more slot on the doomed machine, so that the long command is given to it.
        commands = 2 if machine.name == self.doomed else 1
        arguments = ["worker", "--hub", self.client.url, "--token-file", str(machine.token_path)]
        arguments += ["--profile", str(self._profile), "--name", machine.name, "--on-host", machine.name]
        arguments += ["--slots", f"command={commands}", "--slots", "chat=4", "--has", CAPABILITY]
        return self.processes.start(f"{machine.name}-worker", COMMAND, arguments, self._worker_env)

    def start_agent_worker(self, name: str, profile: Path, tools: str) -> None:
        """Start a worker that runs agents and nothing else; `tools`: folder with the agent command line."""
        token = self.folder / f"{name}.token"
        token.touch(mode=0o600)
        token.write_text(self.client.make_token(name, "worker").token, encoding="utf-8")
        arguments = ("worker", "--hub", self.client.url, "--token-file", str(token), "--profile", str(profile))
        env = {
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "XDG_DATA_HOME": str(self.folder / "agents"),
        }
        self.processes.start(name, COMMAND, (*arguments, "--name", name, "--slots", "agent=1"), env)

    def _wait_until_complete(self) -> None:
        """Until every worker has joined and every endpoint was found up."""
        deadline_s = time.monotonic() + READY_WITHIN_S
        missing = ["the hub"]
        while missing:
            if time.monotonic() > deadline_s:
                raise ProcessError(f"not all of the fleet came up: {', '.join(missing)}", where=str(self.folder))
            self.processes.check()
            time.sleep(POLL_S)
            try:
                missing = self._missing()
            except UnreachableError:
                continue

    def _missing(self) -> list[str]:
        joined = {row.session.offer.name for row in self.client.workers().workers}
        down = [row.view.spec.name for row in self.client.endpoints().endpoints if row.view.health is not Health.UP]
        return [f"worker {name}" for name in self._machines if name not in joined] + [
            f"endpoint {name}" for name in down
        ]
