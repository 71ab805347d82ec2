"""Runs a task's own command: an argument vector, never a shell."""

from msgspec.structs import replace

from ostler.domain.states import FailureClass
from ostler.domain.work import Finished
from ostler.workers.commands import CommandHost
from ostler.workers.processes import StartError
from ostler.workers.results import result_files
from ostler.workers.run import Run


class CommandRunner:
    """The runner of kind `command`."""

    def __init__(self, host: CommandHost) -> None:
        self._host = host

    async def run(self, run: Run) -> Finished:
        """Run `spec.argv`. Exit code 0 is success; the output is both streams in the order in which they came.

        Results of needed tasks are there as files (see `workers.results`). Raises `NotAllowedError`.
        """
        launch = self._host.allow(run.spec.argv, run.spec, run.tags)
        if run.stop.is_asked:
            return run.stopped()
        try:
            place = run.folder / "results" if run.folder is not None else None
            with result_files(run.assignment.results, place) as env:
                execution = await self._host.execute(replace(launch, env={**launch.env, **env, **run.trace_env}), run)
        except StartError as error:
            return run.failed(error.kind, error.message)
        ended = run.succeeded(
            output=execution.output, output_bytes=execution.output_bytes, exit_code=execution.exit_code
        )
        if execution.was_stopped:
            return run.stopped(partial=ended)
        if not execution.is_good:
            return run.failed(FailureClass.COMMAND, execution.reason, partial=ended)
        return ended
