"""Each route asks the hub the right thing and answers with the view it got."""

import json
from typing import Any

import msgspec
import pytest

from ostler.domain.fleet import Probe, Session
from ostler.domain.ledger import Amount, Scopes
from ostler.domain.observations import ObservationQuery
from ostler.domain.policy import HistoryRule
from ostler.domain.ports import CallQuery, TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Priority, Task, TaskSpec
from ostler.domain.trace import parse
from ostler.domain.work import Finished, Poll, Report, Started
from ostler.hub.alert_views import AlertList, AlertNote, DeliveryTest
from ostler.hub.batch_views import BatchRow, BatchWish
from ostler.hub.fleet_views import HostRow, LoadOrder, ModelChange, UnloadOrder
from ostler.hub.gateway_views import KeyMade, KeyRow, KeyWish
from ostler.hub.loop_views import LoopAnswer, LoopWish, ScheduleChange
from ostler.hub.pattern_views import ObservationList, PatternChange, PatternReport
from ostler.hub.plan_views import PlanWish
from ostler.hub.pulse_views import PulseReport
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.hub.views import (
    EndpointList,
    EventPage,
    HubStatus,
    SettingList,
    SubmitAnswer,
    TaskAnswer,
    TaskList,
    TokenList,
    TokenMade,
    Why,
    WorkerList,
)
from ostler.web.bodies import Done, Health, Lease, RouteAnswer
from tests.web import alert_samples, call_samples, host_samples, hub_samples, loop_samples, samples
from tests.web.asking import ask
from tests.web.recording_hub import OUTCOME, ServedHub, eventually

EVENTS = EventPage(events=samples.EVENTS, last_seq=2)
SPEC = samples.SPEC
SOON = PlanWish(seconds=1.0)

READING: list[tuple[str, tuple[Any, ...], object]] = [
    ("/hub/keys", ("keys",), call_samples.KEYS),
    ("/hub/loops", ("loops",), loop_samples.LIST),
    ("/hub/loops/night", ("loop", "night"), loop_samples.ANSWER),
    ("/hub/loops/night/history", ("loop_history", "night", 20), loop_samples.HISTORY),
    ("/hub/loops/night/history?limit=3", ("loop_history", "night", 3), loop_samples.HISTORY),
    (
        "/hub/patterns/outcomes?type=docs&tier=standard",
        ("observations", ObservationQuery(task_type="docs", tier="standard")),
        ObservationList(observations=(OUTCOME,)),
    ),
    (
        "/hub/patterns",
        ("report", ObservationQuery()),
        PatternReport(history=HistoryRule.OBSERVE, rate=0.75, confidence=0.9),
    ),
    ("/hub/batches", ("batches",), host_samples.BATCHES),
    ("/hub/batches/nightly", ("batch", "nightly"), host_samples.BATCH_ANSWER),
    ("/hub/pulse?batch=nightly", ("look", "nightly"), host_samples.PULSE),
    ("/hub/idle", ("why_idle", None), host_samples.IDLE),
    ("/hub/late", ("late",), host_samples.LATE),
    ("/hub/late/t-one/1", ("late_result", "t-one", 1), host_samples.LATE_ANSWER),
    ("/hub/alerts", ("alerts", False), alert_samples.ALERTS),
    ("/hub/alerts?all=true", ("alerts", True), alert_samples.ALERTS),
    ("/hub/calls", ("live_calls", CallQuery()), call_samples.CALLS),
    (
        "/hub/calls?key=k&model=m&endpoint=e&failed=true&limit=7&before=c-1",
        ("live_calls", CallQuery(key="k", model="m", endpoint="e", failed=True, limit=7, before="c-1")),
        call_samples.CALLS,
    ),
    ("/hub/calls/c-1", ("live_call", "c-1"), call_samples.CALL),
    ("/hub/status", ("status",), samples.STATUS),
    ("/hub/tasks/t-one", ("task", "t-one"), samples.ANSWER),
    ("/hub/tasks/t%3Aone/why", ("why", "t:one"), samples.WHY),
    ("/hub/events", ("events", 0, 500, None), EVENTS),
    (
        "/hub/events?after=1&limit=7&task=t-one",
        ("events", 1, 7, "t-one"),
        EventPage(events=samples.EVENTS[1:], last_seq=2),
    ),
    ("/hub/endpoints", ("endpoints",), samples.ENDPOINTS),
    ("/hub/hosts", ("hosts", True), samples.HOSTS),
    ("/hub/hosts?saved=false", ("hosts", False), samples.HOSTS),
    ("/hub/models", ("models",), samples.MODELS),
    ("/hub/questions", ("questions", None), host_samples.QUESTIONS),
    ("/hub/questions?owner=ada", ("questions", "ada"), host_samples.QUESTIONS),
    ("/hub/workers", ("workers",), samples.WORKERS),
    ("/hub/hubs", ("hubs",), hub_samples.HUBS),
    ("/hub/config", ("settings",), samples.SETTINGS),
]


