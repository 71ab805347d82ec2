"""A worker daemon as a process of its own, so that a test can kill or freeze it. Its hub is a fake inside it.

    python -m tests.workers.daemon_process IDENTITY LEASE_MS PROGRAM ARG...

It is assigned one task: to run the program. It prints `started` when that was reported, `lost` for each session that it
lost, and serves until it is terminated.
"""

import asyncio
import os
import signal
import sys

from ostler.domain.fleet import WorkerOffer
from ostler.domain.tasks import TaskKind
from ostler.workers.attempts import Abilities
from ostler.workers.commands import CommandHost
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.guard import ReaperGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.runners.command import CommandRunner
from ostler.workers.timing import SystemTiming
from tests.workers.fake_hub import FakeHub, FakeLink
from tests.workers.tagged import until
from tests.workers.work_made import command


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def serve(identity: str, lease_ms: int, argv: list[str]) -> None:
    """Run the daemon until SIGTERM."""
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    hub = FakeHub(lease_ms=lease_ms)
    guard = ReaperGuard(identity)
    rules = WorkerRules(kinds=frozenset({TaskKind.COMMAND}), commands=("*",))
    runner = CommandRunner(CommandHost(rules, guard, environ=dict(os.environ)))
    worker = Worker(
        FakeLink(hub),
        WorkerOffer(name="doomed", host="den", slots={TaskKind.COMMAND: 1}),
        Abilities(rules=rules, runners={TaskKind.COMMAND: runner}),
        WorkerSettings(identity=identity),
        timing=SystemTiming(),
        guard=guard,
        on_note=lambda text: say("lost" if "is lost" in text else "note"),
    )
    worker.start()
    await until(lambda: bool(hub.sessions))
    hub.give(command(*argv))
    await until(lambda: hub.is_started("t1"))
    say("started")
    await terminated.wait()
    await worker.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
