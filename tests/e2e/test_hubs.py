"""Several real hubs over one real PostgreSQL: one leads, the others pass on; whoever dies, freezes or stops."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.errors import OstlerError
from ostler.domain.hubs import Leader
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.process import QUICK_PROFILE, HubProcess, until
from tests.postgres_server import free_port


def profile_of(url: str, name: str, changes: Mapping[str, str] | None = None) -> str:
    """The profile of one hub of a pool; what is replaced in it."""
    profile = f"{QUICK_PROFILE}  lease: 3s\n  database: {url}\n  name: {name}\n"
    for old, new in (changes or {}).items():
        profile = profile.replace(old, new)
    return profile


def job(task_id: str, folder: Path, seconds: float = 0.05) -> TaskSpec:
    """A command that says when it runs and that it never runs beside itself."""
    script = 'mkdir "$2/$1" || echo "$1" >> "$2/twice"; sleep "$3"; rmdir "$2/$1"; echo "$1" >> "$2/done"'
    return TaskSpec(
        id=task_id, kind=TaskKind.COMMAND, argv=("sh", "-c", script, "run", task_id, str(folder), str(seconds))
    )


class Pool:
    """Hubs of one pool, by name."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.traces = folder / "traces"
        self.traces.mkdir()
        self.hubs: dict[str, HubProcess] = {}
        self.changes: dict[str, str] = {}
        self._url = url

    def start(self, name: str) -> HubProcess:
        """One hub more."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        self.hubs[name] = HubProcess(folder, profile=profile_of(self._url, name, self.changes))
        return self.hubs[name]

    def leader(self, asked: HubProcess) -> str | None:
        """Who leads, as one of them says; `None` while nobody does."""
        try:
            return next((row.name for row in asked.client.hubs().hubs if row.leads), None)
        except OstlerError:
            return None

    def led_by_another(self, asked: HubProcess, before: str) -> float:
        """Wait until another hub leads; how long that took."""
        began = time.monotonic()
        until(lambda: self.leader(asked) not in {None, before}, f"somebody else than {before} leads", 30)
        return time.monotonic() - began

    def all_done(self, asked: HubProcess, ids: list[str]) -> None:
        """Wait until every task ended, each well and none beside itself."""

        def ended() -> bool:
            states.update({task_id: asked.client.task(task_id).task.state for task_id in ids})
            return set(states.values()) <= FINAL_STATES

        states: dict[str, TaskState] = {}
        until(ended, "all tasks end", 60)
        assert set(states.values()) == {TaskState.SUCCEEDED}, states
        assert set(ids) <= set((self.traces / "done").read_text(encoding="utf-8").split())

    def end(self) -> None:
        """Kill what is left."""
        for hub in self.hubs.values():
            if hub.popen.poll() is None:
                hub.popen.send_signal(signal.SIGCONT)
                hub.kill()


@pytest.fixture
def pool(tmp_path: Path, postgres_url: str) -> "Pool":
    return Pool(tmp_path, postgres_url)


def leased_for(url: str, ms: int) -> None:
    """The lease of whoever leads ends so long from now."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE ostler.writer SET until_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + %s", (ms,)
        )


def submitted(client: HubClient, spec: TaskSpec, limit_s: float = 30.0) -> None:
    """Hand a task in as a careful client does: again, with the same id, until somebody has answered."""
    end = time.monotonic() + limit_s
    while True:
        try:
            client.submit([spec])
        except OstlerError:
            assert time.monotonic() < end, f"{spec.id} was never accepted"
            time.sleep(0.05)
        else:
            return


def test_any_hub_is_as_good_as_the_one_that_leads(pool: Pool) -> None:
    """Work handed in at a stand-by runs at the leader and is seen from every hub; all are listed, one leads."""
    try:
        first, second, third = (pool.start(name) for name in ("a", "b", "c"))
        second.client.submit([job("t1", pool.traces), job("t2", pool.traces)])
        pool.all_done(third, ["t1", "t2"])

        for hub in (first, second, third):
            until(lambda hub=hub: len(hub.client.hubs().hubs) == 3, "all hubs are listed")  # type: ignore[misc]
            rows = hub.client.hubs().hubs
            assert [(row.name, row.leads) for row in rows] == [("a", True), ("b", False), ("c", False)]
            assert hub.client.task("t1").task.state is TaskState.SUCCEEDED
            assert hub.client.status().leader == Leader(name="a", url=first.url)
        assert not (pool.traces / "twice").exists()
        assert [hub.stop() for hub in (third, second, first)] == [0, 0, 0]
    finally:
        pool.end()


def test_a_leader_that_is_killed_is_replaced_and_nothing_is_lost(pool: Pool) -> None:
    """Tasks are handed in at a stand-by over two kills of the leader: each runs to its end, and the next leader is
    there within seconds.
    """
    try:
        first = pool.start("a")
        pool.start("b")
        asked = pool.start("c")
        until(lambda: pool.leader(asked) == "a", "the first one leads")
        ids = [f"t{number}" for number in range(24)]
        for number, task_id in enumerate(ids):
            if number == 8:
                first.kill()
            submitted(asked.client, job(task_id, pool.traces, 0.1))
        took_s = pool.led_by_another(asked, "a")
        pool.all_done(asked, ids)
        assert took_s < 10
        began = [event for event in asked.client.events().events if event.name == "hub.started"]
        assert [event.metadata["hub"] for event in began] == ["a", pool.leader(asked)]
    finally:
        pool.end()


