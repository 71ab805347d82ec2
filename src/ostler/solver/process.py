"""Ask the solver's process and wait for it, at most as long as it was given and a grace. Nothing it does raises here.

A process that is over its time is killed, also when whoever waits is cancelled; it is gone before the answer is given.
"""

import sys
from collections.abc import Sequence

import msgspec

from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.solver.child import ChildError, answer_of
from ostler.solver.messages import Answer, Request

GRACE_S = 15.0
"""Beyond the solver's own limit: to start, to build the model and to notice that the time is over."""
COMMAND = (sys.executable, "-m", "ostler.solver")


async def solve_in_process(
    instance: Instance,
    *,
    seconds: float,
    hint: Plan | None = None,
    bound_ms: int | None = None,
    workers: int = 1,
    seed: int = 0,
    goal: Goal | None = None,
) -> Solved:
    """The answer of `ostler.planning.cpsat.solve.solve`, or status `unknown` with the reason why there is none."""
    request = Request(
        instance=instance,
        seconds=seconds,
        hint=hint,
        bound_ms=bound_ms,
        workers=workers,
        seed=seed,
        goal=goal or Goal(),
    )
    return await ask(request)


async def ask(request: Request, *, command: Sequence[str] = COMMAND, grace_s: float = GRACE_S) -> Solved:
    """Send one request to a process of its own and wait for the answer."""
    line = msgspec.json.encode(request) + b"\n"
    try:
        output = await answer_of(command, line, seconds=request.seconds + grace_s, what="solver")
    except ChildError as error:
        return _none(str(error))
    return _read(output)


def _read(output: bytes) -> Solved:
    try:
        answer = msgspec.json.decode(output, type=Answer)
    except msgspec.DecodeError:
        return _none("the solver's answer cannot be read")
    return answer.solved or _none(answer.reason)


def _none(reason: str) -> Solved:
    return Solved(status=Status.UNKNOWN, reason=reason)