@pytest.mark.parametrize(("path", "call", "answer"), READING, ids=[row[0] for row in READING])
def test_a_reading_route_answers_with_the_view_of_the_hub(
    served: ServedHub, path: str, call: tuple[Any, ...], answer: object
) -> None:
    """What the hub says arrives unchanged: decoding the answer gives an equal view."""
    got = ask(served, "GET", path)

    assert got.status == 200
    assert served.hub.calls == [call]
    assert msgspec.convert(got.body, type(answer)) == answer


CHANGING: list[tuple[str, str, object, int, tuple[Any, ...], type]] = [
    ("POST", "/hub/tasks", {"tasks": [SPEC]}, 201, ("submit", (SPEC,)), SubmitAnswer),
    ("POST", "/hub/tasks", {"tasks": [SPEC], "resume": True}, 201, ("submit", (SPEC,), "resume"), SubmitAnswer),
    ("POST", "/hub/tasks", {"tasks": [SPEC], "plan": {"seconds": 1}}, 201, ("submit", (SPEC,), SOON), SubmitAnswer),
    ("POST", "/hub/tasks/t-one/cancel", None, 200, ("cancel", "t-one", ""), Task),
    ("POST", "/hub/tasks/t-one/cancel", {"reason": "late"}, 200, ("cancel", "t-one", "late"), Task),
    ("POST", "/hub/tasks/t-one/retry", None, 200, ("retry", "t-one"), Task),
    ("POST", "/hub/tasks/t-one/pause", None, 200, ("pause", "t-one"), Task),
    ("POST", "/hub/tasks/t-one/resume", None, 200, ("resume", "t-one"), Task),
    ("POST", "/hub/route", SPEC, 200, ("route", SPEC), RouteAnswer),
    ("POST", "/hub/endpoints", samples.STABLE, 201, ("add_endpoint", samples.STABLE), Done),
    ("DELETE", "/hub/endpoints/stable", None, 200, ("remove_endpoint", "stable"), Done),
    ("POST", "/hub/endpoints/stable/check", None, 200, ("check_endpoint", "stable"), Probe),
    ("POST", "/hub/endpoints/stable/reset", None, 200, ("reset_endpoint", "stable"), Done),
    (
        "POST",
        "/hub/hosts/box/load",
        {"model": "qwen-quality", "evict": ["qwen-latest"], "drain": True, "wait_s": 1.5},
        200,
        ("load_model", "box", LoadOrder(model="qwen-quality", evict=("qwen-latest",), drain=True, wait_ms=1_500)),
        ModelChange,
    ),
    (
        "POST",
        "/hub/hosts/box/unload",
        {"model": "qwen-fast", "endpoint": "stable"},
        200,
        ("unload_model", "box", UnloadOrder(model="qwen-fast", endpoint="stable")),
        ModelChange,
    ),
    ("POST", "/hub/hosts/box/pin", {"model": "qwen-fast"}, 200, ("pin_model", "box", "qwen-fast", True), HostRow),
    (
        "POST",
        "/hub/hosts/box/pin",
        {"model": "qwen-fast", "pinned": False},
        200,
        ("pin_model", "box", "qwen-fast", False),
        HostRow,
    ),
    ("POST", "/hub/tokens", {"name": "mac", "scope": "admin"}, 201, ("make_token", "mac", "admin"), TokenMade),
    ("GET", "/hub/tokens", None, 200, ("tokens",), TokenList),
    ("DELETE", "/hub/tokens/mac", None, 200, ("revoke_token", "mac"), Done),
    (
        "POST",
        "/hub/spending",
        {"id": "x", "cost_micro_usd": 40_000, "provider": "opencode", "tier": "small", "asked_tier": "large"},
        201,
        (
            "record_spending",
            Spending(
                attempt="x",
                amount=Amount(micro_usd=40_000),
                scopes=Scopes(provider="opencode", tier="small"),
                asked_tier="large",
            ),
        ),
        SpendingNoted,
    ),
    ("POST", "/hub/keys", {"name": "laptop"}, 201, ("make_key", KeyWish(name="laptop")), KeyMade),
    (
        "POST",
        "/hub/keys",
        {
            "name": "agent",
            "models": ["sonnet"],
            "tiers": ["strong"],
            "task": "nightly",
            "priority": 3,
            "limit_micro_usd": 5_000_000,
            "limit_window": "day",
            "local_only": True,
        },
        201,
        (
            "make_key",
            KeyWish(
                name="agent",
                models=("sonnet",),
                tiers=("strong",),
                task="nightly",
                priority=Priority.LOW,
                limit_micro_usd=5_000_000,
                limit_window="day",
                local_only=True,
            ),
        ),
        KeyMade,
    ),
    ("POST", "/hub/tasks/t-one/answer", {"text": "the green one"}, 200, ("answer", "t-one", "the green one"), Task),
    ("POST", "/hub/tasks/t-one/answer", {"text": "no", "other": True}, 200, ("answer", "t-one", "no", "other"), Task),
    (
        "POST",
        "/hub/batches/nightly",
        {"tasks": ["a", "b"], "concurrency": 2},
        200,
        ("make_batch", "nightly", BatchWish(tasks=("a", "b"), concurrency=2)),
        BatchRow,
    ),
    ("POST", "/hub/batches/nightly/pause", None, 200, ("pause_batch", "nightly"), BatchRow),
    ("POST", "/hub/batches/nightly/resume", None, 200, ("resume_batch", "nightly"), BatchRow),
    ("POST", "/hub/batches/nightly/cancel", None, 200, ("cancel_batch", "nightly", ""), BatchRow),
    (
        "POST",
        "/hub/batches/nightly/cancel",
        {"reason": "enough"},
        200,
        ("cancel_batch", "nightly", "enough"),
        BatchRow,
    ),
    ("POST", "/hub/pulse", None, 200, ("step", None), PulseReport),
    ("POST", "/hub/late/t-one/1/adopt", None, 200, ("adopt_late", "t-one", 1), Task),
    ("DELETE", "/hub/keys/laptop", None, 200, ("revoke_key", "laptop"), KeyRow),
    ("POST", "/hub/alerts/ack", {}, 200, ("acknowledge", AlertNote()), AlertList),
    (
        "POST",
        "/hub/alerts/ack",
        {"id": "tier_down:a/b", "by": "ann", "note": "on it"},
        200,
        ("acknowledge", AlertNote(id="tier_down:a/b", by="ann", note="on it")),
        AlertList,
    ),
    ("POST", "/hub/alerts/test", None, 200, ("test_alerts",), DeliveryTest),
    (
        "POST",
        "/hub/loops",
        {"name": "night", "work": {"id": "work", "prompt": "x"}, "schedule": {"cron": "0 9 * * *"}, "start": True},
        201,
        (
            "create_loop",
            LoopWish(
                name="night",
                work=TaskSpec(id="work", prompt="x"),
                schedule=ScheduleChange(cron="0 9 * * *"),
                start=True,
            ),
        ),
        LoopAnswer,
    ),
    ("POST", "/hub/loops/night/start", None, 200, ("steer_loop", "night", "start"), LoopAnswer),
    ("POST", "/hub/loops/night/stop", None, 200, ("steer_loop", "night", "stop"), LoopAnswer),
    ("POST", "/hub/loops/night/pause", None, 200, ("steer_loop", "night", "pause"), LoopAnswer),
    ("POST", "/hub/loops/night/resume", None, 200, ("steer_loop", "night", "resume"), LoopAnswer),
    (
        "POST",
        "/hub/loops/night/change",
        {"interval_minutes": 10, "catch_up": True},
        200,
        ("change_loop", "night", ScheduleChange(interval_minutes=10, catch_up=True)),
        LoopAnswer,
    ),
    ("DELETE", "/hub/loops/night", None, 200, ("drop_loop", "night"), Done),
    ("POST", "/hub/patterns", {"observations": [OUTCOME]}, 201, ("add", (OUTCOME,)), PatternChange),
    (
        "DELETE",
        "/hub/patterns?model=qwen",
        None,
        200,
        ("forget", ObservationQuery(model="qwen")),
        PatternChange,
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "call", "answer"), CHANGING)
def test_a_changing_route_tells_the_hub_what_was_asked(
    served: ServedHub, method: str, path: str, body: object, status: int, call: tuple[Any, ...], answer: type
) -> None:
    """The hub is called once, with the decoded body, and the answer is of the promised type."""
    got = ask(served, method, path, None if body is None else msgspec.json.encode(body))

    assert got.status == status
    assert served.hub.calls == [call]
    msgspec.convert(got.body, answer)


