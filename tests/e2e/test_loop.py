"""A loop on a real hub that is killed again and again: no tick is lost, none is done twice, and the schedule holds."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ostler.domain.loops import LoopStatus
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.loop_views import LoopWish, ScheduleChange
from tests.e2e.process import HubProcess, until

# A tick writes that it began and that it ended; one that is cut off in between has begun only.
TICK = 'echo "$OSTLER_LOOP_NUMBER.$OSTLER_LOOP_TICK" >> "$1/began"; sleep 0.2; echo "$OSTLER_LOOP_NUMBER.$OSTLER_LOOP_TICK" >> "$1/ended"; echo "done $OSTLER_LOOP_TICK"'  # noqa: E501 -- one line of shell
LOOPS, TICKS = 3, 3


def wish(folder: Path) -> LoopWish:
    work = TaskSpec(id="work", kind=TaskKind.COMMAND, argv=("sh", "-c", TICK, "tick", str(folder)))
    schedule = ScheduleChange(interval_minutes=0.02, ticks_per_loop=TICKS, max_loops=LOOPS, catch_up=True)
    return LoopWish(name="night", schedule=schedule, work=work, start=True)


def traces(folder: Path, name: str) -> Counter[str]:
    path = folder / name
    return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()


def status(hub: HubProcess) -> dict[str, Any]:
    """What a user sees who asks for JSON."""
    command = [sys.executable, "-m", "ostler.cli.main", "loop", "status", "night", "--hub", hub.url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_killed_loop_goes_on_with_the_tick_that_was_under_way(tmp_path: Path) -> None:
    """Three loops of three ticks, the hub killed in the first, second and third: each tick ended exactly once."""
    with HubProcess(tmp_path) as hub:
        assert hub.client.create_loop(wish(tmp_path)).loop.status is LoopStatus.RUNNING
        until(lambda: traces(tmp_path, "began")["1.2"] >= 1, "the second tick began")
        hub.kill()
    for number in (2, 3):
        with HubProcess(tmp_path) as hub:
            until(lambda number=number: traces(tmp_path, "began")[f"{number}.1"] >= 1, f"loop {number} began")  # type: ignore[misc]
            hub.kill()
    with HubProcess(tmp_path) as hub:
        until(lambda: hub.client.loop("night").loop.status is LoopStatus.FINISHED, "the loop is over", 40)
        shown = status(hub)
        assert hub.stop() == 0

    expected = {f"{number}.{tick}": 1 for number in range(1, LOOPS + 1) for tick in range(1, TICKS + 1)}
    assert dict(traces(tmp_path, "ended")) == expected
    assert (shown["loop"]["status"], shown["loop"]["reason"]) == ("finished", "max_loops")
    assert (shown["loop"]["total_ticks_run"], shown["loop"]["total_errors"]) == (LOOPS * TICKS, 0)
    assert [done["number"] for done in shown["loop"]["recent"]] == [1, 2, 3]
    due = [done["due_ms"] for done in shown["loop"]["recent"]]
    assert {(due[1] - due[0]) % 1_200, (due[2] - due[1]) % 1_200} == {0}, "the schedule drifted"
