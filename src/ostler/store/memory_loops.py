"""The part of the reference store about loops: a loop is stored only over the version that it was made from."""

from ostler.domain.commands import DropLoop, RefusalReason, SaveLoop
from ostler.domain.loops import Loop
from ostler.store.guards import Problem
from ostler.store.loops import loop_problem


class MemoryLoops:
    """Loops by name."""

    def __init__(self) -> None:
        self._loops: dict[str, Loop] = {}

    def listed(self) -> list[Loop]:
        """See the port."""
        return [self._loops[name] for name in sorted(self._loops)]

    def apply(self, command: SaveLoop | DropLoop) -> Problem | None:
        """Do what a command says, or say why it is refused."""
        if isinstance(command, DropLoop):
            if self._loops.pop(command.name, None) is None:
                return RefusalReason.NOT_FOUND, f"there is no loop named {command.name}"
            return None
        problem = loop_problem(command, {name: loop.version for name, loop in self._loops.items()})
        if problem is None:
            self._loops[command.loop.name] = command.loop
        return problem
