"""Which process runs which file of tests: those that wait for real programs go to processes of their own.

A test of real hubs and workers waits for most of its time: for a lease to end, for a program to start. Two of them
side by side leave a computer idle, and one beside much that computes may be too late. So the first of every `SHARE`
processes is a *lane* for files that wait, and has the processors first; the others compute, at a lower priority. Who
has nothing more of its own kind helps out with the other. A lane begins with the files that take longest, so that none
of those comes last.
"""

import os
from collections.abc import Iterable

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling
from xdist.workermanage import WorkerController

WAITING = ("tests/agents/", "tests/crash/test_crashes", "tests/e2e/", "tests/demo/test_end_to_end", "tests/browser/")
"""Files whose tests wait for real programs, by how their paths begin; the first ones run first."""
SHARE = 2
NICER = 5
"""How much nicer than a lane those are that compute."""


def rank(file: str) -> int | None:
    """The place of a file among those that wait; `None`: it computes.

    >>> rank("tests/crash/test_crashes_sqlite.py"), rank("tests/wire/test_codec.py")
    (1, None)
    """
    return next((place for place, start in enumerate(WAITING) if file.startswith(start)), None)


def is_lane(worker: str) -> bool:
    """Whether a process by its name is for files that wait.

    >>> [is_lane(f"gw{number}") for number in range(4)]
    [True, False, True, False]
    """
    return int(worker.removeprefix("gw")) % SHARE == 0


def next_file(files: Iterable[str], *, lane: bool) -> str:
    """The file for a process that has nothing to do: of its own kind, in their order; else any."""
    ranked = [(rank(file), file) for file in files]
    if lane:
        own = sorted((place, at) for at, (place, _) in enumerate(ranked) if place is not None)
        return ranked[own[0][1] if own else 0][1]
    return next((file for place, file in ranked if place is None), ranked[0][1])


class Lanes(LoadFileScheduling):  # type: ignore[misc]
    """A whole file goes to one process, as with `--dist loadfile`; to which of them, see above."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        file = next_file(self.workqueue, lane=is_lane(node.gateway.id))
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)


def scheduler(config: pytest.Config, log: Producer) -> Lanes | None:
    """What hands files out, where whole files are handed out; `None`: as asked for otherwise."""
    return Lanes(config, log) if config.getoption("dist") == "loadfile" else None


def make_way(worker: str) -> None:
    """In a process that is no lane: let those that are go first."""
    if not is_lane(worker):
        os.nice(NICER)
