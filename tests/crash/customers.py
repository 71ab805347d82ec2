"""Who hands in work: with ids of their own, again until it is acknowledged, and sometimes once more for nothing."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ostler.domain.errors import OstlerError
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.trace import own_trace, span_id, traceparent
from tests.crash.stage import Stage

JOB = """
log=$1/log
exec 9>>"$1/locks/$OSTLER_TASK"
flock -n 9 || echo "twice $OSTLER_ATTEMPT $$" >> "$log"
echo "start $OSTLER_ATTEMPT $$" >> "$log"
sleep "$2"
echo "end $OSTLER_ATTEMPT $$" >> "$log"
"""
"""Holds a lock that the kernel frees when the shell and its `sleep` are both gone; tells when it begins and ends."""
TRACE = traceparent(own_trace("the crash test"), span_id("the crash test"))
_PAUSE_S = 0.1


def spec(number: int, traces: Path, seed: int) -> TaskSpec:
    """Task `number`: every other one a command, the others a paid call."""
    rng = random.Random(f"task {seed} {number}")
    name = f"t{number}"
    if number % 2:
        return TaskSpec(id=name, kind=TaskKind.CHAT, prompt=f"task<{name}> " + "please " * rng.randint(1, 20))
    argv = ("sh", "-c", JOB, "job", str(traces), f"{rng.uniform(0.01, 0.25):.2f}")
    return TaskSpec(id=name, kind=TaskKind.COMMAND, argv=argv)


class Customer(threading.Thread):
    """Hands in tasks `numbers`, a few at a time, as long as not too many are under way."""

    def __init__(self, stage: Stage, numbers: range, traces: Path, seed: int, room: Callable[[], int]) -> None:
        super().__init__(name=f"customer {numbers.start}", daemon=True)
        self._stage = stage
        self._numbers = numbers
        self._traces = traces
        self._seed = seed
        self._room = room
        self.acknowledged: list[str] = []
        self.repeated = 0
        """Times that work was handed in again, because no answer came or for nothing."""
        self.refused: list[str] = []
        self.stopped = False

    def run(self) -> None:
        """To the last one."""
        rng = random.Random(f"customer {self._seed} {self._numbers.start}")
        left = [spec(number, self._traces, self._seed) for number in self._numbers]
        while left and not self.stopped:
            size = min(rng.randint(1, 20), self._room())
            if size <= 0:
                time.sleep(_PAUSE_S)
                continue
            some, left = left[:size], left[size:]
            if not self._accepted(some, rng):
                return
            self.acknowledged += [one.id for one in some]
            if rng.random() < 0.1:
                self.repeated += 1
                self._accepted(some, rng)

    def _accepted(self, some: list[TaskSpec], rng: random.Random) -> bool:
        """Until somebody has answered; `False` when it is told to stop before that."""
        while not self.stopped:
            client = self._stage.client(rng.choice(list(self._stage.ports)), TRACE)
            try:
                answer = client.submit(some)
            except OstlerError as error:
                self.repeated += 1
                self.refused.append(f"{type(error).__name__}: {error}"[:200])
                time.sleep(_PAUSE_S)
            else:
                assert [one.id for one in answer.tasks] == [one.id for one in some]
                return True
        return False
