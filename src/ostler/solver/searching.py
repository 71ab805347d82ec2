"""The heuristic search in a process of its own, so that a hub goes on while a plan is made.

python -m ostler.solver.searching  --  one line with the problem in, one line with the plan or the reason out
"""

import sys
from random import Random

import msgspec

from ostler.domain.errors import ConflictError, OstlerError
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.planner import make_plan
from ostler.solver.child import ChildError, answer_of
from ostler.solver.serve import serve
from ostler.solver.until import UntilThen

GRACE_S = 10.0
"""Beyond the search's own time: to start, and for one last simulation that is under way."""
COMMAND = (sys.executable, "-m", "ostler.solver.searching")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One search."""

    instance: Instance
    strategy: str
    seconds: float
    seed: int = 0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: a plan, or why there is none."""

    plan: Plan | None = None
    reason: str = ""


async def search_in_process(instance: Instance, *, strategy: str, seconds: float) -> Plan:
    """The plan of `ostler.planning.planner.make_plan`. Raises `ConflictError` with the reason when there is none."""
    line = msgspec.json.encode(Wanted(instance=instance, strategy=strategy, seconds=seconds)) + b"\n"
    try:
        output = await answer_of(COMMAND, line, seconds=seconds + GRACE_S, what="search for a plan")
        found = msgspec.json.decode(output, type=Found)
    except (ChildError, msgspec.DecodeError) as error:
        raise ConflictError(f"no plan was made: {error}") from None
    if found.plan is None:
        raise ConflictError(f"no plan was made: {found.reason}")
    return found.plan


def found_for(line: bytes) -> Found:
    """The answer to one request."""
    wanted = msgspec.json.decode(line, type=Wanted)
    try:
        dice = Random(wanted.seed)  # noqa: S311 (a search, not a secret)
        plan = make_plan(wanted.instance, wanted.strategy, UntilThen(wanted.seconds), dice)
    except OstlerError as error:
        return Found(reason=str(error))
    return Found(plan=plan)


def main() -> None:
    """Read, work, write."""
    serve(found_for)


if __name__ == "__main__":
    main()
