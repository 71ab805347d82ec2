"""The client and the server mean the same: every call of one is a route of the other, with equal data."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from ostler.client.hub_client import Done, HubClient, RouteAnswer
from ostler.client.transport import Transport
from ostler.domain.ledger import Amount
from ostler.domain.policy import HistoryRule
from ostler.domain.ports import CallQuery
from ostler.domain.tasks import TaskSpec
from ostler.hub.gateway_views import KeyWish
from ostler.hub.loop_views import LoopWish, ScheduleChange
from ostler.hub.pattern_views import ObservationList, PatternChange, PatternReport
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.web import bodies
from ostler.web.call import Access
from ostler.web.routes import hub_routes
from tests.web import alert_samples, call_samples, host_samples, hub_samples, loop_samples, samples
from tests.web.recording_hub import OUTCOME, ServedHub

SPEC = TaskSpec(id="t-1", prompt="x")
SPENDING = Spending(attempt="x", amount=Amount(micro_usd=5))
WISH = KeyWish(name="mac", models=("m",), limit_micro_usd=1, limit_window="day")
Ask = Callable[[HubClient], Any]

CALLS: dict[str, tuple[Ask, object]] = {
    "status": (lambda hub: hub.status(), samples.STATUS),
    "submit": (lambda hub: hub.submit([SPEC]).tasks[0].id, "t-1"),
    "tasks": (lambda hub: hub.tasks(["queued", "running"], "r-1", 5, 9).tasks, ()),
    "task": (lambda hub: hub.task("t-one"), samples.ANSWER),
    "results": (lambda hub: hub.results("r-1", 0).phases, ()),
    "make_plan": (lambda hub: hub.make_plan("r-1"), samples.run_plan("r-1")),
    "run_plan": (lambda hub: hub.run_plan("r-1"), samples.run_plan("r-1")),
    "drop_plan": (lambda hub: hub.drop_plan("r-1"), None),
    "act": (lambda hub: hub.act("t-one", "retry"), samples.task("t-one")),
    "cancel": (lambda hub: hub.cancel("t-one", "late").state, "cancelled"),
    "why": (lambda hub: hub.why("t-one"), samples.WHY),
    "route": (lambda hub: hub.route(SPEC), RouteAnswer(verdict=samples.ROUTE, why=samples.WHY)),
    "events": (lambda hub: hub.events(0, 10).events, samples.EVENTS),
    "follow": (lambda hub: next(hub.follow(0, print)), samples.EVENTS[0]),
    "endpoints": (lambda hub: hub.endpoints(), samples.ENDPOINTS),
    "add_endpoint": (lambda hub: hub.add_endpoint(samples.STABLE), None),
    "remove_endpoint": (lambda hub: hub.remove_endpoint("stable"), None),
    "check_endpoint": (lambda hub: hub.check_endpoint("stable"), samples.PROBE),
    "reset_endpoint": (lambda hub: hub.reset_endpoint("stable"), None),
    "hosts": (lambda hub: hub.hosts(), samples.HOSTS),
    "models": (lambda hub: hub.models(), samples.MODELS),
    "load_model": (lambda hub: hub.load_model("box", "qwen", evict=("other",)), samples.CHANGE),
    "unload_model": (lambda hub: hub.unload_model("box", "qwen", drain=True), samples.CHANGE),
    "pin_model": (lambda hub: hub.pin_model("box", "qwen", pinned=False), samples.HOSTS.hosts[0]),
    "hubs": (lambda hub: hub.hubs(), hub_samples.HUBS),
    "workers": (lambda hub: hub.workers(), samples.WORKERS),
    "settings": (lambda hub: hub.settings(), samples.SETTINGS),
    "tokens": (lambda hub: hub.tokens(), hub_samples.TOKENS),
    "make_token": (lambda hub: hub.make_token("mac", "worker").token, "ostler-secret"),
    "make_key": (lambda hub: hub.make_key(WISH), call_samples.made(WISH)),
    "keys": (lambda hub: hub.keys(), call_samples.KEYS),
    "patterns": (
        lambda hub: hub.patterns(task_type="a b", model="m"),
        PatternReport(history=HistoryRule.OBSERVE, rate=0.75, confidence=0.9),
    ),
    "outcomes": (lambda hub: hub.outcomes(tier="low"), ObservationList(observations=(OUTCOME,))),
    "add_outcomes": (lambda hub: hub.add_outcomes([OUTCOME]), PatternChange(count=1, changed=("docs",))),
    "forget_outcomes": (lambda hub: hub.forget_outcomes(model="m"), PatternChange(count=2)),
    "loops": (lambda hub: hub.loops(), loop_samples.LIST),
    "create_loop": (lambda hub: hub.create_loop(LoopWish(name="night", work=SPEC)), loop_samples.ANSWER),
    "loop": (lambda hub: hub.loop("night"), loop_samples.ANSWER),
    "steer_loop": (lambda hub: hub.steer_loop("night", "pause"), loop_samples.ANSWER),
    "change_loop": (lambda hub: hub.change_loop("night", ScheduleChange(max_loops=3)), loop_samples.ANSWER),
    "loop_history": (lambda hub: hub.loop_history("night", 5), loop_samples.HISTORY),
    "drop_loop": (lambda hub: hub.drop_loop("night"), None),
    "record_spending": (lambda hub: hub.record_spending(SPENDING), SpendingNoted(charged_micro_usd=5)),
    "alerts": (lambda hub: hub.alerts(every=True), alert_samples.ALERTS),
    "acknowledge": (lambda hub: hub.acknowledge("a", by="b", note="c"), alert_samples.ALERTS),
    "test_alerts": (lambda hub: hub.test_alerts(), alert_samples.DELIVERY_TEST),
    "revoke_key": (lambda hub: hub.revoke_key("old"), call_samples.GONE),
    "calls": (lambda hub: hub.calls(CallQuery(key="a b", failed=True)), call_samples.CALLS),
    "call": (lambda hub: hub.call(call_samples.CALL_ID), call_samples.CALL),
    "questions": (lambda hub: hub.questions("ada"), host_samples.QUESTIONS),
    "answer": (lambda hub: hub.answer("t-one", "green").state, "queued"),
    "make_batch": (lambda hub: hub.make_batch("nightly", ["a"], 2), host_samples.BATCH),
    "batches": (lambda hub: hub.batches(), host_samples.BATCHES),
    "batch": (lambda hub: hub.batch("nightly"), host_samples.BATCH_ANSWER),
    "act_on_batch": (lambda hub: hub.act_on_batch("nightly", "cancel", "enough"), host_samples.BATCH),
    "pulse": (lambda hub: hub.pulse("nightly"), host_samples.PULSE),
    "why_idle": (lambda hub: hub.why_idle(), host_samples.IDLE),
    "late": (lambda hub: hub.late(), host_samples.LATE),
    "late_result": (lambda hub: hub.late_result("t-one", 1), host_samples.LATE_ANSWER),
    "adopt_late": (lambda hub: hub.adopt_late("t-one", 1).state, "succeeded"),
    "revoke_token": (lambda hub: hub.revoke_token("mac"), None),
}


class Recorder(Transport):
    """Keeps method and path of each request."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[tuple[str, str]] = []
        self.more_s = 0.0

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, repeat: bool = False, more_s: float = 0.0
    ) -> bytes:
        self.asked.append((method, path.partition("?")[0]))
        self.more_s = more_s
        return super().ask(method, path, body, repeat=repeat, more_s=more_s)

    @contextmanager
    def listen(self, path: str, headers: Mapping[str, str], silence_s: float) -> Iterator[Iterator[bytes]]:
        self.asked.append(("GET", path.partition("?")[0]))
        with super().listen(path, headers, silence_s) as lines:
            yield lines


