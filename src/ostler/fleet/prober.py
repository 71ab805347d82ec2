"""When to probe: each enabled endpoint on its own schedule, results to a callback. A shell; decides nothing else.

Every endpoint has a task of its own, so a slow one delays nobody. The pause after a probe is

    available                   the interval
    unavailable, n-th in a row  2 s, 4 s, 8 s ... at most the interval: a recovery is seen soon
    rate limited                the interval, but not before the time the endpoint named
    key invalid                 the interval: a person has to act

each stretched or shortened by up to a tenth (`jitter` gives numbers from 0 to 1), so that many endpoints drift apart.

Invariants: at most one probe of an endpoint runs at a time; results of one endpoint reach the callback in the order of
their probes; after `stop` nothing runs. `start` and `stop` may be called twice, `stop` without `start`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable

import structlog

from ostler.domain.catalog import EndpointSpec
from ostler.domain.clock import Clock
from ostler.domain.errors import ConflictError, NotFoundError, nearest
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.policy import SchedulerPolicy

RETRY_BASE_MS = 2_000
JITTER_SHARE = 0.1
NET_MS = 500
"""A driver keeps its own time limit; this much later the prober stops waiting for one that does not."""

ProbeOnce = Callable[[EndpointSpec], Awaitable[Probe]]
Post = Callable[[Probe], Awaitable[None]]

log = structlog.get_logger(__name__)


def pause_ms(probe: Probe, failures: int, policy: SchedulerPolicy, jitter: float) -> int:
    """How long to wait after a probe. `failures` = unavailable ones in a row, this one included.

    >>> up = Probe(endpoint="box", status=ProbeStatus.AVAILABLE, at_ms=0)
    >>> pause_ms(up, 0, SchedulerPolicy(probe_interval_ms=30_000), 0.5)
    30000
    """
    pause = policy.probe_interval_ms
    if probe.status is ProbeStatus.UNAVAILABLE:
        # The exponent is bounded because an endpoint may be away for weeks.
        pause = min(RETRY_BASE_MS * 2 ** min(max(failures, 1) - 1, 20), pause)
    stretched = round(pause * (1 - JITTER_SHARE + 2 * JITTER_SHARE * jitter))
    if probe.status is ProbeStatus.RATE_LIMITED:
        return max(stretched, probe.retry_after_ms or 0)
    return stretched


class Prober:
    """Probes endpoints until it is stopped. Endpoints may come, change and go at any time."""

    def __init__(
        self, probe: ProbeOnce, post: Post, *, clock: Clock, policy: SchedulerPolicy, jitter: Callable[[], float]
    ) -> None:
        self._probe = probe
        self._post = post
        self._clock = clock
        self._policy = policy
        self._jitter = jitter
        self._watches: dict[str, _Watch] = {}
        self._running = False
        self._changing = asyncio.Lock()
        """Held while endpoints change: two changes of one name at once would leave a task that nobody knows."""

    def start(self) -> None:
        """Begin: every endpoint is probed at once, then on its schedule."""
        self._running = True
        for watch in self._watches.values():
            watch.start(self._loop)

    async def stop(self) -> None:
        """End all probing and wait until nothing runs. Endpoints stay known."""
        self._running = False
        async with self._changing:
            await asyncio.gather(*(watch.stop() for watch in self._watches.values()))

    async def put(self, spec: EndpointSpec) -> None:
        """Add an endpoint or replace the one of that name. A disabled one is removed; an unchanged one goes on."""
        async with self._changing:
            await self._put(spec)

    async def remove(self, name: str) -> None:
        """Stop probing an endpoint. Unknown names are fine."""
        async with self._changing:
            await self._remove(name)

    async def replace(self, specs: Iterable[EndpointSpec]) -> None:
        """Probe exactly these from now on; those that did not change keep their schedule."""
        wanted = {spec.name: spec for spec in specs}
        async with self._changing:
            for name in [name for name in self._watches if name not in wanted]:
                await self._remove(name)
            for spec in wanted.values():
                await self._put(spec)

    def set_policy(self, policy: SchedulerPolicy) -> None:
        """Take over other intervals, from the next pause of each endpoint on."""
        self._policy = policy

    async def probe_now(self, name: str) -> Probe:
        """A probe that begins after this call; its result is posted, too, and the schedule restarts from it.

        Raises `NotFoundError` for an unknown endpoint, `ConflictError` when probing is or gets stopped.
        """
        watch = self._watches.get(name)
        if watch is None:
            raise NotFoundError(f"no endpoint '{name}' is probed", remedy=nearest(name, self._watches))
        if not self._running:
            raise ConflictError(f"endpoint '{name}' is not probed: probing is stopped")
        return await watch.ask()

    async def _put(self, spec: EndpointSpec) -> None:
        known = self._watches.get(spec.name)
        if known is not None and known.spec == spec:
            return
        await self._remove(spec.name)
        if spec.enabled:
            watch = self._watches[spec.name] = _Watch(spec)
            if self._running:
                watch.start(self._loop)

    async def _remove(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        if watch is not None:
            await watch.stop()

    async def _loop(self, watch: "_Watch") -> None:
        failures = 0
        while True:
            waiting = watch.take_waiting()
            try:
                probe = await self._once(watch.spec)
                await self._hand_over(probe)
                for future in waiting:
                    if not future.done():
                        future.set_result(probe)
            finally:
                watch.give_up(waiting)
            failures = failures + 1 if probe.status is ProbeStatus.UNAVAILABLE else 0
            await watch.pause(pause_ms(probe, failures, self._policy, self._jitter()))

    async def _hand_over(self, probe: Probe) -> None:
        try:
            await self._post(probe)
        except Exception:  # boundary: the callback is not ours, and one result it cannot take must not end the probing
            log.exception("probe result was not taken", endpoint=probe.endpoint)

    async def _once(self, spec: EndpointSpec) -> Probe:
        limit_ms = self._policy.probe_timeout_ms + NET_MS
        try:
            async with asyncio.timeout(limit_ms / 1_000):
                return await self._probe(spec)
        except TimeoutError:
            message, timed_out = f"no answer within {limit_ms / 1_000:g} s", True
        except Exception:  # boundary: a driver must not raise; one that does costs its endpoint, not the prober
            log.exception("probe failed", endpoint=spec.name)
            message, timed_out = "the probe itself failed; see the log", False
        return Probe(
            endpoint=spec.name,
            status=ProbeStatus.UNAVAILABLE,
            at_ms=self._clock.now_ms(),
            message=message,
            timed_out=timed_out,
        )


class _Watch:
    """One endpoint, its task, and who waits for its next result."""

    def __init__(self, spec: EndpointSpec) -> None:
        self.spec = spec
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[Probe]] = []

    def start(self, loop: Callable[["_Watch"], Coroutine[None, None, None]]) -> None:
        if self._task is None:
            self._task = asyncio.create_task(loop(self))

    async def stop(self) -> None:
        task, self._task = self._task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        finally:
            self.give_up(self.take_waiting())

    def give_up(self, waiting: Iterable[asyncio.Future[Probe]]) -> None:
        """Nobody will probe for these any more."""
        for future in waiting:
            if not future.done():
                future.set_exception(ConflictError(f"probing of endpoint '{self.spec.name}' was stopped"))

    async def ask(self) -> Probe:
        future: asyncio.Future[Probe] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        return await future

    def take_waiting(self) -> list[asyncio.Future[Probe]]:
        """Those who asked until now: the probe that begins now is for them."""
        waiting, self._waiting = self._waiting, []
        self._wake.clear()
        return waiting

    async def pause(self, wait_ms: int) -> None:
        """Wait, or until somebody asks."""
        # Not `wait_for`: until Python 3.12 a cancel that comes with the end of what it waits for is lost in it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_ms / 1_000):
                await self._wake.wait()