REPORTS: tuple[Report, ...] = (
    Started(task_id="t-one", generation=2, at_ms=5),
    Finished(task_id="t-one", generation=2, at_ms=9, ok=True, output="done"),
)

WORKER_SIDE: list[tuple[str, bytes | None, tuple[Any, ...], object]] = [
    ("join", msgspec.json.encode(samples.OFFER), ("join", samples.OFFER), samples.SESSION),
    (
        "s-1/heartbeat",
        msgspec.json.encode(samples.REPORT),
        ("heartbeat", "s-1", samples.REPORT),
        Lease(lease_ms=15_000),
    ),
    ("s-1/heartbeat", b"null", ("heartbeat", "s-1", None), Lease(lease_ms=15_000)),
    ("s-1/poll", b'{"wait_ms": 0}', ("poll", "s-1", 0), Poll(cancel=(("t-one", 2),))),
    ("s-1/reports", msgspec.json.encode(REPORTS), ("report", "s-1", REPORTS), Done()),
    ("s-1/leave", None, ("leave", "s-1"), Done()),
    ("s-1/leave", b"{}", ("leave", "s-1"), Done()),
    ("s-1/leave", b'{"life": "l", "died": true}', ("leave", "s-1", "l", "died"), Done()),
]


@pytest.mark.parametrize(("path", "body", "call", "answer"), WORKER_SIDE)
def test_a_worker_speaks_to_the_link_of_the_hub(
    served: ServedHub, path: str, body: bytes | None, call: tuple[Any, ...], answer: object
) -> None:
    """Each call of a remote worker becomes the same call of `HubLink`."""
    got = ask(served, "POST", f"/hub/workers/{path}", body, token="worker-token")

    assert got.status == 200
    assert served.hub.calls == [call]
    assert msgspec.convert(got.body, type(answer)) == answer


