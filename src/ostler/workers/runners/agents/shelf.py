"""The agents that this version can run, by name."""

from collections.abc import Mapping

from ostler.domain.errors import InvalidInputError, nearest
from ostler.workers.runners.agents.aider import Aider
from ostler.workers.runners.agents.claude import Claude
from ostler.workers.runners.agents.codex import Codex
from ostler.workers.runners.agents.contract import Adapter
from ostler.workers.runners.agents.opencode import Opencode

DEFAULT = "opencode"

ADAPTERS: Mapping[str, Adapter] = {adapter.name: adapter for adapter in (Opencode(), Claude(), Codex(), Aider())}


def adapter_named(name: str, where: str = "worker.agents") -> Adapter:
    """The adapter. Raises `InvalidInputError` with the nearest name."""
    found = ADAPTERS.get(name)
    if found is None:
        raise InvalidInputError(f"there is no agent '{name}'", where=where, remedy=nearest(name, ADAPTERS))
    return found
