"""Hubs, workers, a database and a provider, put up as a user would, and what may be done to them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.errors import OstlerError
from tests.crash.disk import SmallDisk
from tests.crash.faults import Fault, Kind
from tests.crash.programs import Program
from tests.crash.upstream import INPUT_USD_PER_MTOK, MODEL, OUTPUT_USD_PER_MTOK, Upstream
from tests.postgres_server import PostgresServer, answers, free_port

PROFILE = """\
routing:
  tiers:
    standard: {{models: [{model}]}}
  default_output_tokens: 40
providers:
  scripted: {{kind: openai, base_url: {upstream}/v1, api_key_env: SCRIPTED_KEY, slots: 24, local: false}}
models:
  {model}: {{provider: scripted, context: 32k, input_usd_per_mtok: {input_usd}, output_usd_per_mtok: {output_usd}}}
budget:
  monthly_hard_cap: 100000
  per_session_cap: 100000
  per_tick_cap: 100000
scheduler:
  heartbeat: 1s
  session_dead: 5s
  retry_base: 100ms
  retry_cap: 1s
  max_attempts: 20
  task_ttl: 0
  probe_interval: 1s
  probe_timeout: 1s
  breaker_cooldown: 500ms
worker:
  allow: [command, chat]
  commands: [sh]
  slots: {{command: 3, chat: 8}}
hub:
  port: {port}
  name: {name}
  database: {database}
  lease: 4s
