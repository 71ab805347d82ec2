"""What is counted is what is stored: metrics and the log of events say the same of whatever a hub goes through."""

from collections import Counter
from random import Random

import pytest

from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished, Progress, Started
from ostler.hub.service import Hub
from tests.hub.house import House, house
from tests.telemetry.test_exposition import parsed

KINDS = (FailureClass.COMMAND, FailureClass.ENVIRONMENT, FailureClass.POLICY)


async def work(built: House, session: str, random: Random) -> None:
    """Do what a worker is given, well or badly; now and then say it twice."""
    link = built.hub.link
    poll = await link.poll(session, 0)
    for given in poll.assignments:
        name, generation = given.task_id, given.generation
        await link.report(session, [Started(task_id=name, generation=generation, at_ms=built.clock.now_ms())])
        if random.random() < 0.5:
            await link.report(session, [Progress(task_id=name, generation=generation, at_ms=built.clock.now_ms())])
        ok = random.random() < 0.6
        failure = None if ok else Failure(kind=random.choice(KINDS), message="words", at_ms=1)
        ended = Finished(task_id=name, generation=generation, at_ms=built.clock.now_ms(), ok=ok, failure=failure)
        for _ in range(random.choice([1, 1, 2])):
            await link.report(session, [ended])


async def steer(hub: Hub, built: House, random: Random) -> None:
    """What a person may do to an open task."""
    tasks = sorted(built.pump.scheduler.books.tasks)
    if tasks:
        name = random.choice(tasks)
        await random.choice([hub.pause, hub.resume, hub.cancel])(name)


@pytest.mark.parametrize("seed", range(5))
async def test_metrics_count_what_the_log_of_events_has(seed: int) -> None:
    """Submits, repeats, work, failures, reclaims, persons: each event once, each ending once, each gauge as it is."""
    random = Random(seed)
    async with house() as built:
        hub = built.hub
        session = (await hub.link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 3}))).id
        for number in range(40):
            name = f"t{random.randrange(30)}"
            spec = TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), max_attempts=2)
            await hub.submit([spec])
            if number % 2:
                await work(built, session, random)
            if random.random() < 0.3:
                await steer(hub, built, random)
            built.clock.pass_ms(700)
            await hub.link.heartbeat(session, None)
        events = await built.store.events(limit=100_000)
        found = {
            (name, *labels.values()): value
            for samples in parsed(await hub.metrics.text()).values()
            for name, labels, value in samples
        }
        open_tasks = Counter(task.state.value for task in built.pump.scheduler.books.tasks.values())

    by_name = Counter(event.name for event in events)
    counted = {key[1]: int(value) for key, value in found.items() if key[0] == "ostler_events_total"}
    assert counted == dict(by_name)
    ends = {key[1]: int(value) for key, value in found.items() if key[0] == "ostler_tasks_ended_total"}
    assert ends == {
        end: by_name[f"task.{end}"]
        for end in ("succeeded", "failed", "dead_letter", "expired", "cancelled")
        if by_name[f"task.{end}"]
    }
    states = {key[1]: int(value) for key, value in found.items() if key[0] == "ostler_tasks"}
    assert states == dict(open_tasks)
    attempts = sum(int(value) for key, value in found.items() if key[0] == "ostler_attempts_ended_total")
    assert attempts == by_name["task.evaluating"]
    assert found["ostler_tasks_submitted_total", "command"] == by_name["task.submitted"]
