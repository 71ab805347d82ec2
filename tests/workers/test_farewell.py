"""Tests of what the companion of a killed daemon says to the hub, and of when it keeps silent: real processes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ostler.workers import companion, reaper
from ostler.workers.guard import Farewell, ReaperGuard
from tests.workers.tagged import Tagged, tagged, until

__all__ = ["tagged"]

ROOT = Path(__file__).resolve().parents[2]
DAEMON = """
import os, subprocess, sys, time
from pathlib import Path
from ostler.workers.guard import SESSION_TAG, WORKER_TAG, Farewell, ReaperGuard
url, identity, spool, verb = sys.argv[1:]
farewell, place = Farewell(url, "Bearer secret"), Path(spool) if spool else None
keep_ms = int(verb[5:]) if verb.startswith("keep ") else 0
kept = {"folder": place / "guard", "book": place / "book", "keep_ms": keep_ms} if keep_ms else {}
guard = ReaperGuard(identity, farewell, None if kept else place, **kept)
guard.open("s 1", "life-1")
sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
if kept:  # as a supervisor does
    guard.beat(60_000)
    step = place / "book" / "attempt" / "work"
    step.mkdir(parents=True)
    lock = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, 2, file=f, flush=True)"
    sleep[4:] = [lock + "; time.sleep(60)", str(step / "alive")]
child = subprocess.Popen(sleep, env={SESSION_TAG: "s 1", WORKER_TAG: identity}, start_new_session=True)
guard.add(child.pid)
while kept and not (step / "alive").exists() or kept and not (step / "alive").read_text():
    time.sleep(0.01)
if verb == "rest":
    guard.rest()
if verb == "overdue":
    guard.beat(50)
if verb == "retire":
    guard._retire()
