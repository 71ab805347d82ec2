"""Guards taken away, one at a time: the simulator must notice each of them, or it proves nothing about the guard.

A mutant is made by putting something weaker in the place of a piece of the program, for as long as the story is played.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ostler.domain.commands import Command, Result
from ostler.domain.fleet import WorkerOffer
from ostler.hub import committer, link, service
from ostler.hub.committer import Committer
from ostler.store import guards, memory
from ostler.workers.attempts import AttemptPool
from ostler.workers.lease import TrustWindow
from tests.simulator.disk import Disk, Handle
from tests.simulator.playing import instead
from tests.simulator.story import Kind


def _no_fence(self: Handle) -> bool:
    """A hub that was replaced writes on."""
    del self
    return True


def _trusts_for_ever(self: TrustWindow, now_us: int) -> int:
    """A worker that hears nothing from its hub runs on."""
    del self, now_us
    return 60_000


def _outlives_all(self: TrustWindow, now_us: int) -> int:
    """What a worker runs goes on when its daemon is dead."""
    del self, now_us
    return 60_000


def _any_generation(command: Any, current: Any) -> guards.Problem | None:  # noqa: ANN401 - as the guard
    """Whatever is reported changes the task."""
    del command, current
    return None


def _does_not_remember(self: AttemptPool, key: tuple[str, int]) -> None:
    """A worker starts what it is handed as often as it is handed out."""
    del self, key


async def _any_leave(self: link.LocalLink, session_id: str, life: str = "", *, died: bool = False) -> None:
    """Who left ends the session of the process after it."""
    del life
    await _LEAVE(self, session_id)


def _any_join(offer: WorkerOffer, newest: WorkerOffer) -> bool:
    """What was overtaken on its way takes work back."""
    del offer, newest
    return False


async def _out_of_order(self: Committer, batches: Sequence[Any], answers: Sequence[Any]) -> None:
    """What was judged before an earlier batch was stored stays refused."""
    for batch, answer in zip(batches, answers, strict=True):
        await self._settle(batch, answer)


async def _sees_nothing_lost(*_: object) -> tuple[()]:
    """Tasks whose commit was not heard of are left to the next start."""
    return ()


async def _acknowledges_early(self: Handle, commands: Sequence[Command]) -> list[Result]:
    """Says that it is durable before it is."""
    import asyncio

    disk: Disk = self._disk
    if self.dead or disk.full:
        return await _APPLY(self, commands)
    results = await disk.truth.apply([])
    task = asyncio.ensure_future(_APPLY(self, commands))
    task.add_done_callback(lambda done: done.exception() if not done.cancelled() else None)
    from ostler.domain.commands import Applied

    return results + [Applied(spec=None)] * len(commands)


_APPLY = Handle.apply
_LEAVE = link.LocalLink.leave

Mutant = Callable[[], Any]
MUTANTS: dict[str, tuple[Mutant, frozenset[Kind]]] = {
    "a hub that was replaced writes on": (
        lambda: instead(Handle, "_may_write", _no_fence),
        frozenset({Kind.SPLIT}),
    ),
    "a worker runs on without its hub": (
        lambda: instead(TrustWindow, "left_ms", _trusts_for_ever),
        frozenset({Kind.CUT, Kind.KILL_HUB}),
    ),
    "what outlives its daemon outlives its lease": (
        lambda: instead(TrustWindow, "reaper_left_ms", _outlives_all),
        frozenset({Kind.KILL_WORKER}),
    ),
    "the generation of an update is not looked at": (
        lambda: instead(memory, "update_problem", _any_generation),
        frozenset({Kind.CUT, Kind.DOUBLE, Kind.SLOW_NET, Kind.SPLIT, Kind.UNKNOWN_COMMIT}),
    ),
    "a worker starts what it has started": (
        lambda: instead(AttemptPool, "_remember", _does_not_remember),
        frozenset({Kind.LOSE, Kind.DOUBLE, Kind.SLOW_NET}),
    ),
    "a task whose commit was not heard of is lost sight of": (
        lambda: instead(service, "lost_sight_of", _sees_nothing_lost),
        frozenset({Kind.UNKNOWN_COMMIT}),
    ),
    "commits are acknowledged before they happen": (
        lambda: instead(Handle, "apply", _acknowledges_early),
        frozenset({Kind.KILL_HUB, Kind.SLOW_DISK}),
    ),
}
"""What is taken away, and the faults under which that must show."""

DISK_MUTANTS: dict[str, Mutant] = {
    "what was judged too early stays refused": lambda: instead(committer.Committer, "_settle_all", _out_of_order),
}
"""What is taken away, and must show where the disk is full again and again while much is under way."""

RESTART_MUTANTS: dict[str, Mutant] = {
    "who left late ends the session of the next one": lambda: instead(link.LocalLink, "leave", _any_leave),
    "a join that was overtaken is heard": lambda: instead(link, "_is_overtaken", _any_join),
}
"""What is taken away, and must show where daemons are started again and again while their requests come twice."""
