"""The task's own checks: commands that prove the work, run on the same worker right after it.

A check that fails, or that cannot be run, never counts as passed. The commands are judged by the rules before the work
starts, so that nobody pays for work whose check is not allowed. A check finds what the work put out in the file named
by `OSTLER_OUTPUT`.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from ostler.domain.states import FailureClass, Outcome
from ostler.domain.work import Finished
from ostler.workers.commands import CommandHost
from ostler.workers.processes import StartError
from ostler.workers.rules import Launch
from ostler.workers.run import Run

OUTPUT_ENV = "OSTLER_OUTPUT"


class Verifier:
    """Runs the checks of a task."""

    def __init__(self, host: CommandHost) -> None:
        self._host = host

    def prepare(self, run: Run, cwd: str | None = None) -> tuple[Launch, ...]:
        """The checks, allowed; `cwd`: where they run instead of where the task says. Raises `NotAllowedError`."""
        spec = run.spec if cwd is None else replace(run.spec, cwd=cwd)
        return tuple(self._host.allow(argv, spec, run.tags) for argv in run.spec.verify)

    async def verify(self, checks: Sequence[Launch], run: Run, work: Finished) -> Finished:
        """Put good work to the proof: `work` as verified, or as failed by the first check that did not pass."""
        with tempfile.TemporaryDirectory(prefix="ostler-") as folder:
            output = Path(run.folder or folder, "output")
            _write(output, work.output)
            for number, check in enumerate(checks, 1):
                if run.stop.is_asked:
                    return run.stopped(partial=work)
                said = f"check {number} of {len(checks)}"
                failed = await self._check(_with_output(check, output), f"check-{number}", said, run, work)
                if failed is not None:
                    return failed
        return replace(work, outcome=Outcome.VERIFIED)

    async def _check(self, check: Launch, step: str, name: str, run: Run, work: Finished) -> Finished | None:
        try:
            execution = await self._host.execute(check, run, step)
        except StartError as error:
            return run.failed(error.kind, f"{name} could not be run: {error.message}", partial=work)
        if execution.is_good:
            return None
        shown = replace(
            work,
            output=f"{work.output}\n--- {name}: {' '.join(check.argv)} ---\n{execution.output}",
            output_bytes=work.output_bytes + execution.output_bytes,
            exit_code=execution.exit_code,
        )
        if execution.was_stopped:
            return run.stopped(partial=shown)
        return run.failed(FailureClass.VERIFICATION, f"{name} failed: {execution.reason}", partial=shown)


def _write(path: Path, text: str) -> None:
    if path.exists():  # a check that was begun under another daemon may be reading it
        return
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _with_output(check: Launch, output: Path) -> Launch:
    return replace(check, env={**check.env, OUTPUT_ENV: str(output)})
