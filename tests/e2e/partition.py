"""Three hubs, their database and three workers, each on a machine of its own, while cables break and heal.

    unshare -Urn python -m tests.e2e.partition FOLDER [SCENE ...]

Work is handed in all the time, through whichever hub answers, and a caller asks each hub all the time. One scene after
the other cuts the hub that leads off from somebody and heals it. Prints one line of JSON with what happened; `SCENES`
says what is cut, `Scene` what is told of each.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg

from ostler.client.hub_client import HubClient
from ostler.client.transport import NoHubError, Transport
from ostler.domain.errors import OstlerError
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.network import Network
from tests.e2e.process import QUICK_PROFILE, HubProcess, Process, until
from tests.e2e.test_hosts import RUN
from tests.postgres_server import PostgresServer

HUBS = ("a", "b", "c")
WORKERS = {"wa": "a", "wb": "b", "wc": "c"}
LEASE_S = 2.0
ASK_S = 15.0
PROFILE = QUICK_PROFILE.replace("session_dead: 1500ms", "session_dead: 3s").replace(
    "port: 0", f"port: 7433\n  lease: {LEASE_S:g}s"
)

Cut = Callable[[Network, str], None]


def off_database(network: Network, leader: str) -> None:
    network.cut(leader, "db")


def off_hubs(network: Network, leader: str) -> None:
    network.cut(leader, *(hub for hub in HUBS if hub != leader))


def off_workers(network: Network, leader: str) -> None:
    network.cut(leader, *WORKERS)


def off_all(network: Network, leader: str) -> None:
    off_database(network, leader)
    off_hubs(network, leader)
    off_workers(network, leader)


def deaf(network: Network, leader: str) -> None:
    """What it writes arrives; the database's answers do not."""
    network.cut_way("db", leader)


def mute(network: Network, leader: str) -> None:
    """It hears the database, which does not hear it."""
    network.cut_way(leader, "db")


SCENES: dict[str, tuple[Cut, bool, float]] = {
    "database": (off_database, True, 6.0),
    "hubs": (off_hubs, False, 12.0),
    "workers": (off_workers, False, 4.0),
    "all": (off_all, True, 5.0),
    "deaf": (deaf, True, 6.0),
    "mute": (mute, True, 5.0),
}
"""What is cut, whether another hub must lead then, and how long it lasts in seconds."""


class Asker:
    """Asks one hub again and again; keeps what it was told and how long that took."""

    def __init__(self, url: str, token: str) -> None:
        self._client = HubClient(Transport(url, token, timeout_s=ASK_S))
        self._over = threading.Event()
        self.told: list[tuple[float, float, str]] = []
        """When an answer came, how long it took, and what was wrong with it; empty: nothing."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            began = time.monotonic()
            wrong = ""
            try:
                self._client.status()
            except NoHubError as error:
                wrong = f"no answer: {error.what}"
            except OstlerError as error:
                wrong = f"{error.code}: {error.what}"
            self.told.append((time.monotonic(), time.monotonic() - began, wrong))

    def since(self, instant: float) -> dict[str, object]:
        """What it was told since then: how often all was well, the longest wait, and each thing that was wrong."""
        told = [one for one in self.told if one[0] >= instant]
        wrong = sorted({wrong for _, _, wrong in told if wrong})
        longest = max((took for _, took, _ in told), default=0.0)
        return {"good": sum(not one[2] for one in told), "longest_s": round(longest, 2), "wrong": wrong}

    def stop(self) -> None:
        self._over.set()
        self._thread.join(ASK_S + 5)


class Submitter:
    """Hands tasks in through one hub; where that takes none, through the next, as the same task. Keeps what was
    acknowledged.
    """

    def __init__(self, name: str, urls: list[str], token: str, traces: Path) -> None:
        self._name = name
        self._clients = [HubClient(Transport(url, token, timeout_s=3.0)) for url in urls]
        self._traces = traces
        self._over = threading.Event()
        self.acknowledged: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.4):
            task_id = f"{self._name}{number}"
            argv = (sys.executable, "-S", "-c", RUN, task_id, str(self._traces), "0.4")
            spec = TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=argv)
            for client in self._clients:
                try:
                    client.submit([spec])
                except OstlerError:
                    continue
                self.acknowledged.append(task_id)
                break
            number += 1

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)


class Witness:
    """Looks at the row of the writer in the database itself: who held which epoch."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self.owners: dict[int, set[str]] = {}
        self.changes: list[tuple[float, int, str]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(0.05):
                found = connection.execute("SELECT epoch, owner FROM ostler.writer").fetchone()
                assert found is not None
                epoch, owner = found
                if owner:
                    self.owners.setdefault(epoch, set()).add(owner)
                if owner and (not self.changes or self.changes[-1][1] != epoch):
                    self.changes.append((time.monotonic(), epoch, owner))

    @property
    def leader(self) -> str:
        return self.changes[-1][2] if self.changes else ""

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)


