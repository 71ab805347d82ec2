"""The solver's process: one request on standard input, one answer on standard output, nothing else.

It leaves at once when its standard input ends, because then nobody waits for the answer any more.
"""

import msgspec

from ostler.planning.cpsat.result import Solved
from ostler.solver.messages import NOT_INSTALLED, WHOLE_MAX, Answer, Request
from ostler.solver.serve import serve


def answer(line: bytes) -> Answer:
    """The answer to one request. What the solver refuses is an answer too."""
    request = msgspec.json.decode(line, type=Request)
    try:
        import ortools  # noqa: F401, PLC0415 (only here is it known whether the extra is installed)
    except ImportError:
        return Answer(reason=NOT_INSTALLED)
    return Answer(solved=_solved(request))


def _solved(request: Request) -> Solved:
    from ostler.planning.cpsat.solve import solve  # noqa: PLC0415 (needs the extra)
    from ostler.solver.alternation import alternating  # noqa: PLC0415 (needs the extra)

    goal = request.goal
    plain = not goal.priced and goal.budget_micro_usd is None and goal.keep_optional
    if plain and len(request.instance.tasks) > WHOLE_MAX:
        return alternating(request)
    return solve(
        request.instance,
        seconds=request.seconds,
        hint=request.hint,
        bound_ms=request.bound_ms,
        workers=request.workers,
        seed=request.seed,
        goal=goal,
        work_limit=request.work_limit,
    )


def main() -> None:
    """Read, solve, write."""
    serve(answer)


if __name__ == "__main__":
    main()