print(guard.pid or 0, flush=True)
time.sleep(60)
"""


class Hub:
    """Hears what is said; `answers` are the statuses to come, the last one for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[tuple[str, str, dict[str, object]]] = []
        self.answers = [200]
        self.alive: list[int] = []
        """How many processes of the daemon lived whenever something was said."""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tagged: Tagged) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        self.alive.append(tagged.count())
        self.heard.append((head.split(" ")[1], fields["authorization"], body))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serving(self, tagged: Tagged) -> AsyncIterator["Hub"]:
        """On a port of its own."""
        server = await asyncio.start_server(lambda r, w: self._answer(r, w, tagged), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/front"
        try:
            yield self
        finally:
            server.close()


@asynccontextmanager
async def killed(hub: Hub, tagged: Tagged, verb: str = "", spool: str = "") -> AsyncIterator[int]:
    """A daemon that was killed in the middle of its session; the id of its companion."""
    process = subprocess.Popen(  # noqa: ASYNC220 - at once
        [sys.executable, "-c", DAEMON, hub.url, tagged.identity, spool, verb], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    companion = int(await asyncio.to_thread(process.stdout.readline))
    try:
        if verb not in {"overdue", "retire"}:
            process.kill()
        yield companion
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        await tagged.until(lambda count: count == 0)


def lives(pid: int) -> bool:
    return any(proc.pid == pid for proc in reaper.processes())


async def test_the_hub_hears_of_a_killed_daemon_when_nothing_that_it_ran_lives(tagged: Tagged) -> None:
    """Its session, its process and the token, once; not before the last of its processes is dead."""
    async with Hub().serving(tagged) as hub, killed(hub, tagged) as companion:
        await until(lambda: bool(hub.heard))
        await until(lambda: not lives(companion))

    said = {"life": "life-1", "died": True}
    assert hub.heard == [("/front/hub/workers/s%201/leave", "bearer secret", said)]
    assert hub.alive == [0], "it said so while something still ran"


async def test_a_hub_that_cannot_take_it_now_is_told_again(tagged: Tagged) -> None:
    """Until it can; a refusal for good is not repeated."""
    hub = Hub()
    hub.answers = [503, 500, 404]
    async with hub.serving(tagged), killed(hub, tagged) as companion:
        await until(lambda: not lives(companion))

    assert len(hub.heard) == 3


@pytest.mark.parametrize("verb", ["rest", "overdue"])
async def test_nothing_is_said_of_a_daemon_that_did_not_die_within_a_session(tagged: Tagged, verb: str) -> None:
    """Not of one that had given its session up, nor of one that is frozen: that one may wake up."""
    async with Hub().serving(tagged) as hub, killed(hub, tagged, verb) as companion:
        await until(lambda: not lives(companion))

    assert hub.heard == []


async def test_nothing_is_said_of_a_daemon_that_lives(tagged: Tagged) -> None:
    """One that closed the pipe of a companion which it held for hung goes on under the same session."""
    async with Hub().serving(tagged) as hub, killed(hub, tagged, "retire"):
        await tagged.until(lambda count: count == 0)
        await asyncio.sleep(companion.DYING_S + 0.3)

    assert hub.heard == []


async def test_ends_that_the_hub_does_not_have_yet_keep_the_session(tagged: Tagged, tmp_path: Path) -> None:
    """The next daemon tells them; what was done is not done again."""
    ends = tmp_path / "ends"
    ends.write_text("{}", encoding="utf-8")
    async with Hub().serving(tagged) as hub, killed(hub, tagged, spool=str(tmp_path)) as companion:
        await until(lambda: not lives(companion))
    assert hub.heard == []

    ends.write_text("", encoding="utf-8")
    async with Hub().serving(tagged) as other, killed(other, tagged, spool=str(tmp_path)) as companion:
        await until(lambda: not lives(companion))
    assert len(other.heard) == 1


async def test_what_may_be_taken_up_is_neither_ended_nor_declared_lost(tagged: Tagged, tmp_path: Path) -> None:
    """As long as it lives and may be adopted nothing is said; once nothing of it is left, that is told at once."""
    async with Hub().serving(tagged) as hub, killed(hub, tagged, "keep 60000", str(tmp_path)) as pid:
        await asyncio.sleep(0.6)
        assert (hub.heard, tagged.count(), lives(pid)) == ([], 1, True)

        reaper.sweep(tagged.target)
        await until(lambda: bool(hub.heard))

    assert hub.alive == [0]


async def test_what_nobody_took_up_in_time_is_ended_and_then_told(tagged: Tagged, tmp_path: Path) -> None:
    """When the time for the next daemon is over, its processes are dead before the hub hears of it."""
    async with Hub().serving(tagged) as hub, killed(hub, tagged, "keep 300", str(tmp_path)) as pid:
        await until(lambda: not lives(pid))

    assert [body for _, _, body in hub.heard] == [{"life": "life-1", "died": True}]
    assert hub.alive == [0]


async def test_a_command_that_ended_by_itself_keeps_the_session(tagged: Tagged, tmp_path: Path) -> None:
    """Its end is on the disk, and the next daemon tells it: what was done is not done again."""
    async with Hub().serving(tagged) as hub, killed(hub, tagged, "keep 500", str(tmp_path)) as pid:
        (tmp_path / "book" / "attempt" / "work" / "exit").write_text("status=0\nby=\nbytes=0\n", encoding="ascii")
        await until(lambda: not lives(pid))

    assert hub.heard == []


def test_a_spool_that_cannot_be_read_keeps_the_session(tmp_path: Path) -> None:
    """Who cannot tell that nothing is left does not say so."""
    assert companion.Farewell("http://h", "", "l", str(tmp_path / "none"), 1).has_ends
    assert not companion.Farewell("http://h", "", "l", str(tmp_path), 1).has_ends
    assert not companion.Farewell("http://h", "", "l", "", 1).has_ends


def test_a_farewell_is_taken_with_the_session_it_is_for() -> None:
    """The order, and what a rest makes of it."""
    orders = companion.Orders()
    orders.take(b'["farewell", "http://h", "Bearer t", "l", "/spool", 7]', 0.0)
    orders.take(b'["farewell", "http://other"]', 0.0)
    orders.take(b'["session", "a"]', 0.0)
    assert (orders.session, orders.farewell) == ("a", companion.Farewell("http://h", "Bearer t", "l", "/spool", 7))

    orders.take(b'["rest"]', 0.0)
    assert (orders.session, orders.sessions) == ("", {"a"}), "it is still swept"


async def test_the_token_is_shown_nowhere(tagged: Tagged) -> None:
    """Neither as text nor in what the system tells of the companion."""
    farewell = Farewell("http://127.0.0.1:1", "Bearer secret")
    assert "secret" not in repr(farewell)
    guard = ReaperGuard(tagged.identity, farewell)
    guard.open("s")
    assert guard.pid is not None
    for name in ("cmdline", "environ"):
        assert b"secret" not in reaper.read(f"/proc/{guard.pid}/{name}")
    guard.rest()
    await guard.close()


def test_the_parent_of_a_process_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not its parent, or is so no more, is."""
    monkeypatch.setattr(companion, "DYING_S", 0.0)

    assert not companion.is_dead(os.getppid())
    assert companion.is_dead(-1)
