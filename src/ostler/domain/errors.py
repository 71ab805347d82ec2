"""Errors a user can act on: what is wrong, where, what would be valid, and what to do next.

One root, `OstlerError`; each subclass fixes the exit code of the command line and the HTTP status of the API, so that
the two never disagree. The text is made of the same four parts everywhere and never holds a secret.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every verb. `endpoints check` has its own table (see `ProbeStatus`)."""

    OK = 0
    FAILED = 1
    """The work itself failed: a task ended other than succeeded, an endpoint is unavailable."""
    USAGE = 2
    """Bad input: a flag, a profile, a task file. Nothing was changed."""
    UNREACHABLE = 3
    """No hub answers at the address."""
    REFUSED = 4
    """The hub understood and refused: unknown task, conflict, not allowed."""
    INTERRUPTED = 130


class OstlerError(Exception):
    """Root of all errors meant for a person.

    `what` says what is wrong, `where` the place (`file:line`, a field, a flag), `remedy` what to do.
    """

    exit_code: ExitCode = ExitCode.FAILED
    http_status: int = 500
    code: str = "error"
    for_good: bool = False
    """Whether the same thing will fail again, however often it is tried."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f" ({self.remedy})" if self.remedy else "")


class InvalidInputError(OstlerError):
    """A file, flag or request does not say something valid."""

    exit_code = ExitCode.USAGE
    http_status = 400
    code = "invalid_input"


class ProfileError(InvalidInputError):
    """The profile is refused; `problems` has one line for each mistake found, not only the first.

    A single mistake is the error itself, so that programs get its place and its remedy apart.
    """

    code = "invalid_profile"

    def __init__(self, problems: Iterable["Problem"]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            (one,) = self.problems
            super().__init__(one.what, where=one.where, remedy=one.remedy)
        else:
            super().__init__("\n".join(str(problem) for problem in self.problems))


class Problem(OstlerError):
    """One mistake in a file, with its place."""

    exit_code = ExitCode.USAGE
    http_status = 400
    code = "problem"


class CycleError(InvalidInputError):
    """Tasks that need each other in a ring; `cycle` names them in order, the first repeated at the end."""

    code = "cycle"

    def __init__(self, cycle: tuple[str, ...], *, where: str = "needs") -> None:
        self.cycle = cycle
        super().__init__(
            "tasks need each other in a ring: " + " -> ".join(cycle),
            where=where,
            remedy="remove one of these needs",
        )


class NotFoundError(OstlerError, LookupError):
    """No such task, endpoint, worker or model."""

    exit_code = ExitCode.REFUSED
    http_status = 404
    code = "not_found"


class ConflictError(OstlerError):
    """The state does not allow it: another generation, another content under the same id, a final state."""

    exit_code = ExitCode.REFUSED
    http_status = 409
    code = "conflict"


class NotAllowedError(OstlerError):
    """A token is missing or wrong, or a worker was not told to allow this kind of work."""

    exit_code = ExitCode.REFUSED
    http_status = 403
    code = "not_allowed"


class LimitReachedError(OstlerError):
    """What may be spent in a window is spent. `retry_after_ms`: how long the window goes on; `None` = for ever."""

    exit_code = ExitCode.REFUSED
    http_status = 429
    code = "limit_reached"

    def __init__(self, what: str, *, where: str = "", remedy: str = "", retry_after_ms: int | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.retry_after_ms = retry_after_ms


class UnreachableError(OstlerError):
    """Nothing answers at an address that the command needs."""

    exit_code = ExitCode.UNREACHABLE
    http_status = 502
    code = "unreachable"


MAX_NAMES_SHOWN = 12


def nearest(name: str, valid: Iterable[str]) -> str:
    """A remedy for a misspelt name: the nearest valid one, else all of them (at most twelve).

    >>> nearest("standart", ["trivial", "standard"])
    "did you mean 'standard'?"
    """
    names = sorted(set(valid))
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if not names:
        return "none is defined"
    shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (", ..." if len(names) > MAX_NAMES_SHOWN else "")
    return f"valid: {shown}"
