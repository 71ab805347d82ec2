"""Tests of a daemon that looks at endpoints for its hub."""

import asyncio

from msgspec.structs import replace

from ostler.domain.catalog import EndpointSpec, Reach
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Poll
from ostler.workers.attempts import Abilities
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.rules import WorkerRules
from tests.workers.daemon_bench import Bench
from tests.workers.fake_hub import FakeHub, FakeLink
from tests.workers.work_made import ENDPOINT, OFFER

FAR = replace(ENDPOINT, name="far", reached_by=Reach.WORKER)


class AskingLink(FakeLink):
    """A hub that wants something looked at."""

    watch: tuple[EndpointSpec, ...] = ()

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        return replace(await super().poll(session_id, wait_ms), watch=self.watch)


class Looking(Bench):
    """A daemon with something to look with."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[str] = []
        self.hub = FakeHub(self.timing)
        self.link = AskingLink(self.hub)
        self.worker = Worker(
            self.link,
            OFFER,
            Abilities(rules=WorkerRules(kinds=frozenset(TaskKind)), runners={}),
            WorkerSettings(identity="me", poll_wait_ms=1_000, lister=self.look),
            timing=self.timing,
            guard=self.guard,
            host_reporter=self.measuring,
            on_note=self.notes.append,
        )

    async def look(self, spec: EndpointSpec) -> Probe:
        self.looked.append(spec.name)
        return Probe(endpoint=spec.name, status=ProbeStatus.AVAILABLE, at_ms=1)

    def listings(self) -> list[tuple[str, ...]]:
        """What came with each report of the machine."""
        reports = (report for _, _, report in self.hub.beats if report is not None)
        return [tuple(probe.endpoint for probe in report.listings) for report in reports]


def test_what_the_hub_asks_for_comes_with_the_load_of_the_machine() -> None:
    """From the next report on, with each of them, as long as it is asked for; nothing else is looked at."""

    async def scenario() -> None:
        bench = Looking()
        await bench.started()
        await bench.timing.advance(12)
        assert set(bench.listings()) == {()}
        bench.link.watch = (FAR, replace(FAR, name="away"))
        await bench.timing.advance(12)
        assert bench.listings()[-1] == ("far", "away")
        bench.link.watch = ()
        await bench.timing.advance(12)
        assert bench.listings()[-1] == ()
        assert set(bench.looked) == {"far", "away"}
        await bench.stop()

    asyncio.run(scenario())


def test_a_broken_look_is_said_and_costs_one_report() -> None:
    """The heartbeat goes on."""

    async def scenario() -> None:
        bench = Looking()
        bench.link.watch = (FAR,)

        async def broken(_spec: EndpointSpec) -> Probe:
            raise OSError("no such luck")

        bench.worker._lister = broken
        await bench.started()
        await bench.timing.advance(30)
        assert any("no such luck" in note for note in bench.notes)
        assert len(bench.hub.beats) >= 4
        await bench.stop()

    asyncio.run(scenario())
