"""One line to a process of its own, all of its output back, within a time. It is gone before the answer is given.

Standard input stays open until the answer is there: a child of ours leaves at once when it ends, so that it never
outlives who started it, also when that is killed.
"""

import asyncio
import contextlib
from collections.abc import Sequence

ERROR_CHARACTERS = 300
LEAVING_S = 2.0
"""What has closed its pipes is leaving. Killing it then would replace its own exit code."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024


class ChildError(Exception):
    """The process did not start, did not end in time, or said nothing; the message is for people."""


async def answer_of(command: Sequence[str], line: bytes, *, seconds: float, what: str) -> bytes:
    """What the process wrote. `what` names it in messages. Raises `ChildError`. A cancelled wait kills the process."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES_MAX,
        )
    except OSError as error:
        raise ChildError(f"the {what} did not start: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(seconds):
            output, errors = await _exchange(process, line)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_S):
                await process.wait()
    except TimeoutError:
        raise ChildError(f"the {what} did not end within {seconds:g} s and was killed") from None
    finally:
        await _gone(process)
    if output.strip():
        return output
    lines = errors.decode(errors="replace").strip().splitlines()
    said = f": {lines[-1][:ERROR_CHARACTERS]}" if lines else ""
    raise ChildError(f"the {what} ended with code {process.returncode} and no answer{said}")


async def _exchange(process: asyncio.subprocess.Process, line: bytes) -> tuple[bytes, bytes]:
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