"""
STUCK_S = 90.0


class StuckError(Exception):
    """Nothing happens any more, though it should."""


class Stage:
    """One installation. `disk`: where the database is; `None` where no small disk can be made."""

    def __init__(self, folder: Path, upstream: Upstream, *, store: str, disk: SmallDisk | None) -> None:
        self.folder = folder
        self.disk = disk
        self.place = disk.folder if disk is not None else folder / "disk"
        self.place.mkdir(exist_ok=True)
        self.database: PostgresServer | None = None
        if store == "postgres":
            self.database = PostgresServer(durable=True, data=self.place / "pg")
        self.address = str(self.place / "data" / "ostler.db")
        if self.database is not None:
            self.address = self.database.new_database(name="ostler")
        self._upstream = upstream
        self.ports = {name: free_port() for name in (("a", "b") if store == "postgres" else ("a",))}
        self.hubs = [self._hub(name) for name in self.ports]
        self.workers: list[Program] = []

    def _hub(self, name: str) -> Program:
        folder = self.folder / f"hub-{name}"
        folder.mkdir()
        (folder / "ostler.yaml").write_text(
            PROFILE.format(
                model=MODEL,
                upstream=self._upstream.url,
                input_usd=INPUT_USD_PER_MTOK,
                output_usd=OUTPUT_USD_PER_MTOK,
                port=self.ports[name],
                name=name,
                database=self.address,
            ),
            encoding="utf-8",
        )
        data = folder / "data" if self.database is not None else self.place / "data"
        return Program(f"hub-{name}", folder, ("up", "--data-dir", str(data)), {"SCRIPTED_KEY": f"hub-{name}"})

    @property
    def profile(self) -> Path:
        """The profile of the first hub."""
        return self.folder / "hub-a" / "ostler.yaml"

    @property
    def data(self) -> Path:
        """The data folder of the first hub."""
        return self.folder / "hub-a" / "data" if self.database is not None else self.place / "data"

    @property
    def programs(self) -> list[Program]:
        """All that may be killed."""
        return [*self.hubs, *self.workers]

    def client(self, name: str, traceparent: str = "") -> HubClient:
        """A client of a hub. `traceparent`: the trace that its tasks belong to."""
        transport = Transport(f"http://127.0.0.1:{self.ports[name]}", timeout_s=15.0)
        if traceparent:
            transport._headers["traceparent"] = traceparent
        return HubClient(transport)

    def start(self, workers: int) -> None:
        """Put everything up."""
        for hub in self.hubs:
            hub.start()
        client = self.client("a")

        def answers_at_last() -> bool:
            self.mend()  # somebody may have its port for a moment
            return client.status() is not None

        try:
            patient(answers_at_last, "the hub answers")
        except StuckError as error:
            told = "\n".join(f"{hub.name}: {hub.log.read_text(errors='replace')[-2_000:]}" for hub in self.hubs)
            raise StuckError(f"{error}; what the hubs said:\n{told}") from None
        token = client.make_token("workers", "worker").token
        names = list(self.ports)
        for number in range(workers):
            name = f"w{number}"
            address = f"http://127.0.0.1:{self.ports[names[number % len(names)]]}"
            arguments = ("worker", "--hub", address, "--name", name, "--profile", str(self.profile))
            env = {"OSTLER_TOKEN": token, "SCRIPTED_KEY": name}
            self.workers.append(Program(name, self.folder / name, arguments, env))
            self.workers[-1].start()

    def mend(self) -> None:
        """What ended by itself is started again."""
        for program in self.programs:
            program.mend()

    def suffer(self, fault: Fault) -> None:
        """One fault from its beginning to its end; whatever was killed runs again afterwards."""
        hub, worker = self.hubs[fault.which % len(self.hubs)], self.workers[fault.which % len(self.workers)]
        match fault.kind:
            case Kind.HUB_KILLED:
                self._killed([hub], fault.lasts_s)
            case Kind.WORKER_KILLED:
                self._killed([worker], fault.lasts_s)
            case Kind.POWER_CUT:
                self._killed(self.programs, fault.lasts_s)
            case Kind.HUB_FROZEN:
                self._frozen(hub, fault.lasts_s)
            case Kind.WORKER_FROZEN:
                self._frozen(worker, fault.lasts_s)
            case Kind.DISK_FULL:
                self._filled(fault.lasts_s)
            case Kind.DATABASE_STOPPED | Kind.DATABASE_KILLED:
                self._without_database(fault)

    def _killed(self, programs: list[Program], down_s: float) -> None:
        for program in programs:
            program.kill()
        time.sleep(down_s)
        for program in programs:
            program.start()

    def _frozen(self, program: Program, lasts_s: float) -> None:
        program.freeze()
        time.sleep(lasts_s)
        program.thaw()

    def _filled(self, lasts_s: float) -> None:
        assert self.disk is not None
        self.disk.fill()
        self._for(lasts_s + 1.0)
        self.disk.free()
        if self.database is not None and not answers(self.database.url(), 5.0):
            # A server that cannot write its log gives up, and is started again once there is room.
            with contextlib.suppress(AssertionError):
                self.database.stop()
            self._database_back()

    def _without_database(self, fault: Fault) -> None:
        assert self.database is not None
        if fault.kind is Kind.DATABASE_KILLED:
            pid = int((self.place / "pg" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # it is ours, as every orphan: dead only when we have looked
                os.waitpid(pid, 0)
        else:
            self.database.stop()
        self._for(fault.lasts_s)
        self._database_back()

    def _database_back(self) -> None:
        database = self.database
        assert database is not None

        def started() -> bool:
            try:
                database.start()
            except AssertionError:  # processes of the one before are not gone yet
                return False
            return True

        patient(started, "the database starts")

    def _for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.mend()
            time.sleep(0.1)

    def stop(self) -> dict[str, int]:
        """Everything in good order, workers first; exit codes by name."""
        return {program.name: program.stop() for program in [*self.workers, *reversed(self.hubs)]}

    def end(self) -> None:
        """Whatever still runs is killed."""
        for program in self.programs:
            program.kill()
        if self.database is not None:
            with contextlib.suppress(AssertionError):
                self.database.remove()


def patient(condition: Callable[[], bool], what: str, limit_s: float = STUCK_S) -> None:
    """Wait until it holds; an answer that does not come is no answer yet. Raises `StuckError`."""
    end = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(OstlerError):
            if condition():
                return
        if time.monotonic() > end:
            raise StuckError(f"never happened: {what}")
        time.sleep(0.1)
