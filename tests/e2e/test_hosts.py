"""Workers elsewhere, cut off, killed, brought back: nothing wedged, nothing twice at once, nothing left behind.

Each command holds a lock that ends with its process, so a second run beside it would find it taken; and leaves a file
of its own for each run, made so that it cannot be made twice. One hub serves all tests; workers and tasks have names of
their own in each.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.errors import ConflictError
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.late_views import LateRow, LateStanding
from ostler.workers import reaper
from tests.e2e.process import QUICK_PROFILE, HubProcess, Process, until
from tests.e2e.relay import Relay

GRACE_S = 12.0
BRIEF_S = 5.0
"""The grace where a test waits for its end."""


def profile_with(grace_s: float) -> str:
    """A hub that gives a silent worker up after this long."""
    return QUICK_PROFILE.replace("session_dead: 1500ms", f"session_dead: {grace_s:g}s")


RUN = """
import fcntl, os, sys, time
name, folder, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
lock = open(f"{folder}/{name}.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open(f"{folder}/OVERLAP", "w").write(name)
number = 1
while True:
    try:
        os.close(os.open(f"{folder}/{name}.run{number}", os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        number += 1
open(f"{folder}/{name}.pid", "w").write(str(os.getpid()))
time.sleep(seconds)
print("work of", name, flush=True)
"""


class Ground:
    """A hub, a relay, and workers."""

    def __init__(self, folder: Path, grace_s: float = GRACE_S) -> None:
        self.folder = folder
        self.traces = folder / "traces"
        self.traces.mkdir()
        self._profile = profile_with(grace_s)
        self.hub = HubProcess(folder, "--no-worker", profile=self._profile)
        self.token = self.client.make_token("workers", "worker").token
        self.relay = Relay(self.hub.url.removeprefix("http://"))
        self.processes: list[Process] = []
        self.since = 0

    def begin(self) -> None:
        """A test begins: nothing is held, and events count from here."""
        self.relay.is_cut = False
        self.relay.held.clear()
        self.relay.unanswered.clear()
        self.since = self.client.status().last_event_seq

    def end(self) -> None:
        """A test ends: its workers go."""
        self.relay.is_cut = False
        self.relay.held.clear()
        for process in self.processes:
            process.stop()
        self.processes.clear()

    @property
    def client(self) -> HubClient:
        return HubClient(Transport(self.hub.url))

    def worker(self, name: str, *, direct: bool = False) -> Process:
        """Start a worker and wait until the hub knows it."""
        url = self.hub.url if direct else self.relay.url
        arguments = ("worker", "--hub", url, "--name", name, "--slots", "command=2", "--profile")
        before = len(self.events("worker.joined")) + len(self.events("worker.resumed"))
        process = Process(self.folder, *arguments, str(self.folder / "ostler.yaml"), env={"OSTLER_TOKEN": self.token})
        self.processes.append(process)
        until(
            lambda: len(self.events("worker.joined")) + len(self.events("worker.resumed")) > before,
            f"{name} joins",
        )
        return process

    def restart_hub(self) -> None:
        """Kill the hub and start it over its files; the relay leads to the new one."""
        self.hub.kill()
        self.hub = HubProcess(self.folder, "--no-worker", profile=self._profile)
        self.relay.target = self.hub.url.removeprefix("http://")

    def give(self, name: str, seconds: float, **fields: str) -> None:
        """Hand in a command that leaves traces."""
        argv = (sys.executable, "-c", RUN, name, str(self.traces), str(seconds))
        self.client.submit([TaskSpec(id=name, kind=TaskKind.COMMAND, argv=argv, **fields)])  # type: ignore[arg-type]

    def runs(self, name: str) -> int:
        """How often it was begun."""
        return len(list(self.traces.glob(f"{name}.run*")))

    def state(self, name: str) -> TaskState:
        return self.client.task(name).task.state

    def events(self, name: str) -> list[object]:
        return [event for event in self.client.events(self.since, 1000).events if event.name == name]

    def succeeds(self, name: str, limit_s: float = 20.0) -> int:
        """Wait for the end; how many attempts it took."""
        until(lambda: self.state(name) is TaskState.SUCCEEDED, f"{name} succeeds", limit_s)
        return self.client.task(name).task.generation

    def late(self, *names: str) -> dict[str, LateRow]:
        """Late results of these tasks."""
        return {row.task_id: row for row in self.client.late().late if row.task_id in names}

    def pid(self, name: str) -> int:
        """Its process, once it runs."""
        path = self.traces / f"{name}.pid"
        until(lambda: path.exists() and path.read_text() != "", f"{name} runs")
        return int(path.read_text())

    def close(self) -> None:
        """Stop everything; nothing of it may be left."""
        self.end()
        self.hub.stop()
        self.relay.close()


@contextmanager
def opened(folder: Path, grace_s: float = GRACE_S) -> Iterator[Ground]:
    """A hub and a relay, for one test or several."""
    made = Ground(folder, grace_s)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def checked(ground: Ground) -> Iterator[Ground]:
    """For one test. Afterwards: never two at once, no process left."""
    ground.begin()
    try:
        yield ground
        assert not (ground.traces / "OVERLAP").exists()
    finally:
        ground.end()
    until(lambda: left(ground.traces) == [], "no process is left", 10)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One hub and one relay."""
    with opened(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    """What all share."""
    with checked(shared) as made:
        yield made


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[Ground]:
    """One whose grace is over soon."""
    with opened(tmp_path, BRIEF_S) as made, checked(made):
        yield made


def left(traces: Path) -> list[int]:
    """Processes of commands that still live."""
    found = []
    for proc in reaper.processes():
        try:
            words = Path(f"/proc/{proc.pid}/cmdline").read_bytes()
        except OSError:
            continue
        if str(traces).encode() in words:
            found.append(proc.pid)
    return found


@contextmanager
def cut(through: Relay) -> Iterator[None]:
    """Nothing passes, in neither direction."""
    through.is_cut = True
    try:
        yield
    finally:
        through.is_cut = False


# -- a worker is killed at each step ---------------------------------------------------------------------------------


def test_a_worker_killed_before_it_heard_of_its_work(ground: Ground) -> None:
    """Claimed, and not started: the next daemon says that it holds nothing, and the work comes anew at once."""
    first = ground.worker("w0")
    ground.relay.unanswered.add("poll")
    ground.give("t0", 0.2, worker="w0")
    until(lambda: ground.state("t0") is TaskState.ASSIGNED, "it is assigned")
    first.kill()
    ground.relay.unanswered.clear()
    ground.worker("w0")

    assert ground.succeeds("t0") <= 2
    assert ground.runs("t0") == 1


def test_a_worker_killed_while_its_work_runs(ground: Ground) -> None:
    """The command outlives it, and the next daemon goes on with that very process: see `test_taken_up`."""
    first = ground.worker("w1")
    ground.give("t1", 3.0, worker="w1")
    pid = ground.pid("t1")
    first.kill()
    ground.worker("w1")

    assert ground.succeeds("t1") == 1
    assert ground.runs("t1") == 1
    assert ground.pid("t1") == pid
    assert ground.client.task("t1").output == "work of t1\n"


def test_a_worker_killed_after_the_end_and_before_the_report(ground: Ground) -> None:
    """The work was done: its end was on disk, the next daemon tells it, and nothing is run again."""
    first = ground.worker("w2")
    ground.give("t2", 0.5, worker="w2")
    ground.pid("t2")
    until(lambda: ground.state("t2") is TaskState.RUNNING, "it runs")
    ground.relay.held.add("reports")
    until(lambda: left(ground.traces) == [], "it ends")
    time.sleep(0.3)
    first.kill()
    ground.relay.held.clear()
    ground.worker("w2")

    assert ground.succeeds("t2") == 1
    assert ground.runs("t2") == 1
    assert ground.client.task("t2").output == "work of t2\n"


def test_a_worker_killed_after_the_report_and_before_the_answer(ground: Ground) -> None:
    """The hub has it; the next daemon tells it again, which changes nothing and is no late result."""
    first = ground.worker("w3")
    ground.give("t3", 0.5, worker="w3")
    ground.pid("t3")
    ground.relay.unanswered.add("reports")
    assert ground.succeeds("t3") == 1
    first.kill()
    ground.relay.unanswered.clear()
    told = ground.relay.seen.count("reports")
    ground.worker("w3")
    until(lambda: ground.relay.seen.count("reports") > told, "it is told again")
    time.sleep(0.3)

    assert ground.late("t3") == {}
    assert ground.runs("t3") == 1


# -- the hub is killed at each step ------------------------------------------------------------------------------------


def test_a_hub_killed_while_work_runs_takes_nothing_back(ground: Ground) -> None:
    """The worker goes on under its session, through the gap."""
    ground.worker("w4")
    ground.give("t4", 2.0, worker="w4")
    ground.pid("t4")
    ground.restart_hub()

    assert ground.succeeds("t4") == 1
    assert ground.runs("t4") == 1


def test_a_hub_killed_before_and_after_it_heard_of_the_end(ground: Ground) -> None:
    """What it had not heard comes when it is back; what it had heard and not answered is not heard twice."""
    ground.worker("w5")
    ground.give("before", 0.5, worker="w5")
    ground.pid("before")
    until(lambda: ground.state("before") is TaskState.RUNNING, "it runs")
    ground.relay.held.add("reports")
    until(lambda: left(ground.traces) == [], "it ends")
    ground.restart_hub()
    ground.relay.held.clear()
    assert ground.succeeds("before") == 1
    ground.give("after", 0.3, worker="w5")
    ground.relay.unanswered.add("reports")
    assert ground.succeeds("after") == 1
    ground.restart_hub()
    ground.relay.unanswered.clear()
    told = ground.relay.seen.count("reports")
    until(lambda: ground.relay.seen.count("reports") > told, "it is told again")
    time.sleep(0.3)

    assert ground.late("before", "after") == {}
    assert (ground.runs("before"), ground.runs("after")) == (1, 1)


def test_a_command_that_is_killed_is_tried_again(ground: Ground) -> None:
    """By whom does not matter: it failed, says so, and the next attempt begins after it is dead."""
    ground.worker("w6")
    ground.give("t6", 1.0, worker="w6")
    os.kill(ground.pid("t6"), signal.SIGKILL)
    (ground.traces / "t6.pid").unlink()

    assert ground.succeeds("t6") == 2
    first = ground.client.task("t6").attempts[0]
    assert first.failure is not None
    assert "SIGKILL" in first.failure.message


# -- a network that comes and goes -------------------------------------------------------------------------------------


def test_a_cut_shorter_than_the_grace_costs_nothing(ground: Ground) -> None:
    """The worker is suspect, keeps its work, and goes on; the other one is not given it."""
    ground.worker("far")
    ground.give("t7", 4.5, worker="far")
    ground.pid("t7")
    ground.worker("near", direct=True)
    with cut(ground.relay):
        until(lambda: ground.events("worker.suspect") != [], "it is suspect")
        (row,) = [row for row in ground.client.workers().workers if row.session.offer.name == "far"]
        assert row.lost_ms is not None
        assert row.tasks == ("t7",)
        time.sleep(0.5)
    until(lambda: ground.events("worker.returned") != [], "it is back")

    assert ground.succeeds("t7") == 1
    assert ground.runs("t7") == 1
    assert ground.events("worker.lost") == []


def test_a_cut_longer_than_the_grace(brief: Ground) -> None:
    """The work runs elsewhere. What was finished meanwhile is kept: refused where the task has its result by then,
    adopted where it has none.
    """
    brief.worker("far")
    brief.give("moved", 2.0)
    brief.give("only-far", 2.0, worker="far")
    brief.pid("moved"), brief.pid("only-far")
    with cut(brief.relay):
        brief.worker("near", direct=True)
        until(lambda: brief.events("worker.lost") != [], "it is lost", BRIEF_S + 10)
        assert brief.succeeds("moved") == 2
        brief.client.act("only-far", "pause")
    until(lambda: len(brief.late("moved", "only-far")) == 2, "its ends come late")
    standings = {name: (row.standing, row.ok) for name, row in brief.late("moved", "only-far").items()}

    assert standings == {"moved": (LateStanding.SETTLED, True), "only-far": (LateStanding.OPEN, True)}
    with pytest.raises(ConflictError, match="settled"):
        brief.client.adopt_late("moved", 1)
    assert brief.client.adopt_late("only-far", 1).state is TaskState.SUCCEEDED
    assert brief.client.task("only-far").output == "work of only-far\n"
    assert (brief.runs("moved"), brief.runs("only-far")) == (2, 1)


def test_a_frozen_hub_does_not_lose_its_workers(ground: Ground) -> None:
    """Stopped for many heartbeats, as by a suspend: afterwards it blames nobody, and work is where it was."""
    ground.worker("w9")
    ground.give("t9", 4.0, worker="w9")
    ground.pid("t9")
    ground.hub.popen.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    ground.hub.popen.send_signal(signal.SIGCONT)

    assert ground.succeeds("t9") == 1
    assert ground.events("worker.lost") == ground.events("worker.suspect") == []
    assert len(ground.events("hub.stalled")) >= 1
    assert ground.runs("t9") == 1