@pytest.mark.parametrize("name", CALLS)
def test_each_call_gets_what_the_hub_said(served: ServedHub, name: str) -> None:
    """Through encoding, HTTP and strict decoding the view stays equal."""
    call, expected = CALLS[name]

    assert call(HubClient(Transport(served.url))) == expected


def test_every_call_of_the_client_is_tried() -> None:
    """A new method without a row above is a gap."""
    methods = {name for name, _ in inspect.getmembers(HubClient, inspect.isfunction) if not name.startswith("_")}

    assert methods - {"hang_up"} == set(CALLS)


def test_the_client_speaks_every_route_for_people(served: ServedHub) -> None:
    """All that the hub offers to people is in reach of the command line, and nothing else is asked. What Prometheus
    reads is for Prometheus.
    """
    transport = Recorder(served.url)
    for call, _ in CALLS.values():
        call(HubClient(transport))
    for verb in ("pause", "resume"):
        HubClient(transport).act("t-one", verb)
        HubClient(transport).act_on_batch("nightly", verb)
    for verb in ("start", "stop", "resume"):
        HubClient(transport).steer_loop("night", verb)
    HubClient(transport).pulse(look=True)

    rows = [row for row in hub_routes() if row.access in {Access.ADMIN, Access.PRIVATE}]
    spoken = {_route_of(method, path) for method, path in transport.asked}
    assert spoken == {(row.method, row.path) for row in rows} - {("GET", "/metrics")}


PATIENT: list[Ask] = [
    lambda hub: hub.submit([SPEC], plan_s=60.0),
    lambda hub: hub.make_plan("r-1", seconds=60.0),
    lambda hub: hub.load_model("box", "qwen", wait_s=60.0),
    lambda hub: hub.unload_model("box", "qwen", wait_s=60.0),
]


@pytest.mark.parametrize("call", PATIENT)
def test_what_the_hub_is_asked_to_take_its_time_over_is_waited_for(served: ServedHub, call: Ask) -> None:
    """A search or a load may take longer than any answer usually may; the client gives up only after that."""
    transport = Recorder(served.url)
    call(HubClient(transport))

    assert transport.more_s == 60.0


def _route_of(method: str, path: str) -> tuple[str, str]:
    """The row of the table that serves a request; the one with the fewest names wins, as it is listed first."""
    for row in hub_routes():
        if row.method == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", row.path), path):
            return row.method, row.path
    return method, path


@pytest.mark.parametrize(("here", "there"), [(RouteAnswer, bodies.RouteAnswer), (Done, bodies.Done)])
def test_small_answers_are_the_same_on_both_sides(here: type, there: type) -> None:
    """What client and server each define has the same JSON."""
    assert msgspec.json.schema_components([here])[1].keys() == msgspec.json.schema_components([there])[1].keys()
    assert _schema(here) == _schema(there)


def _schema(kind: type) -> object:
    schema = msgspec.json.schema(kind)
    return {name: {**shape, "description": ""} for name, shape in schema["$defs"].items()}
