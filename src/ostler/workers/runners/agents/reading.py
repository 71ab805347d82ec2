"""What the readers of all agents share: a tally, patience, and the order in which the end of a run is judged.

An error that it did not get over comes first, then that it told nothing at all, then what is wrong with its end by what
only this program tells, then that it neither said nor did anything.
"""

from abc import ABC, abstractmethod

from ostler.workers.runners.agents.contract import AgentEvent, Trouble, Verdict
from ostler.workers.runners.agents.lines import Fields, fields_of
from ostler.workers.runners.agents.tally import Tally, silent, void


class LineReader(ABC):
    """A reader of one run of `program`. A subclass says what its lines mean, and what makes its end a bad one."""

    program: str

    def __init__(self) -> None:
        self.tally = Tally()
        self.session = ""
        """The program's own name for the run."""

    @property
    def is_over(self) -> bool:
        """Most programs never say so: they simply end."""
        return False

    @property
    def steps(self) -> int:
        """Answers of the model that were taken in."""
        return self.tally.steps

    @property
    def repeats(self) -> int:
        """See `Repeats`."""
        return self.tally.repeats.count

    def stuck_on(self, errors: str) -> Trouble | None:  # noqa: ARG002 -- of the contract
        """Most programs give up by themselves."""
        return None

    def feed(self, line: bytes) -> tuple[AgentEvent, ...]:
        """One line."""
        fields = fields_of(line)
        return () if fields is None else self.tally.take(self.events_of(fields))

    def verdict(self, exit_code: int | None, errors: str) -> Verdict:
        """How it ended."""
        trouble = self.trouble(exit_code, errors)
        return self.tally.verdict(trouble, session=self.session, whole=self.is_whole)

    def trouble(self, exit_code: int | None, errors: str) -> Trouble | None:
        """What makes the run a bad one; `None` when it is good."""
        if self.tally.trouble is not None:
            return self.tally.trouble
        if self.tally.is_void:
            return self.nothing_told(exit_code, errors)
        bad = self.bad_end(exit_code)
        if bad is None and self.tally.is_silent:
            return silent(self.program)
        return bad

    def nothing_told(self, exit_code: int | None, errors: str) -> Trouble:
        """Why a run told nothing at all."""
        return void(self.program, exit_code, errors)

    @property
    @abstractmethod
    def is_whole(self) -> bool:
        """Whether the program came to its own end, so that its usage is no estimate."""

    @abstractmethod
    def events_of(self, fields: Fields) -> tuple[AgentEvent, ...]:
        """What a line of JSON tells; nothing when it is of no kind that is known."""

    @abstractmethod
    def bad_end(self, exit_code: int | None) -> Trouble | None:
        """What is wrong with the end of a run that told something and no error; `None` when nothing is."""
