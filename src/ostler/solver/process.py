"""Ask the solver's process and wait for it, at most as long as it was given and a grace. Nothing it does raises here.

A process that is over its time is killed, also when whoever waits is cancelled; it is gone before the answer is given.
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence

import msgspec

from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.solver.messages import Answer, Request

GRACE_S = 15.0
"""Beyond the solver's own limit: to start, to build the model and to notice that the time is over."""
COMMAND = (sys.executable, "-m", "ostler.solver")
ERROR_CHARACTERS = 300
ANSWER_BYTES_MAX = 64 * 1024 * 1024


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
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES_MAX,
        )
    except OSError as error:
        return _none(f"the solver did not start: {error.strerror or error}")
    try:
        async with asyncio.timeout(request.seconds + grace_s):
            output, errors = await _exchange(process, msgspec.json.encode(request) + b"\n")
    except TimeoutError:
        return _none(f"the solver did not end within {request.seconds + grace_s:g} s and was killed")
    finally:
        await _gone(process)
    return _read(output, errors, process.returncode)


async def _exchange(process: asyncio.subprocess.Process, line: bytes) -> tuple[bytes, bytes]:
    """Write the request and read both streams to their end. Standard input stays open: its end ends the solver."""
    assert process.stdin is not None  # noqa: S101 (pipes were asked for)
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    errors = asyncio.ensure_future(process.stderr.read())
    try:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(line)
            await process.stdin.drain()
        return await process.stdout.read(), await errors
    finally:
        errors.cancel()


async def _gone(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


def _read(output: bytes, errors: bytes, code: int | None) -> Solved:
    try:
        answer = msgspec.json.decode(output, type=Answer)
    except msgspec.DecodeError:
        lines = errors.decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:ERROR_CHARACTERS]}" if lines else ""
        return _none(f"the solver ended with code {code} and no answer{said}")
    return answer.solved or _none(answer.reason)


def _none(reason: str) -> Solved:
    return Solved(status=Status.UNKNOWN, reason=reason)
