"""The measurement of one target, and the bars that Ostler's is held to."""

from collections.abc import Callable, Mapping

import msgspec

from bench.hop.gauge import Gauge
from bench.hop.load import Order, Readings, Window
from bench.hop.machine import Cores, order
from bench.hop.targets import SLOTS, Target

PARALLEL = (1, 16, 64)
STREAMS = 64
TO_US = 1e6


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How long to look."""

    seconds: float
    windows: int
    stream_rounds: int
    waiting: int
    wait_ms: int
    queue_wait_ms: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one target."""

    target: Target
    idle_mb: float
    after_mb: float
    calls: Mapping[int, Readings]
    """By calls at once."""
    agent: Readings
    streams: Readings
    waiting: Readings | None
    queued: Readings | None
    reference: tuple[Window, Window]
    """Direct calls just before and just after: what the machine gave."""

    @property
    def cpu_us(self) -> float:
        """For each call at 16 at once."""
        return self.calls[16].best.cpu_us

    @property
    def capacity(self) -> float:
        """Calls a second that one core can carry: what was seen, or what the cost says where the rig was the limit."""
        seen = max(readings.best.rate for readings in self.calls.values())
        return max(seen, TO_US / self.cpu_us) if self.cpu_us else seen

    @property
    def drift(self) -> float:
        """The machine after, beside the machine before."""
        return self.reference[1].rate / self.reference[0].rate


