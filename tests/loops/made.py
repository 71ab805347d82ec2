"""Loops as tests make them, and a hand that drives them."""

from ostler.domain.loops import Loop, LoopStatus, ScheduleConfig
from ostler.domain.tasks import TaskSpec
from ostler.loops import machine
from ostler.loops.machine import Ended, Step

NOW_MS = 1_800_000_000_000
MINUTE = 60_000
HALF_HOUR = 30 * MINUTE


def made(**schedule: object) -> Loop:
    """A loop that was never started."""
    found = ScheduleConfig(**schedule)  # type: ignore[arg-type]
    return Loop(name="night", created_ms=NOW_MS, schedule=found, work=TaskSpec(id="work", prompt="look around"))


class Hand:
    """Keeps a loop and what was told; each call is one step."""

    def __init__(self, **schedule: object) -> None:
        self.loop = made(**schedule)
        self.now_ms = NOW_MS
        self.told: list[str] = []
        self.cancelled: list[str] = []
        self.answers = 0

    def take(self, step: Step | None) -> None:
        if step is not None:
            self.loop = step.loop
            self.told += [event.name.removeprefix("loop.") for event in step.events]
            self.cancelled += step.cancel

    def start(self) -> "Hand":
        self.take(machine.start(self.loop, self.now_ms))
        self.take(machine.due(self.loop, self.now_ms))
        return self

    def later(self, ms: int) -> None:
        """Time passes; what is due begins."""
        self.now_ms += ms
        self.take(machine.due(self.loop, self.now_ms))

    def end(self, said: str | None = None, *, ok: bool = True, error: str = "broke", cost: int = 0) -> None:
        """The step under way ends. Without words of its own each answer is another one."""
        self.answers += 1
        task_id = machine.wanted(self.loop)
        assert task_id is not None, "nothing is under way"
        output = f"answer {self.answers}" if said is None else said
        ended = Ended(ok=ok, output=output, error="" if ok else error, cost_micro_usd=cost)
        self.take(machine.step_ended(self.loop, task_id, ended, self.now_ms, summarize_every=10))

    def end_loop(self) -> None:
        """Whatever is left of the loop ends well."""
        while self.loop.run is not None:
            self.end()

    @property
    def status(self) -> LoopStatus:
        return self.loop.status
