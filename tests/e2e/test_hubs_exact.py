"""What is limited stays within its limits over several real hubs: slots of an endpoint, and how much may be asked for.

The server behind them is real HTTP and counts for itself what it is given.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.process import HubProcess, until
from tests.e2e.upstream import MODEL, Counts, upstream

LASTS_S = 0.3
SLOTS = 2
PROFILE = """\
routing:
  tiers:
    standard: {{models: [{model}]}}
providers:
  counted: {{kind: openai, base_url: {url}/v1, api_key_env: COUNTED_KEY, slots: {slots}}}
models:
  {model}: {{provider: counted, context: 128k, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
budget:
  limits:
    calls: {{window: day, unit: requests, hard: {hard}}}
hub:
  port: 0
  lease: 3s
  database: {database}
  name: {name}
  pool: {pool}
"""


class Ground(NamedTuple):
    """Where hubs are made, and what their server counts."""

    folder: Path
    database: str
    server: str
    counts: Counts

    def hub(self, name: str, *, pool: str = "default", slots: int = SLOTS, hard: int = 10_000) -> HubProcess:
        """A hub of a pool."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        profile = PROFILE.format(
            model=MODEL, url=self.server, slots=slots, hard=hard, database=self.database, name=name, pool=pool
        )
        return HubProcess(folder, "--no-worker", profile=profile, env={"COUNTED_KEY": "sk-counted"})


def called(url: str) -> int:
    """The status of one call through a hub; 0: it broke off."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "say hello"}], "max_tokens": 10})
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=40)) as connection:
        try:
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0


class Callers:
    """Call hubs in turn, several at once: each so many times, or until they are told to stop."""

    def __init__(self, urls: list[str], count: int, each: int | None = None) -> None:
        self.statuses: list[int] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(urls[number % len(urls)], each), daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, url: str, each: int | None) -> None:
        for _ in count() if each is None else range(each):
            if self._over.is_set():
                return
            self.statuses.append(called(url))
            if self.statuses[-1] == 503:  # it says to come back later; at once there may be who just died
                time.sleep(1)

    def all(self) -> dict[int, int]:
        """How often each status came, when all are done."""
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()
        return {status: self.statuses.count(status) for status in set(self.statuses)}

    def stop(self) -> dict[int, int]:
        """The same, when each has ended the call that it is at."""
        self._over.set()
        return self.all()


@pytest.fixture
def ground(tmp_path: Path, postgres_url: str) -> Iterator[Ground]:
    with upstream(LASTS_S) as (url, counts):
        yield Ground(tmp_path, postgres_url, url, counts)


def end(hubs: list[HubProcess]) -> None:
    """Kill what is left."""
    for hub in hubs:
        if hub.popen.poll() is None:
            hub.kill()


def found(hub: HubProcess) -> None:
    until(lambda: hub.client.status().endpoints_up == 1, "the server is found")


def test_hubs_of_a_pool_together_never_send_more_than_the_slots(ground: Ground) -> None:
    """Calls come in at three hubs at once, and the leader is killed in the middle: the server never has more of them
    at once than it has slots, and what broke off is all that was not answered.
    """
    hubs = [ground.hub(name) for name in "abc"]
    try:
        found(hubs[1])
        callers = Callers([hubs[1].url, hubs[2].url], 6, 5)
        until(lambda: ground.counts.ended >= 4, "some calls are answered")
        hubs[0].kill()
        statuses = callers.all()

        assert ground.counts.most == SLOTS
        assert statuses[200] >= 30 - 6  # each caller may have had one on its way
        assert statuses.keys() <= {200, 503}
        assert ground.counts.now == 0
    finally:
        end(hubs)


def test_a_limit_holds_for_all_hubs_of_a_pool_over_a_killed_leader(ground: Ground) -> None:
    """So many requests may be made in a day, whichever hub is asked and whoever leads: not one more reaches the server;
    what was held for a call whose end nobody knows counts.
    """
    hard = 9
    hubs = [ground.hub(name, hard=hard) for name in "abc"]
    try:
        found(hubs[1])
        first = Callers([hubs[1].url, hubs[2].url], 2, 2).all()
        assert first == {200: 4}
        callers = Callers([hubs[1].url, hubs[2].url], 4, 6)
        until(lambda: ground.counts.begun >= 6, "calls are on their way")
        hubs[0].kill()
        statuses = callers.all()

        assert ground.counts.begun <= hard
        assert ground.counts.begun >= hard - SLOTS  # of those that broke off
        assert statuses.get(429, 0) > 0
    finally:
        end(hubs)


def asked_until(hubs: list[HubProcess], counts: Counts, total: int) -> None:
    """Call hubs, three at once each, until the server was sent so many; who is told to come again does."""
    for _ in range(20):
        if counts.begun >= total:
            return
        Callers([hub.url for hub in hubs], 3 * len(hubs), 1).all()
    pytest.fail(f"{counts.begun} of {total} were let go")


def test_pools_together_spend_a_limit_that_they_have_in_common_and_no_more(ground: Ground) -> None:
    """Two pools state one limit of requests a day. One of them comes to far more than half of it while the other rests.
    The other one is killed: what it had not spent of its part is nobody's, until it is led again. Then both are asked
    for more than is left, and the server was sent exactly as many as the limit says.
    """
    hard, counts = 16, ground.counts
    hubs = [ground.hub("a", slots=6, hard=hard), ground.hub("b", pool="lab", slots=6, hard=hard)]
    try:
        for hub in hubs:
            found(hub)
        asked_until(hubs[1:], counts, 1)
        asked_until(hubs[:1], counts, 12)
        hubs[1].kill()
        Callers([hubs[0].url], 6, 1).all()
        assert counts.begun <= hard
        hubs[1] = ground.hub("b", pool="lab", slots=6, hard=hard)
        found(hubs[1])
        asked_until(hubs, counts, hard)
        assert Callers([hub.url for hub in hubs], 6, 1).all() == {429: 6}
        assert counts.begun == hard
    finally:
        end(hubs)


def listed(hub: HubProcess) -> list[list[tuple[str, str]]]:
    """(pool, hub) of the own pool, and of all others."""
    found = hub.client.hubs()
    return [[(row.pool, row.name) for row in rows] for rows in (found.hubs, found.others)]


def slots_of(hub: HubProcess) -> int:
    """Of the server, as a pool may use them now."""
    (row,) = hub.client.endpoints().endpoints
    return row.view.slots


def test_pools_never_oversell_the_slots_of_a_server_that_they_share(ground: Ground) -> None:
    """Two pools name one server with four slots, and both have more to do than that: it never has more than four calls
    at once, though one of them was there before and never rests, and both get on. When one is stopped the other has all
    four; each sees the other's hub meanwhile.
    """
    slots = 4
    hubs = [ground.hub("a", slots=slots)]
    try:
        found(hubs[0])
        first = Callers([hubs[0].url], 8)
        hubs.append(ground.hub("b", pool="lab", slots=slots))
        found(hubs[1])
        second = Callers([hubs[1].url], 6)
        assert listed(hubs[0]) == [[("default", "a")], [("lab", "b")]]
        assert listed(hubs[1]) == [[("lab", "b")], [("default", "a")]]
        until(lambda: [slots_of(hub) for hub in hubs] == [slots // 2] * 2, "the slots are divided")
        before = [len(callers.statuses) for callers in (first, second)]
        until(
            lambda: all(len(one.statuses) >= n + 6 for one, n in zip((first, second), before, strict=True)),
            "both get on",
        )
        assert [callers.stop().keys() for callers in (first, second)] == [{200}, {200}]
        assert ground.counts.most == slots
        (row,) = hubs[0].client.endpoints().endpoints
        assert row.view.share is not None
        assert (row.view.share.total, row.view.share.pools) == (slots, ("lab",))

        assert hubs[1].stop() == 0
        until(lambda: slots_of(hubs[0]) == slots, "the other pool has them all", 5)
        assert Callers([hubs[0].url], 6, 3).all() == {200: 18}
        assert ground.counts.most == slots
        assert ground.counts.now == 0
    finally:
        end(hubs)
