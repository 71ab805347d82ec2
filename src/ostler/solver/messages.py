"""What goes to the solver's process and what comes back: one line of JSON each way."""

import msgspec

from ostler.planning.cpsat.result import Goal, Solved
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan

NOT_INSTALLED = "the exact solver is not installed: pip install 'ostler[plan]'"


WHOLE_MAX = 40
"""Tasks up to which the whole is solved at once, with a bound of its own."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One solve; the fields are the arguments of `ostler.planning.cpsat.solve.solve`.

    A problem of more tasks than `WHOLE_MAX` whose goal is the makespan is improved part by part instead,
    in turns with a search on episodes.
    """

    instance: Instance
    seconds: float
    hint: Plan | None = None
    bound_ms: int | None = None
    workers: int = 1
    seed: int = 0
    goal: Goal = Goal()
    work_limit: float | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: a result, or the reason why there is none."""

    solved: Solved | None = None
    reason: str = ""
