"""The load generator, a process of its own: one order as JSON on its command line, its readings as JSON on its output.

A closed loop: each connection sends its next call when it has the answer to the last. Every answer is checked: status,
length, and that it holds the number of its own request. An answer that is not true, or a connection that ends, is an
error of the run, not a slow call. It reads the target's processor time itself, at the edges of each window.
"""

import asyncio
import resource
import statistics
import sys
import time
from array import array
from typing import Literal

import msgspec
import uvloop

from bench.hop import payloads
from bench.hop.gauge import Gauge

LATEST_S = 120.0
"""No single run takes longer."""
MEMORY_EVERY_S = 0.25
ANSWERS_MIN = 8
"""So many for each connection make a window, however long that takes."""
PATIENCE_S = 8.0
"""After so long no further window is begun."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    kind: Literal["calls", "streams", "waiting"]
    port: int
    path: str = "/v1/chat/completions"
    key: str = ""
    model: str = "bench-chat"
    pid: int | None = None
    """Root of the tree that is measured."""
    connections: int = 1
    agent: bool = False
    """84 KB instead of 0.5."""
    seconds: float = 1.0
    windows: int = 1
    warm_s: float = 0.3
    wait_ms: int = 0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in one window."""

    count: int
    """Calls, or events of streams."""
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Calls (events) a second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time of the target for each call (event)."""
        return self.cpu_s / self.count * 1e6


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an order."""

    windows: list[Window]
    memory_before_mb: float = 0.0
    memory_peak_mb: float = 0.0

    @property
    def best(self) -> Window:
        """The window that others disturbed least."""
        return max(self.windows, key=lambda window: window.rate)

    @property
    def usual_cpu_us(self) -> float:
        """Processor time for each call in the middle one of the windows."""
        return statistics.median(window.cpu_us for window in self.windows)


class WrongAnswerError(Exception):
    """The target answered something else than the truth."""