class Play:
    """All machines, running."""

    def __init__(self, folder: Path, network: Network, stack: ExitStack) -> None:
        self.folder, self.network, self.stack = folder, network, stack
        self.traces = folder / "traces"
        self.traces.mkdir()
        db = network.machine("db")
        as_user = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
        self.server = PostgresServer(prefix=(*db.prefix, *as_user), address=db.address)
        stack.callback(self.server.remove)
        self.database = self.server.new_database()
        self.hubs = {name: self._hub(name) for name in HUBS}
        token_file = self.hubs["a"].data / "admin.token"
        until(lambda: token_file.exists() and token_file.stat().st_size > 0, "a token is made")
        self.token = token_file.read_text(encoding="utf-8").strip()
        self.urls = {name: hub.url for name, hub in self.hubs.items()}
        self.client = HubClient(Transport(self.urls["a"], self.token))
        worker_token = self.client.make_token("workers", "worker").token
        for name, hub in WORKERS.items():
            self._worker(name, self.urls[hub], worker_token)
        self.witness = Witness(self.database)
        until(lambda: bool(self.witness.leader), "the database has a leader")

    def _hub(self, name: str) -> HubProcess:
        machine = self.network.machine(name)
        place = self.folder / name
        place.mkdir()
        profile = f"{PROFILE}  host: {machine.address}\n  name: {name}\n  database: {self.database}\n"
        made = HubProcess(place, "--no-worker", profile=profile, prefix=machine.prefix)
        return self.stack.enter_context(made)

    def _worker(self, name: str, url: str, token: str) -> None:
        place = self.folder / name
        place.mkdir()
        words = ("worker", "--hub", url, "--name", name, "--slots", "command=2")
        profile = ("--profile", str(self.folder / "a" / "ostler.yaml"))
        env = {"OSTLER_TOKEN": token}
        prefix = self.network.machine(name).prefix
        self.stack.enter_context(Process(place, *words, *profile, env=env, prefix=prefix))
        joined = lambda: name in {row.session.offer.name for row in self.client.workers().workers}  # noqa: E731
        until(joined, f"{name} joins", 30)

    def log(self, name: str) -> str:
        return self.hubs[name].log.read_text(encoding="utf-8")

    def client_of(self, name: str) -> HubClient:
        return HubClient(Transport(self.urls[name], self.token, timeout_s=ASK_S))


def scene(play: Play, name: str, askers: dict[str, Asker]) -> dict[str, object]:
    """Cut, watch, heal, watch; what happened."""
    cut, must_change, lasts_s = SCENES[name]
    leader, epochs = play.witness.leader, len(play.witness.changes)
    stood_by = play.log(leader).count(f"hub {leader} stands by")
    began = time.monotonic()
    cut(play.network, leader)
    told: dict[str, object] = {"leader": leader}
    if must_change:
        until(lambda: len(play.witness.changes) > epochs, f"{name}: another hub leads", 40)
        at, _, follower = play.witness.changes[-1]
        told |= {"follower": follower, "handed_over_s": round(at - began, 2)}
        until(lambda: _serves(askers[follower], at), f"{name}: {follower} serves", 40)
        told["served_s"] = round(
            next(when for when, _, wrong in askers[follower].told if when > at and not wrong) - began, 2
        )
    time.sleep(max(0.0, began + lasts_s - time.monotonic()))
    during = time.monotonic()
    told["during"] = {hub: asker.since(began) for hub, asker in askers.items()}
    play.network.heal()
    if must_change:
        until(lambda: play.log(leader).count(f"hub {leader} stands by") > stood_by, f"{name}: {leader} stands by", 40)
        told["stands_by_s"] = round(time.monotonic() - during, 2)
    healed = time.monotonic()
    until(lambda: all(_serves(asker, healed) for asker in askers.values()), f"{name}: all serve again", 40)
    told["all_serve_s"] = round(time.monotonic() - during, 2)
    until(lambda: _joined(play) == set(WORKERS), f"{name}: all workers are back", 40)
    told["changes"] = len(play.witness.changes) - epochs
    return told


def _serves(asker: Asker, since: float) -> bool:
    return any(when > since and not wrong for when, _, wrong in list(asker.told))


def _joined(play: Play) -> set[str]:
    try:
        return {row.session.offer.name for row in play.client_of(play.witness.leader).workers().workers}
    except OstlerError:
        return set()


def ends_of(play: Play, ids: list[str]) -> dict[str, int]:
    """Wait until every task that was acknowledged has ended; how many ended how."""
    client, open_ids, ends = play.client_of(play.witness.leader), set(ids), dict[str, int]()
    limit = time.monotonic() + 60
    while open_ids:
        for task_id in sorted(open_ids):
            state = client.task(task_id).task.state
            if state in FINAL_STATES:
                open_ids.discard(task_id)
                ends[state.value] = ends.get(state.value, 0) + 1
        assert time.monotonic() < limit, f"never ended: {sorted(open_ids)}"
        time.sleep(0.1)
    return ends


def main() -> None:
    """Play the scenes, tell."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(SCENES)
    with Network() as network, ExitStack() as stack:
        play = Play(folder, network, stack)
        askers = {name: Asker(url, play.token) for name, url in play.urls.items()}
        turns = [HUBS[place:] + HUBS[:place] for place in range(len(HUBS))]
        submitters = [Submitter(f"{t[0]}-", [play.urls[n] for n in t], play.token, play.traces) for t in turns]
        try:
            scenes = {name: scene(play, name, askers) for name in names}
        finally:
            for submitter in submitters:
                submitter.stop()
            for asker in askers.values():
                asker.stop()
        acknowledged = [task_id for submitter in submitters for task_id in submitter.acknowledged]
        ends = ends_of(play, acknowledged)
        play.witness.stop()
        told = {
            "scenes": scenes,
            "acknowledged": len(acknowledged),
            "ends": ends,
            "again": sum(path.suffix != ".run1" for path in play.traces.glob("*.run*")),
            "overlap": (play.traces / "OVERLAP").exists(),
            "torn_epochs": sorted(epoch for epoch, owners in play.witness.owners.items() if len(owners) > 1),
            "tracebacks": sorted(name for name in HUBS if "Traceback" in play.log(name)),
            "good": TaskState.SUCCEEDED.value,
            "alive": sorted(name for name, hub in play.hubs.items() if hub.popen.poll() is None),
        }
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
