"""Plays a story: `live`. Equal stories come to equal ends, whatever process plays them: `Seen.trail` says so of every
command that was committed.
"""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Iterator, Sequence

import msgspec

from ostler.app import gateway_parts, hub_parts, turns
from ostler.domain.commands import Command, Result
from ostler.hub import call_ids, gateway_desk
from ostler.hub import link as link_module
from ostler.workers import daemon
from tests.simulator.disk import Disk
from tests.simulator.owners import marked
from tests.simulator.sites import Monotonic
from tests.simulator.story import Story
from tests.simulator.virtual_loop import run
from tests.simulator.whole import WholeWorld, upstream_of
from tests.simulator.world import World


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a story."""

    wrong: tuple[str, ...]
    states: dict[str, str]
    commits: int
    hubs: int
    starts: int
    taken_up: int
    """Commands and agents that outlived their daemon and went on under the next."""
    until_s: float
    trail: str
    """A digest of all that was committed, in its order."""
    answered: int = 0
    """Live calls that had a good answer."""


def live(story: Story) -> Seen:
    """Play a story."""
    seeded = _Seeded(random.Random(story.seed ^ 0xC0DE))
    with contextlib.ExitStack() as stack:
        for owner, name in ((hub_parts, "random"), (link_module, "secrets"), (gateway_desk, "secrets")):
            stack.enter_context(instead(owner, name, seeded))
        stack.enter_context(instead(daemon, "secrets", seeded))
        stack.enter_context(instead(call_ids, "secrets", seeded))
        stack.enter_context(instead(call_ids, "_chance", call_ids._Chance()))
        stack.enter_context(instead(turns, "time", Monotonic))
        stack.enter_context(instead(gateway_parts, "UpstreamSet", upstream_of))
        return run(_lived(story))


@contextlib.contextmanager
def instead(owner: object, name: str, other: object) -> Iterator[None]:
    """Something else in the place of a piece of the program, for a while."""
    before = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, before)


class _Seeded:
    """In the place of the modules that roll dice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def Random(self) -> random.Random:  # noqa: N802 - the name of what it replaces
        return self._rng

    def token_bytes(self, size: int) -> bytes:
        return self._rng.randbytes(size)

    def token_hex(self, size: int) -> str:
        return self.token_bytes(size).hex()

    def token_urlsafe(self, size: int) -> str:
        return self.token_bytes(size).hex()


class _Trail:
    """Listens to the disk, and digests what is committed."""

    def __init__(self, disk: Disk) -> None:
        self._digest = hashlib.sha256()
        self._next = disk.watch
        disk.watch = self._committed

    def _committed(self, commands: Sequence[Command], results: Sequence[Result]) -> None:
        self._digest.update(msgspec.json.encode([commands, results], order="deterministic"))
        self._next(commands, results)

    def __str__(self) -> str:
        return self._digest.hexdigest()


async def _lived(story: Story) -> Seen:
    asyncio.get_running_loop().set_task_factory(marked)
    world = WholeWorld(story) if story.whole else World(story)
    trail = _Trail(world.disk)
    await world.live()
    world.end()
    records = sorted(world.disk.truth._records.items())
    return Seen(
        wrong=tuple(world.floor.wrong),
        states={name: record.task.state.value for name, record in records},
        commits=world.disk.commits,
        hubs=world.hubs,
        starts=world.floor.starts.total(),
        taken_up=sum(machine.taken_up for machine in world.machines.values()),
        until_s=asyncio.get_running_loop().time(),
        trail=str(trail),
        answered=world.clients.answered if isinstance(world, WholeWorld) else 0,
    )
