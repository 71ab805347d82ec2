"""The part of a flush about loops: a loop is stored only over the version that it was made from."""

from collections.abc import Mapping

from ostler.domain.commands import DropLoop, RefusalReason, SaveLoop
from ostler.store import rows
from ostler.store.guards import Problem


class LoopPlan:
    """What a flush writes of loops. `versions`: those that are stored, as the commands before left them."""

    def __init__(self, versions: dict[str, int]) -> None:
        self._versions = versions
        self.rows: dict[str, rows.Row | None] = {}
        """By name; `None` = to be deleted."""

    def add(self, command: SaveLoop | DropLoop) -> Problem | None:
        """Judge a command and note what it writes; why it is refused."""
        if isinstance(command, DropLoop):
            if self._versions.pop(command.name, None) is None:
                return RefusalReason.NOT_FOUND, f"there is no loop named {command.name}"
            self.rows[command.name] = None
            return None
        loop = command.loop
        problem = loop_problem(command, self._versions)
        if problem is None:
            self._versions[loop.name] = loop.version
            self.rows[loop.name] = (loop.name, loop.version, rows.body(loop))
        return problem


def loop_problem(command: SaveLoop, versions: Mapping[str, int]) -> Problem | None:
    """Why a loop cannot be stored: somebody else has stored another one of this name, or dropped it."""
    loop = command.loop
    stored = versions.get(loop.name, 0)
    if loop.version == stored + 1:
        return None
    if stored and loop.version == 1:
        return RefusalReason.CONFLICT, f"a loop named {loop.name} exists"
    return RefusalReason.CONFLICT, f"loop {loop.name} is at version {stored}, not at {loop.version - 1}"
