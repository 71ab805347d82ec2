"""A month of a loop in virtual time: hubs that look, save, hand in, and die between any two of these.

The store takes a change only from its own version; the queue takes an id once; a hub that died comes back later and
knows nothing but what is stored. Two hubs may look at the same time, each with a copy that the other has made stale.
"""

from collections import Counter
from collections.abc import Callable
from random import Random

from ostler.domain.loops import Loop, LoopStatus
from ostler.loops import machine
from ostler.loops.machine import Ended, Step
from tests.loops.made import MINUTE, NOW_MS, made

HOUR = 60 * MINUTE


class DiedError(Exception):
    """The hub is killed here."""


class World:
    """Store, queue and time; `dies` is asked before and after each write."""

    def __init__(self, dice: Random, loop: Loop, dies: Callable[[], bool]) -> None:
        self.dice = dice
        self.now_ms = NOW_MS
        self.dies = dies
        self.stored = loop
        self.ends_ms: dict[str, int] = {}
        """Task -> when it ends; handed in once."""
        self.runs: Counter[str] = Counter()
        self.begun: list[tuple[int, int]] = []
        """(number, due) of each loop that began, as told."""
        self.deaths = 0
        self.refused = 0

    def save(self, seen: Loop, step: Step) -> bool:
        """One conditional write; its events are told with it."""
        self._maybe_die()
        if self.stored.version != seen.version:
            self.refused += 1
            return False
        fields = {name: getattr(step.loop, name) for name in Loop.__struct_fields__} | {"version": seen.version + 1}
        self.stored = Loop(**fields)
        for event in step.events:
            if event.name == "loop.loop_start" and self.stored.run is not None:
                self.begun.append((self.stored.run.number, self.stored.run.due_ms))
        self._maybe_die()
        return True

    def hand_in(self, task_id: str) -> None:
        self._maybe_die()
        if task_id not in self.ends_ms:
            self.runs[task_id] += 1
            self.ends_ms[task_id] = self.now_ms + self.dice.choice([0, 1_000, 40_000, 4 * MINUTE, 9 * MINUTE])
        self._maybe_die()

    def look(self, seen: Loop) -> None:
        """What a hub does when it looks, from a copy that may be stale."""
        step = machine.due(seen, self.now_ms)
        if step is not None:
            if not self.save(seen, step):
                return
            seen = self.stored
        task_id = machine.wanted(seen)
        if task_id is None:
            return
        self.hand_in(task_id)
        if self.ends_ms[task_id] <= self.now_ms:
            number = self.runs.total()
            ended = Ended(ok=number % 7 != 0, output=f"answer {task_id}", error="broke")
            step = machine.step_ended(seen, task_id, ended, self.now_ms)
            if step is not None:
                self.save(seen, step)

    def _maybe_die(self) -> None:
        if self.dies():
            raise DiedError

    def next_ms(self) -> int:
        task_id = machine.wanted(self.stored)
        if task_id is not None:
            return max(self.now_ms, self.ends_ms.get(task_id, self.now_ms))
        return max(self.now_ms, machine.wake_ms(self.stored) or self.now_ms + HOUR)


def run(seed: int, days: float, *, death: float, catch_up: bool = False, hubs: int = 2) -> World:
    """Run a loop so long; `death` is the chance of dying at each write. A hub that died is away for up to two hours."""
    dice = Random(seed)
    loop = machine.start(made(ticks_per_loop=2, catch_up=catch_up, auto_pause_on_error_streak=0), NOW_MS).loop
    world = World(dice, loop, lambda: dice.random() < death)
    until_ms = NOW_MS + int(days * 24 * HOUR)
    while world.now_ms < until_ms or world.stored.run is not None:
        if world.now_ms >= until_ms and world.stored.status is LoopStatus.RUNNING:
            world.dies = lambda: False  # let what is under way come to its end
        copies = [world.stored] * dice.randint(1, hubs)
        for seen in copies:
            try:
                world.look(seen)
            except DiedError:
                world.deaths += 1
                world.now_ms += dice.choice([1_000, 5 * MINUTE, 45 * MINUTE, 2 * HOUR])
        world.now_ms = world.next_ms()
    return world
