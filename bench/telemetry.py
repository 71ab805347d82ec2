"""What it costs to be seen: counting, alerts and traces, for each live call and each task, beside storing them.

    python bench/telemetry.py [--calls 20000]

One process, no network. Records of calls go into the hub's book and to a store in memory, in the batches of a busy hub:
with nobody observing, with what every hub counts (metrics and alerts), and with spans on top (never sent). CPU
microseconds a call, the best of five windows, side by side in one run. Then the same for a task from submit to success
(its commands, as the scheduler makes them), and one scrape of a hub with 10,000 open tasks.
"""

import argparse
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ostler.app.loop import clock, run
from ostler.domain.catalog import Catalog, TierSpec
from ostler.domain.commands import Applied, Command, PutCalls, UpdateTask
from ostler.domain.event import Event
from ostler.domain.live import CallAttempt, CallRecord
from ostler.domain.policy import Policy
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Classification, Complexity, Task, TaskFacts, TaskKind
from ostler.hub.alert_desk import AlertDesk
from ostler.hub.alert_facts import Counted
from ostler.hub.life_signs import LifeSigns
from ostler.hub.metrics_desk import MetricsDesk
from ostler.hub.pump import Pump
from ostler.hub.service_info import HubInfo
from ostler.scheduling import Scheduler
from ostler.store.memory import MemoryStore
from ostler.telemetry.exposition import text_of
from ostler.telemetry.metering import Metering
from ostler.telemetry.otlp import body
from ostler.telemetry.spans import spans_of

WINDOWS = 5
BATCH = 200
OPEN_TASKS = 10_000
CALL = CallRecord(
    id="c-1",
    at_ms=1_700_000_000_000,
    format="openai",
    path="/v1/chat/completions",
    asked_model="auto",
    stream=True,
    status=200,
    model="qwen",
    endpoint="box-1",
    tier="standard",
    duration_ms=900,
    first_token_ms=90,
    attempts=(
        CallAttempt(
            endpoint="box-1",
            model="qwen",
            tier="standard",
            started_ms=1_700_000_000_001,
            duration_ms=890,
            input_tokens=700,
            output_tokens=90,
            cost_micro_usd=0,
        ),
    ),
)
Observer = Callable[[Sequence[tuple[Command, Applied]]], object]


def call_batches(calls: int) -> list[list[tuple[Command, Applied]]]:
    """Records as the book hands them over."""
    records = [replace(CALL, id=f"c-{number}") for number in range(calls)]
    return [[(PutCalls(records=tuple(records[first : first + BATCH])), Applied())] for first in range(0, calls, BATCH)]


def task_batches(tasks: int) -> list[list[tuple[Command, Applied]]]:
    """Transitions of tasks, one batch for each, with the events that come with them."""
    kind = Classification(
        complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="code", source="heuristic"
    )
    batches: list[list[tuple[Command, Applied]]] = []
    for number in range(tasks):
        name = f"t-{number}"
        facts = TaskFacts(id=name, kind=TaskKind.CHAT, classification=kind)
        task = Task(
            id=name, seq=number + 1, state=TaskState.RUNNING, facts=facts, created_ms=1, updated_ms=1, session="s"
        )
        attempt = Attempt(
            task_id=name,
            generation=1,
            session="s",
            worker="w",
            tier="standard",
            model="qwen",
            assigned_ms=1,
            started_ms=2,
        )
        done = replace(task, state=TaskState.SUCCEEDED, session=None, finished_ms=9)
        steps = [
            (task, ("task.assigned", "scheduler.route"), None),
            (task, ("task.started",), None),
            (task, ("task.evaluating",), replace(attempt, finished_ms=9, ok=True)),
            (done, ("task.succeeded",), None),
        ]
        for row, names, with_attempt in steps:
            events = tuple(Event(name=event, at_ms=5, task_id=name, metadata={"tier": "standard"}) for event in names)
            command = UpdateTask(task=row, expect_generation=1, expect_states=(), events=events, attempt=with_attempt)
            batches.append([(command, Applied())])
    return batches


def microseconds(batches: list[list[tuple[Command, Applied]]], number: int, *observers: Observer) -> float:
    """CPU time of the observers, by call or task: the best of some windows."""
    best = float("inf")
    for _ in range(WINDOWS):
        began = time.process_time_ns()
        for batch in batches:
            for observer in observers:
                observer(batch)
        best = min(best, (time.process_time_ns() - began) / 1_000 / number)
    return best


def spans(applied: Sequence[tuple[Command, Applied]]) -> None:
    """Make spans and the bytes that would be sent."""
    found = list(spans_of(applied, lambda _: "ollama"))
    if found:
        body(found, "ostler", "0")


async def scrape() -> tuple[float, int]:
    """Milliseconds of a scrape of a hub with many open tasks, and the length of its answer."""
    store, timing = MemoryStore(), clock()
    pump = Pump(Scheduler(Policy(catalog=Catalog(tiers=(TierSpec(name="direct", rank=0),))), timing), store, timing)
    info = HubInfo(version="bench", profile_path=None, started_ms=0)
    desk = MetricsDesk(pump, info, AlertDesk(pump, store, LifeSigns()))
    for command, _ in (pair for batch in task_batches(OPEN_TASKS // 4) for pair in batch):
        assert isinstance(command, UpdateTask)
        for copy in range(4):
            name = f"{command.task.id}.{copy}"
            wait = Wait(code=WaitCode.CAPACITY, since_ms=1)
            pump.scheduler.books.tasks[name] = replace(
                command.task, id=name, state=TaskState.QUEUED, session=None, finished_ms=None, wait=wait
            )
    best, text = float("inf"), ""
    for _ in range(WINDOWS):
        began = time.process_time_ns()
        text = await desk.text()
        best = min(best, (time.process_time_ns() - began) / 1e6)
    return best, len(text)


def main() -> None:
    """Print the figures."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--calls", type=int, default=20_000)
    calls = cli.parse_args().calls
    print(f"{'CPU microseconds each':24} {'live call':>10} {'task':>10}")
    batches, tasks = call_batches(calls), task_batches(calls // 10)
    rows: list[tuple[str, tuple[Observer, ...]]] = [
        ("nobody looks", ()),
        ("metrics", (Metering().observe,)),
        ("metrics, alerts", (Metering().observe, Counted().observe)),
        ("metrics, alerts, traces", (Metering().observe, Counted().observe, spans)),
    ]
    for name, observers in rows:
        by_call = microseconds(batches, calls, *observers)
        by_task = microseconds(tasks, calls // 10, *observers)
        print(f"{name:24} {by_call:10.2f} {by_task:10.2f}")
    metering = Metering()
    for batch in batches:
        metering.observe(batch)
    assert "ostler_calls_total" in text_of(metering.meters.families({}))
    milliseconds, size = run(scrape())
    print(f"a scrape with {OPEN_TASKS:,} open tasks: {milliseconds:.1f} ms, {size:,} bytes")


if __name__ == "__main__":
    main()
