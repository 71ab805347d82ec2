"""A hub that is killed at any moment loses nothing that it acknowledged, and leaves a sound database."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from ostler.domain.ports import CallQuery
from ostler.domain.states import TaskState
from ostler.store.sqlite import SqliteStore
from tests.store.crash_writer import STEPS

ROOT = Path(__file__).resolve().parents[2]
KILLS = 10
STATES = (TaskState.QUEUED, *STEPS)


def write_until_killed(database: Path, first_seq: int, lines: int) -> dict[str, int]:
    """Run the writer, kill it once it has said that many lines; what it acknowledged, by task."""
    command = [sys.executable, "-m", "tests.store.crash_writer", str(database), str(first_seq)]
    acknowledged: dict[str, int] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            if number == lines:
                process.kill()
            # What was in the pipe when it died was acknowledged too; only the last line may be cut.
            if line.endswith("\n"):
                task_id, events = line.split()
                acknowledged[task_id] = int(events)
    assert process.returncode == -signal.SIGKILL
    return acknowledged


async def test_nothing_acknowledged_is_lost(database: Path) -> None:
    """Ten kills at random moments on one file: every acknowledged step is there each time, and the file is sound."""
    draw = random.Random(20)
    acknowledged: dict[str, int] = {}
    for _ in range(KILLS):
        store = await SqliteStore.open(database)
        first_seq = (await store.open_work()).next_seq
        await store.close()

        acknowledged |= write_until_killed(database, first_seq, draw.randrange(1, 600))

        store = await SqliteStore.open(database)
        states = await store.states(list(acknowledged))
        calls = {record.id for record in await store.calls(CallQuery(limit=1_000_000))}
        lost = {
            task_id: events
            for task_id, events in acknowledged.items()
            if task_id not in calls and (task_id not in states or STATES.index(states[task_id]) < events - 1)
        }
        events = await store.events(limit=1_000_000)
        problems = await store.check()
        await store.close()
        assert lost == {}
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert problems == []

    assert len(acknowledged) > KILLS
    assert any(name.startswith("c-") for name in acknowledged)
