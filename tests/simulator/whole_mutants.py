"""Guards taken away in a whole world, as in `mutants`: each must be noticed within a few stories of its faults."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from msgspec.structs import replace

from ostler.app import turns
from ostler.app.hub_parts import HubParts
from ostler.domain.ledger import NOTHING
from ostler.domain.live import Dispatch, LiveCall
from ostler.domain.states import LEASED_STATES, TaskState
from ostler.gateway import relay, service
from ostler.hub.attempt_keys import AttemptKeys
from ostler.hub.committer import Committer
from ostler.hub.live_desk import LiveDesk
from ostler.scheduling import Scheduler, holding, intake, outcomes, purse
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.endpoints import Endpoints
from ostler.scheduling.hosts import Hosts
from ostler.scheduling.outcomes import take_back
from ostler.scheduling.timers import TimerKind, Timers
from ostler.wire.talk import Ended, Finish
from tests.simulator.playing import instead
from tests.simulator.story import ENDPOINTS, Fault, Kind, Story
from tests.simulator.whole_story import draw_whole

LIVE = "ostler.scheduling.live"
_ADMIT, _TAKE, _FREE = LiveDesk.admit, Books.take_slot, Books.free_slot
_CANCEL, _MOVED, _APPLY = Timers.cancel, Turn.moved, Committer.apply
_RESERVE, _CALL_RESERVE, _WAIT = purse.reservation, purse.call_reservation, intake.wait_for_money


def _trusted_for_ever(self: turns.Lease) -> str:
    """A hub that has not heard of its lease for long acts as if it had."""
    del self
    return ""


async def _lets_go(self: LiveDesk, call: LiveCall) -> Dispatch:
    """What waits in line at a hub that was replaced is let go when its turn comes."""
    self._pump.closed_because = str
    return await _ADMIT(self, call)


def _takes(self: Books, endpoint: str | None, model: str | None) -> None:
    """Live calls are not counted."""
    if sys._getframe(1).f_globals["__name__"] != LIVE:
        _TAKE(self, endpoint, model)


def _frees(self: Books, endpoint: str | None, model: str | None) -> None:
    if sys._getframe(1).f_globals["__name__"] != LIVE:
        _FREE(self, endpoint, model)
    elif endpoint is not None:
        self.queue.open_blocked_on(endpoint)


def _keeps_timers(self: Timers, kind: TimerKind, key: object) -> None:
    """The timer of an attempt that has begun rings as if it had not."""
    if kind is not TimerKind.ASSIGN:
        _CANCEL(self, kind, key)


def _takes_back(self: Scheduler, turn: Turn, task_id: str) -> None:
    """And what it rings for is not looked at."""
    task = self.books.tasks.get(task_id)
    if task is not None and task.state in LEASED_STATES:
        take_back(turn, task, "the worker did not start it in time", stop=True)


def _same_number(self: Turn, task: Any, to_state: TaskState, **changes: Any) -> Any:  # noqa: ANN401 - as the original
    """An attempt that was taken back and the next one have one number."""
    if to_state is TaskState.ASSIGNED and task.generation:
        changes["generation"] = task.generation
    return _MOVED(self, task, to_state, **changes)


async def _nothing_back(self: HubParts, work: object) -> list[object]:
    """A hub that starts leaves what the last one held."""
    del self, work
    return []


def _not_told(self: Endpoints, *_: object) -> list[object]:
    """What an endpoint says of when to come back is not listened to."""
    del self
    return []


def _holds_nothing(*args: Any) -> Any:  # noqa: ANN401 - as the original
    """Money is charged at the end, and not held before."""
    held = _RESERVE(*args)
    return None if held is None else replace(held, amount=NOTHING)


def _call_holds_nothing(*args: Any) -> Any:  # noqa: ANN401 - as the original
    held = _CALL_RESERVE(*args)
    return None if held is None else replace(held, amount=NOTHING)


def _not_busy(self: Hosts, at: object) -> int:
    """A model goes although it is in use."""
    del self, at
    return 0


def _never_ends(self: AttemptKeys, task: object, generation: int) -> None:
    """The key of an attempt opens on after its end."""
    del self, task, generation


def _all_met(state: TaskState, *, optional: bool) -> bool:
    """A need that was not met lets its dependents run."""
    del state, optional
    return True


def _for_ever(turn: Turn, task: Any, wait: Any, due_ms: int) -> None:  # noqa: ANN401 - as the original
    """What waits for money has no time to live."""
    _WAIT(turn, replace(task, ttl_ms=0), wait, due_ms)


def _says_nothing(self: Committer, commands: Any, *, must: bool = False) -> Any:  # noqa: ANN401 - as the original
    """Who hands something over after the store was given up hears nothing."""
    ended, self._given_up, self._task = self._task, None, None
    try:
        return _APPLY(self, commands, must=must)
    finally:
        self._task = ended


def _whole(self: relay.TranslatingRelay) -> bytes:
    """What stopped in the middle is passed off as the end."""
    rest = self._written(self._reader.end())
    if not self._finish:
        rest += self._writer.piece(Ended(finish=Finish.STOP))
    return rest + self._writer.end()


@contextlib.contextmanager
def _both(*some: AbstractContextManager[None]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for one in some:
            stack.enter_context(one)
        yield


Maker = Callable[[int], Story]


def of_kinds(*kinds: Kind) -> Maker:
    """Stories whose faults are of these kinds alone; without any, none goes wrong by itself."""

    def make(seed: int) -> Story:
        story = draw_whole(seed, faults=80)
        return replace(story, faults=tuple(fault for fault in story.faults if fault.kind in kinds)[:10])

    return make


def greedy(seed: int) -> Story:
    """Everybody wants what costs money, all at once."""
    story = draw_whole(seed, faults=0)
    jobs = tuple(replace(job, chat=True, agent=False, tier="complex", takes_s=12.0, needs=()) for job in story.jobs)
    return replace(story, jobs=jobs, calls=tuple(replace(call, model="large", takes_s=8.0) for call in story.calls))


def stormy(seed: int) -> Story:
    """Streams, and endpoints that break them off again and again."""
    story = draw_whole(seed, faults=0)
    storms = tuple(
        Fault(kind=Kind.STORM, who=name, at_s=5.0 + 10.0 * number, for_s=6.0)
        for number in range(16)
        for name in ENDPOINTS
    )
    calls = tuple(replace(call, streams=True, takes_s=8.0, leaves_s=None) for call in story.calls)
    return replace(story, faults=storms, calls=calls)


def lengthy(seed: int) -> Story:
    """Work that takes its time."""
    story = draw_whole(seed, faults=0)
    return replace(
        story, jobs=tuple(replace(job, takes_s=0.5 if job.chat else 100.0, cancelled_s=None) for job in story.jobs)
    )


AWAY = of_kinds(Kind.SPLIT, Kind.PAUSE_HUB, Kind.SLOW_PROVIDER)
LOST = of_kinds(Kind.KILL_WORKER, Kind.CUT, Kind.FREEZE_WORKER, Kind.KILL_HUB, Kind.LOSE)
WHOLE_MUTANTS: dict[str, tuple[Callable[[], AbstractContextManager[None]], Maker]] = {
    "a lease is trusted past its end": (lambda: instead(turns.Lease, "closed_because", _trusted_for_ever), AWAY),
    "what waited in line at a hub that was replaced is let go": (lambda: instead(LiveDesk, "admit", _lets_go), AWAY),
    "the slots of live calls are not counted": (
        lambda: _both(instead(Books, "take_slot", _takes), instead(Books, "free_slot", _frees)),
        of_kinds(),
    ),
    "the timer of an attempt that has begun is not stopped": (
        lambda: _both(instead(Timers, "cancel", _keeps_timers), instead(Scheduler, "_never_started", _takes_back)),
        lengthy,
    ),
    "an attempt and the one after it have one number": (lambda: instead(Turn, "moved", _same_number), LOST),
    "what a hub that died had held is not given back": (
        lambda: instead(HubParts, "_money_taken_back", _nothing_back),
        of_kinds(Kind.KILL_HUB),
    ),
    "when to come back is not listened to": (
        lambda: instead(Endpoints, "block", _not_told),
        of_kinds(Kind.STORM),
    ),
    "money is not held before it is spent": (
        lambda: _both(
            instead(purse, "reservation", _holds_nothing), instead(purse, "call_reservation", _call_holds_nothing)
        ),
        greedy,
    ),
    "the limit of a key is not asked": (lambda: instead(service, "own_limits", lambda _key: ()), of_kinds()),
    "a model goes although it is in use": (lambda: instead(Hosts, "busy", _not_busy), of_kinds()),
    "the key of an attempt outlives it": (lambda: instead(AttemptKeys, "ended", _never_ends), LOST),
    "a need that was not met counts as met": (lambda: instead(intake, "need_is_met", _all_met), of_kinds()),
    "what waits for money has no time to live": (
        lambda: _both(*(instead(owner, "wait_for_money", _for_ever) for owner in (holding, outcomes))),
        of_kinds(),
    ),
    "a store that was given up answers nobody": (
        lambda: instead(Committer, "apply", _says_nothing),
        of_kinds(Kind.SPLIT, Kind.RESTART_DATABASE, Kind.UNKNOWN_COMMIT),
    ),
    "what stopped in the middle is passed off as whole": (
        lambda: instead(relay.TranslatingRelay, "finish", _whole),
        stormy,
    ),
}
"""What is taken away, and stories in which that must show."""