class Caller(asyncio.Protocol):
    """One connection in its closed loop."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._number = b""
        self._started = 0.0
        self._first = 0.0
        self._due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to call."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _exc: Exception | None) -> None:
        """An error while an answer is due; servers may close a connection that rests."""
        self._transport = None
        if self._due and not self._run.over:
            self._run.fail(f"the target ended a connection after {self._data[:300]!r}")

    def ask(self) -> None:
        """Send the next request."""
        if self._transport is None or self._run.over:
            return
        self._number = self._run.next_number()
        self._data, self._first, self._due = b"", 0.0, True
        self._started = time.perf_counter()
        self._transport.write(self._number.join(self._run.request))

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._data = self._data + data if self._data else data
        run = self._run
        if run.order.kind == "streams":
            if not self._first and b"data: " in self._data:
                self._first = time.perf_counter()
            if not self._data.endswith(b"0\r\n\r\n"):
                return
            wrong = _stream_fault(self._data, self._number)
            since, worth = self._first - self._started, payloads.EVENTS
        else:
            whole = _is_whole(self._data)
            if not whole:
                return
            wrong = not (self._data.startswith(b"HTTP/1.1 200") and payloads.MARK + self._number in self._data)
            since, worth = time.perf_counter() - self._started, 1
        if wrong:
            run.fail(f"no true answer: {self._data[:600]!r}")
            return
        self._due = False
        run.answered(since, worth)
        if run.order.kind == "calls" or run.again():
            self.ask()

    def close(self) -> None:
        """The run is over."""
        if self._transport is not None:
            self._transport.abort()


def _is_whole(data: bytes) -> bool:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = data[:end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        return data.endswith(b"\r\n0\r\n\r\n")
    stop = head.find(b"\r\n", at)
    length = int(head[at + 15 : stop if stop >= 0 else len(head)])
    return len(data) >= end + 4 + length


def _stream_fault(data: bytes, number: bytes) -> bool:
    """Whether a stream is anything but 100 pieces of its own content and the end marker."""
    good = data.startswith(b"HTTP/1.1 200") and data.count(payloads.MARK + number) == payloads.CONTENT_EVENTS
    return not (good and b"data: [DONE]" in data[-200:])


class Run:
    """One order under way."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.over = False
        self._count = 0
        self._asked = 0
        self._done = 0
        self._left = 0
        self._taken = array("d")
        self._gauge = Gauge(order.pid)
        self._callers: list[Caller] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        make = payloads.agent if order.agent else payloads.chat
        body = (
            make(order.model)
            if order.kind == "calls"
            else payloads.chat(order.model, stream=order.kind == "streams", wait_ms=order.wait_ms)
        )
        key = f"authorization: Bearer {order.key}\r\n" if order.key else ""
        head = (
            f"POST {order.path} HTTP/1.1\r\nhost: 127.0.0.1:{order.port}\r\nuser-agent: ostler-bench\r\n{key}"
            f"content-type: application/json\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.request = payloads.split(head.encode() + body)

    def next_number(self) -> bytes:
        """Another one for each request."""
        self._asked += 1
        return b"%08d" % self._asked

    def answered(self, since_s: float, worth: int) -> None:
        """A true answer came."""
        self._count += worth
        self._taken.append(since_s)
        self._done += 1
        if self.order.kind != "calls" and self._left == 0 and self._done >= self._asked and not self._ended.done():
            self._ended.set_result(None)

    def again(self) -> bool:
        """Whether there is another stream to ask for."""
        if self._left > 0:
            self._left -= 1
            return True
        return False

    def fail(self, what: str) -> None:
        """Nothing that was measured counts."""
        if not self._ended.done():
            self._ended.set_exception(WrongAnswerError(what))

    async def readings(self) -> Readings:
        """Carry it out."""
        loop = asyncio.get_running_loop()
        for _ in range(self.order.connections):
            _, caller = await loop.create_connection(lambda: Caller(self), "127.0.0.1", self.order.port)
            self._callers.append(caller)
        try:
            async with asyncio.timeout(LATEST_S):
                if self.order.kind == "calls":
                    return await self._calls()
                return await (self._streams() if self.order.kind == "streams" else self._waiting())
        finally:
            self.over = True
            for caller in self._callers:
                caller.close()

    async def _calls(self) -> Readings:
        for caller in self._callers:
            caller.ask()
        await self._pass(self.order.warm_s)
        windows = []
        started = time.perf_counter()
        for _ in range(self.order.windows):
            self._count, self._taken = 0, array("d")
            begun, cpu_s = time.perf_counter(), self._gauge.cpu_s()
            await self._pass(self.order.seconds)
            # Answers of a slow target come in bursts: a short window would hold one, and not what it took.
            while self._count < ANSWERS_MIN * self.order.connections:
                await self._pass(self.order.seconds)
            windows.append(self._window(begun, cpu_s))
            if time.perf_counter() - started > PATIENCE_S:
                break
        return Readings(windows=windows)

    async def _streams(self) -> Readings:
        """All at once, one after the other on each connection; their events are spread over the time between two."""
        windows = []
        for _ in range(self.order.windows):
            self._count, self._taken = 0, array("d")
            self._left = self.order.connections * (max(1, round(self.order.seconds)) - 1)
            begun, cpu_s = time.perf_counter(), self._gauge.cpu_s()
            for caller in self._callers:
                caller.ask()
                await asyncio.sleep(payloads.NEXT_EVENT_S / self.order.connections)
            await self._ended
            windows.append(self._window(begun, cpu_s))
            self._ended = asyncio.get_running_loop().create_future()
        return Readings(windows=windows)

    async def _waiting(self) -> Readings:
        """Each connection makes one call that takes long; the memory of the target is read meanwhile."""
        before = peak = self._gauge.memory_mb()
        begun, cpu_s = time.perf_counter(), self._gauge.cpu_s()
        for caller in self._callers:
            caller.ask()
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=MEMORY_EVERY_S)
            peak = max(peak, self._gauge.memory_mb())
        await self._ended
        return Readings(windows=[self._window(begun, cpu_s)], memory_before_mb=before, memory_peak_mb=peak)

    async def _pass(self, seconds: float) -> None:
        await asyncio.wait([self._ended], timeout=seconds)
        if self._ended.done():
            await self._ended

    def _window(self, begun: float, cpu_s: float) -> Window:
        taken = sorted(self._taken)
        return Window(
            count=self._count,
            seconds=time.perf_counter() - begun,
            cpu_s=self._gauge.cpu_s() - cpu_s,
            p50_ms=taken[len(taken) // 2] * 1_000,
            p99_ms=taken[len(taken) * 99 // 100] * 1_000,
        )


async def carry_out(order: Order) -> Readings:
    """One order."""
    return await Run(order).readings()


def main() -> int:
    """Carry out the order on the command line."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        found = uvloop.run(carry_out(msgspec.json.decode(sys.argv[1].encode(), type=Order)))
    except (WrongAnswerError, TimeoutError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
