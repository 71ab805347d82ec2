"""The parts of the crash test: what is drawn from a seed, what the provider does and bills, a disk that is full."""

import http.client
import json
import os
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.crash import disk
from tests.crash.customers import spec
from tests.crash.faults import OF_DATABASE, Kind, drawn
from tests.crash.upstream import FREE, MODEL, WEIGHTS, Call, Play, Upstream


@pytest.mark.parametrize("seed", range(5))
def test_faults_follow_from_the_seed_and_each_kind_comes_first_once(seed: int) -> None:
    """The same again for the same seed; no kind twice before each came once; never past the work."""
    kinds = list(Kind)
    found = drawn(seed, 1_000, kinds, 40)

    assert found == drawn(seed, 1_000, kinds, 40)
    assert found != drawn(seed + 1, 1_000, kinds, 40)
    assert {fault.kind for fault in found[: len(kinds)]} == set(kinds)
    assert sum(fault.after for fault in found) <= 1_000 + 60
    assert all(fault.lasts_s >= 5.5 for fault in found if fault.kind in {Kind.HUB_FROZEN, Kind.WORKER_FROZEN})


def test_kinds_that_a_store_cannot_suffer_are_not_drawn() -> None:
    """A file has no server to kill."""
    kinds = [kind for kind in Kind if kind not in OF_DATABASE]

    assert {fault.kind for fault in drawn(1, 2_000, kinds, 40)} == set(kinds)


def test_work_follows_from_the_seed() -> None:
    """Half commands, half calls, each with an id of its own that says which."""
    some = [spec(number, Path("traces"), 3) for number in range(20)]

    assert some == [spec(number, Path("traces"), 3) for number in range(20)]
    assert [one.id for one in some] == [f"t{number}" for number in range(20)]
    assert {one.kind.value for one in some[::2]} == {"command"}
    assert {one.kind.value for one in some[1::2]} == {"chat"}
    assert all(f"task<{one.id}>" in one.prompt for one in some[1::2])


def asked(url: str, task: str, span: str, *, hang_up_after_s: float | None = None) -> tuple[int, str]:
    """One call as a worker makes it; status and text, or 0 where the connection ended before."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    headers = {"traceparent": f"00-{'1' * 32}-{span}-01", "authorization": "Bearer w7"}
    connection.request(
        "POST", "/v1/chat/completions", json.dumps({"messages": [{"content": f"task<{task}>"}]}), headers
    )
    try:
        if hang_up_after_s is not None:
            time.sleep(hang_up_after_s)
            return 0, ""
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (http.client.HTTPException, OSError):
        return 0, ""
    finally:
        connection.close()


def span_of(play: Play, upstream: Upstream) -> str:
    """A span whose call is played so."""
    return next(f"{n:016x}" for n in range(5_000) if upstream.script(f"{n:016x}")[0] is play)


def test_the_provider_bills_what_it_worked_on_whatever_became_of_the_answer() -> None:
    """Each play: what the client sees, and what is billed."""
    with Upstream(5) as upstream:
        seen = {play: asked(upstream.url, "t1", span_of(play, upstream)) for play in WEIGHTS}
        calls = {call.play: call for call in upstream.calls}

    assert {play: status for play, (status, _) in seen.items()} == {
        Play.ANSWERED: 200,
        Play.SLOW: 200,
        Play.LOST: 0,
        Play.HALF: 200,
        Play.BUSY: 503,
        Play.LIMITED: 429,
    }
    assert "[DONE]" in seen[Play.ANSWERED][1]
    assert "[DONE]" not in seen[Play.HALF][1]
    assert f'"completion_tokens": {calls[Play.ANSWERED].output_tokens}' in seen[Play.ANSWERED][1]
    assert all((call.billed_micro_usd == 0) is (play in FREE) for play, call in calls.items())
    assert {(call.task, call.key) for call in calls.values()} == {("t1", "w7")}


def test_the_provider_lists_its_model() -> None:
    """As the hub's probes ask."""
    with Upstream(5) as upstream:
        connection = http.client.HTTPConnection(urlsplit(upstream.url).netloc, timeout=10)
        connection.request("GET", "/v1/models")
        listed = json.loads(connection.getresponse().read())
        connection.close()

    assert [one["id"] for one in listed["data"]] == [MODEL]


def test_two_calls_for_a_task_at_once_are_seen_and_one_that_hung_up_is_not_counted() -> None:
    """The provider is a witness: it knows who was still connected."""
    with Upstream(5) as upstream:
        span = span_of(Play.SLOW, upstream)
        both = [threading.Thread(target=asked, args=(upstream.url, "t1", span)) for _ in range(2)]
        for thread in both:
            thread.start()
            time.sleep(0.1)
        for thread in both:
            thread.join(10)
        asked(upstream.url, "t2", span, hang_up_after_s=0.1)
        asked(upstream.url, "t2", span)
        together: list[tuple[Call, Call]] = [(one.older, one.newer) for one in upstream.together]

    assert [(older.task, newer.task) for older, newer in together] == [("t1", "t1")]


def test_where_no_disk_can_be_made_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started again, and the run goes on without that fault."""
    monkeypatch.setattr(disk, "_UNSHARE", ("/nonexistent/unshare",))
    started: list[object] = []
    monkeypatch.setattr(os, "execvpe", lambda *words: started.append(words))

    assert "no mount namespace here" in disk.enter(["--tasks", "1"])
    assert started == []