def test_a_worker_elsewhere_is_never_taken_for_the_one_inside(served: ServedHub) -> None:
    """Whatever it says of itself: that one may be silent for long, and reaches what only the hub reaches."""
    inside = msgspec.structs.replace(samples.OFFER, builtin=True)

    assert ask(served, "POST", "/hub/workers/join", msgspec.json.encode(inside), token="worker-token").status == 200
    assert served.hub.calls == [("join", msgspec.structs.replace(samples.OFFER, builtin=False))]


def test_a_field_of_a_newer_worker_is_ignored(served: ServedHub) -> None:
    """A worker of a newer version can speak to this hub: what it adds is not an error."""
    offer = {**msgspec.to_builtins(samples.OFFER), "gpu_count": 2}

    assert ask(served, "POST", "/hub/workers/join", json.dumps(offer), token="worker-token").status == 200


def test_an_assignment_poll_stops_when_its_worker_hangs_up(served: ServedHub) -> None:
    """A poll whose worker is gone is cancelled, so that no work is handed to nobody."""
    _poll_and_hang_up(served)

    eventually(lambda: ("poll cancelled", "s-1") in served.hub.calls, "the poll is cancelled")


def _poll_and_hang_up(served: ServedHub) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer worker-token"}
    try:
        connection.request("POST", "/hub/workers/s-1/poll", b'{"wait_ms": 60000}', headers)
        eventually(lambda: ("poll", "s-1", 60_000) in served.hub.calls, "the poll is there")
    finally:
        connection.close()


