"""The rig of `bench/gateway.py` tells the truth from anything else, and judges by the bars that were set."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.hop import payloads
from bench.hop.figures import Bar, Figures, bars, table
from bench.hop.gauge import Gauge
from bench.hop.load import Order, Readings, Window, WrongAnswerError, carry_out
from bench.hop.machine import Cores
from bench.hop.targets import Target
from bench.hop.upstream import Endpoint

ROOT = Path(__file__).resolve().parents[2]
Change = Callable[[bytes], bytes]


class Liar(Endpoint):
    """The simulated endpoint behind something that changes what it says."""

    change: Change = staticmethod(lambda data: data)

    def _write(self, data: bytes) -> None:
        super()._write(self.change(data))


@asynccontextmanager
async def endpoint(change: Change = lambda data: data) -> AsyncIterator[int]:
    """The port of an endpoint for the time of a test."""
    kind = type("Changed", (Liar,), {"change": staticmethod(change)})
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def brief(kind: str, port: int, **more: object) -> Order:
    """An order that takes no time."""
    base = {"kind": kind, "port": port, "connections": 2, "seconds": 0.05, "warm_s": 0.0}
    return Order(**(base | more))  # type: ignore[arg-type]


# --- payloads ------------------------------------------------------------------------------------------------------


def test_a_request_and_its_answer_hold_the_same_number_in_the_same_place() -> None:
    """The number can be put in and found again without a change of length, in each kind of request."""
    for body in (payloads.chat("m"), payloads.chat("m", stream=True, wait_ms=5_000), payloads.agent("m")):
        before, after = payloads.split(body)
        numbered = before + b"12345678" + after

        assert payloads.number_in(numbered) == b"12345678"
        assert len(numbered) == len(body)
        assert json.loads(numbered)["model"] == "m"


def test_requests_have_the_sizes_that_the_figures_are_named_after() -> None:
    """About half a kilobyte, and 84 KB with 60 messages and 20 tools."""
    agent = json.loads(payloads.agent("m"))

    assert 450 <= len(payloads.chat("m")) <= 600
    assert 82_000 <= len(payloads.agent("m")) <= 86_000
    assert (len(agent["messages"]), len(agent["tools"])) == (60, 20)


def test_an_order_to_wait_is_read_back_and_absent_otherwise() -> None:
    """Milliseconds in the request become seconds at the endpoint."""
    assert payloads.wait_s_in(payloads.chat("m", wait_ms=5_000)) == 5.0
    assert payloads.wait_s_in(payloads.chat("m")) == 0.0


def test_a_stream_has_its_102_events_and_one_more_where_counts_are_asked_for() -> None:
    """100 pieces, the finish and the end marker; all are whole events."""
    plain, counted = payloads.events(counts=False), payloads.events(counts=True)

    assert (len(plain), len(counted)) == (payloads.EVENTS, payloads.EVENTS + 1)
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in counted)
    assert 150 <= sum(map(len, plain)) / len(plain) <= 190


# --- the load generator --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "worth"), [("calls", 1), ("streams", payloads.EVENTS), ("waiting", 1)])
async def test_true_answers_are_counted_and_timed(kind: str, worth: int) -> None:
    """Each kind of order ends with one window that holds what was done."""
    async with endpoint() as port:
        found = await carry_out(brief(kind, port, wait_ms=20 if kind == "waiting" else 0))

    assert found.best.count >= 2 * worth
    assert found.best.count % worth == 0
    assert 0 < found.best.p50_ms <= found.best.p99_ms


async def test_a_large_request_arrives_whole() -> None:
    """The endpoint finds the number at the end of 84 KB."""
    async with endpoint() as port:
        found = await carry_out(brief("calls", port, agent=True))

    assert found.best.count > 0


def without_frame(number: int) -> Change:
    """Every so many writes, one is lost."""
    seen = itertools.count(1)
    return lambda data: b"" if next(seen) % number == 0 else data


LIES: list[tuple[str, str, Change]] = [
    ("calls", "another call's answer", lambda data: data.replace(b"stable-0", b"stable-9")),
    ("calls", "an error", lambda data: data.replace(b"200 OK", b"500 No")),
    ("streams", "a stream without its end marker", lambda data: data.replace(b"data: [DONE]", b"data: [GONE]")),
    ("streams", "a stream that lost a piece", without_frame(80)),
    ("streams", "pieces of another stream", lambda data: data.replace(b"stable-0", b"stable-9")),
    ("streams", "an error instead of a stream", lambda data: data.replace(b"200 OK", b"429 No")),
]


@pytest.mark.parametrize(("kind", "lie", "change"), LIES)
async def test_what_is_not_true_ends_the_run(kind: str, lie: str, change: Change) -> None:
    """No figure comes out of wrong answers."""
    async with endpoint(change) as port:
        with pytest.raises(WrongAnswerError, match="no true answer"):
            await carry_out(brief(kind, port))


async def test_a_connection_that_the_target_ends_is_an_error() -> None:
    """A target that hangs up has not answered."""

    class Cutter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.close()

    server = await asyncio.get_running_loop().create_server(Cutter, "127.0.0.1", 0)
    async with server:
        with pytest.raises(WrongAnswerError, match="ended a connection"):
            await carry_out(brief("calls", server.sockets[0].getsockname()[1]))


async def test_a_connection_that_is_closed_while_it_rests_is_no_error() -> None:
    """Servers close idle connections while others still wait for their answers."""

    class Closing(Endpoint):
        def _write(self, data: bytes) -> None:
            super()._write(data)
            assert self._transport is not None
            self._transport.close()

    server = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0)
    async with server:
        found = await carry_out(brief("waiting", server.sockets[0].getsockname()[1], wait_ms=10))

    assert found.best.count == 2


# --- the gauge -----------------------------------------------------------------------------------------------------


def test_the_gauge_sees_this_process_work() -> None:
    """Processor time grows with work, memory is there; without a process both are nothing."""
    gauge = Gauge(os.getpid())
    before = gauge.cpu_s()
    sum(range(300_000))

    assert gauge.cpu_s() > before
    assert gauge.memory_mb() > 1
    assert (Gauge(None).cpu_s(), Gauge(None).memory_mb()) == (0, 0)


def test_a_process_started_on_a_core_stays_there_and_the_rig_goes_back() -> None:
    """The affinity is the child's, and for the time of the block only the rig's."""
    cores, before = Cores(), os.sched_getaffinity(0)
    show = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
    with cores.on(cores.target):
        shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout.split()

    assert shown == [str(cores.target)]
    assert os.sched_getaffinity(0) == before


# --- the judgement -------------------------------------------------------------------------------------------------


def window(rate: float = 5_000, cpu_us: float = 100, p50_ms: float = 0.3, p99_ms: float = 0.9) -> Window:
    return Window(count=int(rate), seconds=1.0, cpu_s=rate * cpu_us / 1e6, p50_ms=p50_ms, p99_ms=p99_ms)


def figures(name: str, seen: Window, **more: object) -> Figures:
    base: dict[str, object] = {
        "target": Target(name=name, port=1, start_s=1.0, size_mb=80.0),
        "idle_mb": 60.0,
        "after_mb": 70.0,
        "calls": dict.fromkeys((1, 16, 64), Readings(windows=[seen])),
        "agent": Readings(windows=[seen]),
        "streams": Readings(windows=[seen]),
        "waiting": Readings(windows=[window()], memory_before_mb=60.0, memory_peak_mb=160.0),
        "queued": None,
        "reference": (window(), window(rate=4_000)),
    }
    return Figures(**(base | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (75, False, "stretch reached"),
        (200, False, "must reached"),
        (201, False, "MISSED"),
        (300, True, "stretch reached"),
        (200, True, "must reached"),
        (199, True, "MISSED"),
    ],
)
def test_a_bar_is_reached_exactly_at_its_mark(value: float, at_least: bool, verdict: str) -> None:
    """Lower is better, unless the bar says at least."""
    bar = Bar(name="x", unit="us", value=value, must=200, stretch=300 if at_least else 75, at_least=at_least)

    assert bar.verdict() == verdict


def test_the_best_window_is_the_fastest_and_the_usual_one_is_in_the_middle() -> None:
    """A window that others disturbed costs more; it shows in the usual figure alone."""
    seen = Readings(windows=[window(3_000, 150), window(5_000, 100), window(1_000, 400)])

    assert seen.best.rate == 5_000
    assert seen.best.cpu_us == pytest.approx(100)
    assert seen.usual_cpu_us == pytest.approx(150)


def test_capacity_is_what_was_seen_or_what_the_cost_allows() -> None:
    """Where the rig is the limit, the cost of a call says what a core could carry."""
    assert figures("a", window(rate=5_000, cpu_us=100)).capacity == pytest.approx(10_000)
    assert figures("a", window(rate=20_000, cpu_us=100)).capacity == pytest.approx(20_000)
    assert figures("direct", window(rate=9_000, cpu_us=0)).capacity == 9_000


def test_bars_compare_within_one_run_and_only_with_what_was_measured() -> None:
    """Latency is what is added to the direct call; ratios to others appear when the others do."""
    own = figures("ostler", window(p50_ms=0.5, p99_ms=1.0))
    found = {"direct": figures("direct", window(cpu_us=0, p50_ms=0.1, p99_ms=0.2)), "ostler": own}
    alone = {bar.name: bar.value for bar in bars(own, found)}
    others = {"nginx": figures("nginx", window(cpu_us=10)), "litellm": figures("litellm", window(50, 10_000))}
    beside = {bar.name: bar.value for bar in bars(own, found | others)}

    assert alone["added p50 at 1"] == pytest.approx(0.4)
    assert alone["memory per 1,000 waiting"] == pytest.approx(20.0)
    assert not {name for name in alone if "nginx" in name or "LiteLLM" in name}
    assert beside["capacity to nginx's"] == pytest.approx(0.1)
    assert beside["capacity to LiteLLM's"] == pytest.approx(100)


def test_the_table_has_a_column_for_each_target_and_no_figure_for_what_was_not_measured() -> None:
    """Every line is as wide as the head."""
    lines = table({"direct": figures("direct", window(cpu_us=0), waiting=None), "ostler": figures("ostler", window())})

    assert lines[0].split() == ["direct", "ostler"]
    assert {len(line) for line in lines} == {len(lines[0])}
    assert next(line for line in lines if line.startswith("waiting")).split()[-4:] == ["-", "5000", "in", "1.0"]


def test_the_bench_itself_runs_and_says_that_its_endpoint_is_simulated() -> None:
    """The direct call alone, as a program."""
    command = [sys.executable, "bench/gateway.py", "--quick", "--seconds", "0.05", "--only", "none", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    said = json.loads(done.stdout)

    assert said["simulated_endpoint"] is True
    assert list(said["targets"]) == ["direct"]
    assert said["targets"]["direct"]["calls"]["16"]["windows"][0]["count"] > 0
    assert said["bars"] == []
