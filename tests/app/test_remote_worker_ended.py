"""A worker on another machine gives everything back, however it ends."""

import asyncio
from pathlib import Path
from typing import IO

import pytest

from ostler.app import identity, logs, remote_worker, worker_parts
from ostler.app.options import WorkerOptions
from ostler.domain.errors import NotAllowedError
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.tasks import TaskKind
from ostler.fleet.drivers import DriverSet
from ostler.workers.daemon import HostReporter
from ostler.workers.link_http import HttpLink
from ostler.workers.timing import Timing

HUB = "http://127.0.0.1:9"


class Given:
    """What was opened for the worker."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.drivers_closed = 0
        self.locks: list[IO[bytes]] = []
        self.stop = asyncio.Event()

    @property
    def is_given_back(self) -> bool:
        closed = all(link._is_closed for link in self.links) and all(lock.closed for lock in self.locks)
        return closed and len(self.links) == len(self.locks) == self.drivers_closed == 1


class Link(HttpLink):
    """A hub that refuses, or never answers."""

    refuses = True

    async def join(self, offer: WorkerOffer) -> Session:
        if self.refuses:
            raise NotAllowedError("the token is not good for workers")
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Given:
    found = Given()
    lock_identity = identity.lock_identity

    class Drivers(DriverSet):
        async def close(self) -> None:
            found.drivers_closed += 1
            await super().close()

    def link(url: str, *, token: str = "") -> Link:
        found.links.append(Link(url, token=token))
        return found.links[-1]

    def lock(whose: str, name: str) -> IO[bytes]:
        found.locks.append(lock_identity(whose, name))
        return found.locks[-1]

    def reporter_for(host: str, timing: Timing) -> HostReporter:
        async def measure() -> HostReport | None:
            return None

        return measure

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "set_up", lambda level: None)
    monkeypatch.setattr(remote_worker, "DriverSet", Drivers)
    monkeypatch.setattr(remote_worker, "HttpLink", link)
    monkeypatch.setattr(remote_worker, "lock_identity", lock)
    monkeypatch.setattr(remote_worker, "stop_requested", lambda: found.stop)
    monkeypatch.setattr(worker_parts, "reporter_for", reporter_for)
    return found


def served() -> "asyncio.Task[None]":
    options = WorkerOptions(hub=HUB, token="t", name="w", host="h", slots={TaskKind.CHAT: 1})
    return asyncio.ensure_future(remote_worker.serve_worker(options))


async def test_one_that_its_hub_does_not_take_gives_everything_back(given: Given) -> None:
    """Why it was refused is told, and nothing but that."""
    with pytest.raises(NotAllowedError, match="not good for workers"):
        await served()
    assert given.is_given_back


async def test_one_that_is_asked_to_stop_gives_everything_back(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while its hub does not answer."""
    monkeypatch.setattr(Link, "refuses", False)
    serving = served()
    while not given.links:  # noqa: ASYNC110 -- its own first steps
        await asyncio.sleep(0)
    given.stop.set()
    serving.cancel()
    await asyncio.wait({serving})
    assert given.is_given_back


async def test_one_that_cannot_be_put_together_gives_everything_back(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its folders cannot be written."""

    def build(*_parts: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(worker_parts, "build", build)
    with pytest.raises(PermissionError):
        await served()
    assert given.is_given_back