def test_the_task_list_takes_all_its_filters(served: ServedHub) -> None:
    """States, batch, page size and position reach the hub as one query."""
    ask(served, "GET", "/hub/tasks?state=queued,running&batch=r-1&limit=5&before=90")

    query = TaskQuery(states=(TaskState.QUEUED, TaskState.RUNNING), batch="r-1", limit=5, before_seq=90)
    assert served.hub.calls == [("tasks", query)]


def test_health_needs_nothing_of_the_hub(served: ServedHub) -> None:
    """A supervisor's question is answered without asking the scheduler, even when that fails."""
    served.fails_with(RuntimeError("stuck"))

    got = ask(served, "GET", "/healthz")

    assert (got.status, msgspec.convert(got.body, Health).ok) == (200, True)
    assert served.hub.calls == []


def test_equal_views_are_equal_bytes(served: ServedHub) -> None:
    """Sets are written in one order, so that answers can be compared and cached."""
    endpoint = ask(served, "GET", "/hub/endpoints").body["endpoints"][0]

    assert endpoint["view"]["models"] == ["llama3", "qwen2.5:7b"]


VIEWS = (HubStatus, TaskAnswer, TaskList, Why, EndpointList, WorkerList, SettingList, Session, TaskSpec)


@pytest.mark.parametrize("kind", VIEWS)
def test_every_view_can_be_described(kind: type) -> None:
    """Each view has a JSON schema, so that the description of the API cannot lack it."""
    assert msgspec.json.schema(kind)


def test_a_scraper_gets_the_text_as_it_is(served: ServedHub) -> None:
    """With the media type of the format, and no JSON around it."""
    got = ask(served, "GET", "/metrics", raw_text=True)

    assert got.status == 200
    assert got.body == served.hub.metrics.answer
    assert got.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_that_are_off_are_not_found(served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an empty page that looks like a hub without anything."""
    monkeypatch.setattr(served.hub.metrics, "answer", "")

    assert ask(served, "GET", "/metrics").status == 404


def test_a_client_that_traces_hands_its_trace_in_with_its_tasks(served: ServedHub) -> None:
    """By the header of the standard; a broken one is none."""
    body = msgspec.json.encode({"tasks": [SPEC]})
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ask(served, "POST", "/hub/tasks", body, {"traceparent": header})
    ask(served, "POST", "/hub/tasks", body, {"traceparent": "nonsense"})

    assert served.hub.calls == [("submit", (SPEC,), parse(header)), ("submit", (SPEC,))]