def test_a_leader_that_freezes_can_do_no_harm_when_it_wakes(pool: Pool) -> None:
    """Stopped for longer than its lease it is replaced; awake again it has no say, tells it, and stands by."""
    try:
        first, second = pool.start("a"), pool.start("b")
        until(lambda: pool.leader(second) == "a", "the first one leads")
        submitted(second.client, job("t1", pool.traces))
        first.popen.send_signal(signal.SIGSTOP)
        pool.led_by_another(second, "a")
        submitted(second.client, job("t2", pool.traces))

        first.popen.send_signal(signal.SIGCONT)

        until(lambda: "stands by" in first.log.read_text(encoding="utf-8"), "the old leader stands by", 20)
        submitted(first.client, job("t3", pool.traces))  # passed on: its own address is as good as the leader's
        pool.all_done(second, ["t1", "t2", "t3"])
        assert pool.leader(first) == "b"
        assert "no longer leads" in first.log.read_text(encoding="utf-8")
        assert not (pool.traces / "twice").exists()
    finally:
        pool.end()


def test_what_the_worker_inside_a_frozen_leader_ran_is_over_before_another_begins_it(pool: Pool) -> None:
    """Its processes do not freeze with it. The next leader cannot know that they are gone, however long other workers
    may be silent: it waits as long as that worker was allowed to go on.
    """
    pool.changes = {"session_dead: 1500ms": "session_dead: 60s"}
    argv = ("sh", "-c", 'while :; do date +%s.%N >> "$0/beats.$$"; sleep 0.05; done', str(pool.traces))
    try:
        first, second = pool.start("a"), pool.start("b")
        until(lambda: pool.leader(second) == "a", "the first one leads")
        submitted(second.client, TaskSpec(id="t1", kind=TaskKind.COMMAND, argv=argv))
        until(lambda: len(list(pool.traces.glob("beats.*"))) == 1, "it runs")
        first.popen.send_signal(signal.SIGSTOP)
        pool.led_by_another(second, "a")

        until(lambda: len(list(pool.traces.glob("beats.*"))) == 2, "it runs again", 20)
        time.sleep(0.3)  # so that one that runs beside it is seen to

        beats = sorted(file.read_text(encoding="utf-8").split() for file in pool.traces.glob("beats.*"))
        assert float(beats[0][-1]) < float(beats[1][0]), "it ran beside itself"
        first.popen.send_signal(signal.SIGCONT)
        assert [hub.stop() for hub in (first, second)] == [0, 0]
    finally:
        pool.end()


def test_hubs_are_replaced_one_by_one_without_a_refusal(pool: Pool) -> None:
    """A rolling upgrade: each hub is stopped and started in turn while work comes in at a third; every single request
    is answered, though some wait for the next leader.
    """
    try:
        pool.start("a")
        pool.start("b")
        asked = pool.start("c")
        client = HubClient(Transport(asked.url))
        ids: list[str] = []
        for name in ("a", "b"):
            before = pool.leader(asked)
            assert pool.hubs[name].stop() == 0
            for _ in range(4):
                ids.append(f"t{len(ids)}")
                submitted(client, job(ids[-1], pool.traces))
            if before == name:
                assert pool.led_by_another(asked, name) < 5
            pool.start(name)
        pool.all_done(asked, ids)
        assert not (pool.traces / "twice").exists()
    finally:
        pool.end()


def test_a_hub_that_is_started_again_at_once_does_not_call_itself(tmp_path: Path, postgres_url: str) -> None:
    """Killed and started again at the same address, it finds its own lease: it waits for the end of that, passes
    nothing on to itself, and leads. Who calls meanwhile is answered afterwards.
    """
    profile = profile_of(postgres_url, "a").replace("port: 0", f"port: {free_port()}")
    with HubProcess(tmp_path, profile=profile) as first:
        submitted(first.client, job("t1", tmp_path))
        first.kill()
    leased_for(postgres_url, 60_000)  # however long the next one takes to start
    with HubProcess(tmp_path, profile=profile) as again:
        until(lambda: "stands by" in again.log.read_text(encoding="utf-8"), "it finds its own lease")
        leased_for(postgres_url, 1_000)
        submitted(again.client, job("t2", tmp_path))

        log = again.log.read_text(encoding="utf-8")
        assert "stands by" in log
        assert "this hub before it was started again" in log
        assert "leads the pool" in log
        assert len(list(Path(f"/proc/{again.popen.pid}/fd").iterdir())) < 200
        assert [row.name for row in again.client.hubs().hubs if row.leads] == ["a"]
        assert again.stop() == 0


def test_a_hub_that_cannot_reach_its_database_says_so(tmp_path: Path) -> None:
    """Exit code and message are those of a database that does not answer, without its password."""
    profile = profile_of("postgresql://me:hunter2@127.0.0.1:9/none", "a")
    with pytest.raises(AssertionError, match="is the server running") as told:
        HubProcess(tmp_path, profile=profile)

    assert "hunter2" not in str(told.value)
    assert "Traceback" not in str(told.value)
