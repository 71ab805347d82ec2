"""`WorkingSet`: aims, decisions, errors and summaries of an agent, in a file that neither tears nor loses a change."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.domain.working_set import Kind, WorkingState
from ostler.store.errors import StoreError
from ostler.store.state_file import StateFile

FORMAT = "ostler.working_set/1"
FILE = "working_set.json"


class WorkingSet:
    """The hot state of one agent. Each change is atomic and durable, and builds on the newest, whoever made it.

    `path` names the file; `WorkingSet.of("default")` is `data/default/working_set.json`. Reading is always from the
    file. Raises `StoreError` for a file that cannot be trusted.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = StateFile(path, FORMAT)

    @classmethod
    def of(cls, profile: str, folder: str | Path = "data") -> Self:
        """The working set of a profile or an agent, by name. Raises `InvalidInputError` for what is no name."""
        if not profile or profile in (".", "..") or any(mark in profile for mark in "/\\\0"):
            raise InvalidInputError(f"{profile!r} is no name", where="profile", remedy="letters, digits, - and _")
        return cls(Path(folder) / profile / FILE)

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self._file.path

    @property
    def state(self) -> WorkingState:
        """All four lists as they are now."""
        return _state(self._file.read().body, self.path)

    @property
    def version(self) -> int:
        """Rises by one with each change; 0 before the first."""
        return self._file.read().version

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is to be reached, oldest first."""
        return self.state.objectives

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was decided, oldest first."""
        return self.state.decisions

    @property
    def errors(self) -> tuple[str, ...]:
        """What went wrong lately, oldest first."""
        return self.state.errors

    @property
    def summaries(self) -> tuple[str, ...]:
        """What older talk was about, oldest first."""
        return self.state.summaries

    def add(self, kind: str, text: str) -> WorkingState:
        """Keep an entry in `objectives`, `decisions`, `errors` or `summaries`; the newest of each are kept."""
        return self.change(lambda state: state.added(kind, text))

    def add_objective(self, text: str) -> WorkingState:
        """Keep an aim."""
        return self.add(Kind.OBJECTIVES, text)

    def add_decision(self, text: str) -> WorkingState:
        """Keep a decision."""
        return self.add(Kind.DECISIONS, text)

    def add_error(self, text: str) -> WorkingState:
        """Keep an error."""
        return self.add(Kind.ERRORS, text)

    def add_summary(self, text: str) -> WorkingState:
        """Keep a summary."""
        return self.add(Kind.SUMMARIES, text)

    def remove(self, kind: str, text: str) -> WorkingState:
        """Drop an entry, such as an objective that is reached."""
        return self.change(lambda state: state.removed(kind, text))

    def clear(self, kind: str | None = None) -> WorkingState:
        """Drop all entries, or those of one list."""
        if kind is None:
            return self.change(lambda _: WorkingState())
        return self.change(lambda state: msgspec.structs.replace(state, **{Kind(kind).value: ()}))

    def change(self, step: Callable[[WorkingState], WorkingState]) -> WorkingState:
        """Put what `step` makes of the newest state in its place; nobody else changes it meanwhile."""

        def changed(body: bytes | None) -> bytes:
            return msgspec.json.encode(step(_state(body, self.path)))

        return _state(self._file.change(changed).body, self.path)

    def text(self) -> str:
        """For a model to read; empty when there is nothing."""
        return self.state.text()


def _state(body: bytes | None, path: Path) -> WorkingState:
    try:
        return WorkingState() if body is None else msgspec.json.decode(body, type=WorkingState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"no working set: {error}", where=str(path)) from error