def measure(cores: Cores, target: Target, effort: Effort, reference: Callable[[], Window]) -> Figures:
    """All of it, one after the other."""
    gauge = Gauge(target.pid)
    idle_mb = gauge.memory_mb()
    before = reference()

    def run(kind: str, **more: object) -> Readings:
        base = Order(
            kind="calls", port=target.port, key=target.key, pid=target.pid, seconds=effort.seconds,
            windows=effort.windows,
        )  # fmt: skip
        return order(cores, msgspec.convert(msgspec.to_builtins(base) | {"kind": kind} | more, Order))

    calls = {at_once: run("calls", connections=at_once) for at_once in PARALLEL}
    agent = run("calls", connections=16, agent=True)
    streams = run("streams", connections=STREAMS, seconds=1.0, windows=effort.stream_rounds)
    after_mb = gauge.memory_mb()
    waiting = queued = None
    if target.pid is not None:
        waiting = run("waiting", connections=effort.waiting, wait_ms=effort.wait_ms, model="bench-wide")
    if target.queues:
        queued = run("waiting", connections=effort.waiting, wait_ms=effort.queue_wait_ms)
    return Figures(
        target=target, idle_mb=idle_mb, after_mb=after_mb, calls=calls, agent=agent, streams=streams,
        waiting=waiting, queued=queued, reference=(before, reference()),
    )  # fmt: skip


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure must reach and is to reach."""

    name: str
    unit: str
    value: float
    must: float
    stretch: float
    at_least: bool = False

    def verdict(self) -> str:
        """In a word."""
        sign = 1 if self.at_least else -1
        if self.value * sign >= self.stretch * sign:
            return "stretch reached"
        return "must reached" if self.value * sign >= self.must * sign else "MISSED"


def bars(own: Figures, found: Mapping[str, Figures]) -> list[Bar]:
    """Those that can be judged with the targets of this run."""
    one, sixteen, base = own.calls[1].best, own.calls[16].best, found["direct"].calls[1].best
    out = [
        Bar(name="CPU per call", unit="us", value=own.cpu_us, must=200, stretch=75),
        Bar(name="calls/s at 16", unit="/s", value=sixteen.rate, must=5_000, stretch=14_000, at_least=True),
        Bar(name="added p50 at 1", unit="ms", value=one.p50_ms - base.p50_ms, must=0.5, stretch=0.2),
        Bar(name="added p99 at 1", unit="ms", value=one.p99_ms - base.p99_ms, must=1.5, stretch=0.5),
        Bar(name="p99 at 16", unit="ms", value=sixteen.p99_ms, must=8, stretch=3),
        Bar(name="CPU per paced event", unit="us", value=own.streams.best.cpu_us, must=35, stretch=20),
        Bar(name="CPU per 84 KB call", unit="us", value=own.agent.best.cpu_us, must=400, stretch=150),
        Bar(name="start to first answer", unit="s", value=own.target.start_s, must=1.2, stretch=0.6),
        Bar(name="memory idle", unit="MB", value=own.idle_mb, must=70, stretch=45),
        Bar(name="memory after load", unit="MB", value=own.after_mb, must=90, stretch=45),
        Bar(name="install size", unit="MB", value=own.target.size_mb or 0.0, must=45, stretch=30),
    ]
    if own.waiting is not None:
        grown = _grown_mb(own.waiting)
        out.append(Bar(name="memory per 1,000 waiting", unit="MB", value=grown, must=30, stretch=15))
    if "nginx" in found:
        ratio = own.capacity / found["nginx"].capacity
        out.append(Bar(name="capacity to nginx's", unit="x", value=ratio, must=0.07, stretch=0.2, at_least=True))
    if "litellm" in found:
        ratio = own.capacity / found["litellm"].capacity
        out.append(Bar(name="capacity to LiteLLM's", unit="x", value=ratio, must=50, stretch=150, at_least=True))
        ratio = found["litellm"].streams.best.cpu_us / own.streams.best.cpu_us
        out.append(Bar(name="LiteLLM's event to ours", unit="x", value=ratio, must=17, stretch=30, at_least=True))
    return out


def _grown_mb(readings: Readings) -> float:
    """For each 1,000 calls."""
    return (readings.memory_peak_mb - readings.memory_before_mb) * 1_000 / readings.best.count


def table(found: Mapping[str, Figures]) -> list[str]:
    """All targets side by side."""
    rows: list[tuple[str, Callable[[Figures], str]]] = [
        ("CPU per call at 16, us (usual window)", lambda f: f"{f.cpu_us:.0f} ({f.calls[16].usual_cpu_us:.0f})"),
        *((f"calls/s at {n} (p50/p99 ms)", lambda f, n=n: _calls(f.calls[n].best)) for n in PARALLEL),
        ("a core could carry, calls/s", lambda f: f"{f.capacity:,.0f}"),
        ("84 KB call at 16: CPU us (calls/s)", lambda f: f"{f.agent.best.cpu_us:.0f} ({f.agent.best.rate:,.0f})"),
        (f"{STREAMS} paced streams: CPU us per event", lambda f: f"{f.streams.best.cpu_us:.1f}"),
        (
            "  first event p50/p99, ms (20 of it given)",
            lambda f: f"{f.streams.best.p50_ms:.1f}/{f.streams.best.p99_ms:.1f}",
        ),
        ("waiting calls: all done in, s", lambda f: _seconds(f.waiting)),
        ("  memory per 1,000, MB", lambda f: _growth(f.waiting)),
        (f"in line for {SLOTS} slots: all done in, s", lambda f: _seconds(f.queued)),
        ("  memory per 1,000, MB", lambda f: _growth(f.queued)),
        ("start to first answer, s", lambda f: _known(f.target.start_s, "{:.2f}")),
        ("memory idle/after load, MB", lambda f: f"{f.idle_mb:.0f}/{f.after_mb:.0f}"),
        ("installed, MB", lambda f: _known(f.target.size_mb, "{:.0f}")),
        ("reference before/after, calls/s", lambda f: f"{f.reference[0].rate:,.0f}/{f.reference[1].rate:,.0f}"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{name:>26}" for name in found)]
    return lines + [f"{name:<{width}}" + "".join(f"{cell(f):>26}" for f in found.values()) for name, cell in rows]


def _calls(window: Window) -> str:
    return f"{window.rate:,.0f} ({window.p50_ms:.2f}/{window.p99_ms:.2f})"


def _seconds(readings: Readings | None) -> str:
    return "-" if readings is None else f"{readings.best.count} in {readings.best.seconds:.1f}"


def _growth(readings: Readings | None) -> str:
    return "-" if readings is None else f"{_grown_mb(readings):+.1f}"


def _known(value: float | None, form: str) -> str:
    return form.format(value) if value else "-"
