"""When endpoints are probed. Fake drivers, signals instead of waiting."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.policy import SchedulerPolicy
from ostler.fleet.prober import Prober, pause_ms
from tests.fleet.fakes import WallClock

BOUND_S = 3.0
CALM = SchedulerPolicy(probe_interval_ms=3_600_000, probe_timeout_ms=1_000)
BUSY = SchedulerPolicy(probe_interval_ms=5, probe_timeout_ms=1_000)


def spec(name: str, **changes: object) -> EndpointSpec:
    plain = EndpointSpec(name=name, kind=EndpointKind.OLLAMA, url=f"http://{name}", provider="x", host=name, local=True)
    return msgspec.structs.replace(plain, **changes)


class Fleet:
    """Answers probes as told, and lets a test wait until one was posted."""

    def __init__(self) -> None:
        self.status: dict[str, ProbeStatus] = defaultdict(lambda: ProbeStatus.AVAILABLE)
        self.gates: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.begun: list[str] = []
        self.running: dict[str, int] = defaultdict(int)
        self.posted: list[Probe] = []
        self.news = asyncio.Condition()
        self.refuse_posts = 0

    async def probe(self, target: EndpointSpec) -> Probe:
        self.begun.append(target.name)
        self.running[target.name] += 1
        assert self.running[target.name] == 1, "two probes of one endpoint at once"
        await self._tell()
        try:
            if gate := self.gates.get(target.name):
                await gate.wait()
            if target.name in self.broken:
                message = "a driver with a bug"
                raise RuntimeError(message)
            number = len(self.begun)
            return Probe(endpoint=target.name, status=self.status[target.name], at_ms=number, message=target.url)
        finally:
            self.running[target.name] -= 1

    async def post(self, probe: Probe) -> None:
        if self.refuse_posts:
            self.refuse_posts -= 1
            message = "a callback with a bug"
            raise RuntimeError(message)
        self.posted.append(probe)
        await self._tell()

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    async def until(self, name: str, count: int) -> list[Probe]:
        """The results of an endpoint, when there are this many."""
        async with asyncio.timeout(BOUND_S), self.news:
            await self.news.wait_for(lambda: len(self.of(name)) >= count)
        return self.of(name)

    async def until_begun(self, name: str, count: int = 1) -> None:
        async with asyncio.timeout(BOUND_S), self.news:
            await self.news.wait_for(lambda: self.begun.count(name) >= count)

    def of(self, name: str) -> list[Probe]:
        return [probe for probe in self.posted if probe.endpoint == name]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def prober_of(fleet: Fleet, policy: SchedulerPolicy = CALM) -> Prober:
    return Prober(fleet.probe, fleet.post, clock=WallClock(), policy=policy, jitter=lambda: 0.5)


@pytest.fixture
async def prober(fleet: Fleet) -> AsyncIterator[Prober]:
    made = prober_of(fleet)
    yield made
    await made.stop()


async def test_every_endpoint_is_probed_at_once(fleet: Fleet, prober: Prober) -> None:
    """Those that were there before the start and those that come later."""
    await prober.put(spec("a"))
    prober.start()
    await prober.put(spec("b"))

    await fleet.until("a", 1)
    await fleet.until("b", 1)


async def test_probing_goes_on(fleet: Fleet) -> None:
    """On the interval."""
    prober = prober_of(fleet, BUSY)
    await prober.put(spec("a"))
    prober.start()

    assert len(await fleet.until("a", 3)) >= 3
    await prober.stop()


async def test_a_slow_endpoint_delays_nobody(fleet: Fleet) -> None:
    """Each has its own task."""
    fleet.gates["slow"] = asyncio.Event()
    prober = prober_of(fleet, BUSY)
    for name in ("slow", "quick"):
        await prober.put(spec(name))
    prober.start()

    await fleet.until("quick", 3)

    assert fleet.of("slow") == []
    await prober.stop()


async def test_a_driver_that_never_answers_is_unavailable(fleet: Fleet) -> None:
    """Although it promised to bound itself."""
    fleet.gates["hung"] = asyncio.Event()
    prober = prober_of(fleet, SchedulerPolicy(probe_interval_ms=3_600_000, probe_timeout_ms=1))
    await prober.put(spec("hung"))
    prober.start()

    (probe,) = await fleet.until("hung", 1)

    assert (probe.status, probe.message) == (ProbeStatus.UNAVAILABLE, "no answer within 0.501 s")
    await prober.stop()


async def test_a_driver_that_raises_costs_its_endpoint_only(fleet: Fleet, prober: Prober) -> None:
    """A bug in one place is reported as unavailable there; the rest goes on."""
    fleet.broken.add("a")
    await prober.put(spec("a"))
    await prober.put(spec("b"))
    prober.start()

    (probe,) = await fleet.until("a", 1)
    await fleet.until("b", 1)

    assert probe.status is ProbeStatus.UNAVAILABLE


async def test_a_result_that_nobody_takes_does_not_end_the_probing(fleet: Fleet) -> None:
    """The callback is not ours."""
    fleet.refuse_posts = 2
    prober = prober_of(fleet, BUSY)
    await prober.put(spec("a"))
    prober.start()

    await fleet.until("a", 1)
    await prober.stop()


async def test_probe_now_gives_a_new_result_and_posts_it(fleet: Fleet, prober: Prober) -> None:
    """Without waiting for the interval."""
    await prober.put(spec("a"))
    prober.start()
    await fleet.until("a", 1)

    probe = await asyncio.wait_for(prober.probe_now("a"), BOUND_S)

    assert fleet.posted[-1] == probe
    assert len(fleet.posted) == 2


async def test_probe_now_does_not_take_the_result_of_an_older_probe(fleet: Fleet, prober: Prober) -> None:
    """What began before the question may have seen the world before it changed."""
    gate = fleet.gates["a"] = asyncio.Event()
    await prober.put(spec("a"))
    prober.start()
    await fleet.until_begun("a")
    asked = [asyncio.create_task(prober.probe_now("a")) for _ in range(3)]
    await asyncio.sleep(0)

    gate.set()
    results = await asyncio.wait_for(asyncio.gather(*asked), BOUND_S)

    first, second = await fleet.until("a", 2)
    assert results == [second] * 3
    assert first != second
    assert len(fleet.posted) == 2


async def test_probe_now_of_a_name_nobody_probes(fleet: Fleet, prober: Prober) -> None:
    """Says which one may have been meant; and what is wrong when nothing runs."""
    await prober.put(spec("workstation"))

    with pytest.raises(NotFoundError, match="did you mean 'workstation'"):
        await prober.probe_now("workstatoin")
    with pytest.raises(ConflictError, match="stopped"):
        await prober.probe_now("workstation")


async def test_nobody_waits_for_a_probe_that_will_not_come(fleet: Fleet, prober: Prober) -> None:
    """Stopping or removing answers those who asked, before and while their probe runs."""
    fleet.gates["a"] = asyncio.Event()
    await prober.put(spec("a"))
    prober.start()
    await fleet.until_begun("a")
    queued = asyncio.create_task(prober.probe_now("a"))
    await asyncio.sleep(0)

    await prober.remove("a")

    with pytest.raises(ConflictError):
        await asyncio.wait_for(queued, BOUND_S)

    await prober.put(spec("b"))
    await fleet.until("b", 1)
    fleet.gates["b"] = asyncio.Event()
    running = asyncio.create_task(prober.probe_now("b"))
    await fleet.until_begun("b", 2)

    await prober.stop()

    with pytest.raises(ConflictError):
        await asyncio.wait_for(running, BOUND_S)


async def test_a_caller_that_gives_up_disturbs_nothing(fleet: Fleet, prober: Prober) -> None:
    """The probe it asked for is posted all the same."""
    gate = fleet.gates["a"] = asyncio.Event()
    await prober.put(spec("a"))
    prober.start()
    await fleet.until_begun("a")
    asking = asyncio.create_task(prober.probe_now("a"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    gate.set()

    await fleet.until("a", 2)


async def test_endpoints_come_change_and_go(fleet: Fleet, prober: Prober) -> None:
    """A changed one is probed anew at its new address, an unchanged one keeps its schedule, a disabled one is gone."""
    prober.start()
    await prober.replace([spec("a"), spec("b"), spec("c")])
    for name in "abc":
        await fleet.until(name, 1)

    await prober.replace([spec("a"), spec("b", url="http://elsewhere"), spec("c", enabled=False)])
    await fleet.until("b", 2)

    assert fleet.of("b")[-1].message == "http://elsewhere"
    assert len(fleet.of("a")) == 1
    with pytest.raises(NotFoundError):
        await prober.probe_now("c")
    await prober.remove("never known")


async def test_changes_at_the_same_time_leave_one_task(fleet: Fleet, prober: Prober) -> None:
    """Whoever comes last wins, and nothing goes on that nobody knows of."""
    prober.start()
    await prober.put(spec("a"))
    await fleet.until("a", 1)
    before = len(asyncio.all_tasks())

    await asyncio.gather(*(prober.put(spec("a", url=f"http://{i}")) for i in range(4)))
    await prober.probe_now("a")

    assert len(asyncio.all_tasks()) == before
    assert fleet.of("a")[-1].message == "http://3"


async def test_nothing_runs_after_stop(fleet: Fleet) -> None:
    """Also when a probe was under way; stop may come twice, before start, and start twice."""
    fleet.gates["a"] = asyncio.Event()
    prober = prober_of(fleet)
    await prober.stop()
    await prober.put(spec("a"))
    prober.start()
    prober.start()
    await fleet.until_begun("a")
    before = asyncio.all_tasks()

    await prober.stop()
    await prober.stop()

    assert len(asyncio.all_tasks()) == len(before) - 1
    assert fleet.posted == []
    assert fleet.begun == ["a"]


async def test_it_can_be_started_again(fleet: Fleet, prober: Prober) -> None:
    """The endpoints are still known."""
    await prober.put(spec("a"))
    prober.start()
    await fleet.until("a", 1)
    await prober.stop()
    prober.start()

    await fleet.until("a", 2)


async def test_a_new_policy_is_in_force_from_the_next_pause_on(fleet: Fleet, prober: Prober) -> None:
    """No endpoint has to be added again."""
    await prober.put(spec("a"))
    prober.start()
    await fleet.until("a", 1)
    prober.set_policy(BUSY)

    await prober.probe_now("a")

    await fleet.until("a", 4)


def result(status: ProbeStatus, retry_after_ms: int | None = None) -> Probe:
    return Probe(endpoint="a", status=status, at_ms=0, retry_after_ms=retry_after_ms)


POLICY = SchedulerPolicy(probe_interval_ms=30_000)


def test_a_recovery_is_seen_soon() -> None:
    """While it is down an endpoint is asked more often than when it is up, ever less so, never less than that."""
    down = result(ProbeStatus.UNAVAILABLE)

    pauses = [pause_ms(down, failures, POLICY, 0.5) for failures in (1, 2, 3, 4, 5, 6, 10_000)]

    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (result(ProbeStatus.AVAILABLE), 30_000),
        (result(ProbeStatus.KEY_INVALID), 30_000),
        (result(ProbeStatus.RATE_LIMITED), 30_000),
        (result(ProbeStatus.RATE_LIMITED, 5_000), 30_000),
        (result(ProbeStatus.RATE_LIMITED, 90_000), 90_000),
    ],
)
def test_others_keep_the_interval(probe: Probe, expected: int) -> None:
    """Except that nobody is asked before the time it named, however the pause is stretched."""
    assert pause_ms(probe, 0, POLICY, 0.5) == expected
    assert pause_ms(probe, 0, POLICY, 0.0) >= (probe.retry_after_ms or 0)


@given(
    status=st.sampled_from(ProbeStatus),
    failures=st.integers(0, 10**6),
    interval=st.integers(1, 10**7),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_pauses_are_bounded(status: ProbeStatus, failures: int, interval: int, jitter: float) -> None:
    """Within a tenth of the interval at most, and never negative."""
    pause = pause_ms(result(status), failures, SchedulerPolicy(probe_interval_ms=interval), jitter)

    assert 0 <= pause <= interval * 1.1 + 1


@pytest.mark.parametrize("turns", range(8))
async def test_a_stop_is_heard_however_soon_after_a_question(fleet: Fleet, turns: int) -> None:
    """However few turns of the loop lie between the two: who asked is told, and nothing runs on."""
    prober = prober_of(fleet)
    await prober.put(spec("a"))
    prober.start()
    await fleet.until("a", 1)
    asked = asyncio.ensure_future(prober.probe_now("a"))
    for _ in range(turns):
        await asyncio.sleep(0)

    async with asyncio.timeout(BOUND_S):
        await prober.stop()
        await asyncio.gather(asked, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_asked_is_told_of_a_stop_that_was_broken_off(fleet: Fleet) -> None:
    """Whoever waits for the end of a probe may be ended himself."""
    fleet.gates["a"] = asyncio.Event()
    prober = prober_of(fleet)
    await prober.put(spec("a"))
    prober.start()
    await fleet.until_begun("a")
    asked = asyncio.ensure_future(prober.probe_now("a"))
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(prober.stop())
    for _ in range(2):  # now it waits for the probe
        await asyncio.sleep(0)
    stopping.cancel()

    async with asyncio.timeout(BOUND_S):
        with pytest.raises(ConflictError):
            await asked
