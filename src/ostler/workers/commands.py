"""Runs allowed commands for an attempt, with their output in bounded memory. Used for the work and for its checks."""

import signal
from collections.abc import Iterable, Mapping

import msgspec

from ostler.domain.tasks import TaskSpec
from ostler.workers.capture import DEFAULT_LIMIT_BYTES, Capture
from ostler.workers.guard import ProcessGuard
from ostler.workers.processes import ProcessGroup
from ostler.workers.rules import Launch, WorkerRules
from ostler.workers.run import TAIL_CHARACTERS, Run
from ostler.workers.supervisor import BY_DUE

DEFAULT_GRACE_S = 5.0
_LAST_LINE_CHARACTERS = 200


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """How a started command ended. `code` is as the system says it: negative for a signal, `None` if it never died."""

    program: str
    code: int | None
    was_stopped: bool
    output: str
    output_bytes: int

    @property
    def is_good(self) -> bool:
        """Whether it ended by itself and says that all is well."""
        return self.code == 0 and not self.was_stopped

    @property
    def exit_code(self) -> int | None:
        """Exit code in the manner of a shell: 128 + number for a signal."""
        return 128 - self.code if self.code is not None and self.code < 0 else self.code

    @property
    def reason(self) -> str:
        """One line that tells failures apart: how it ended, and its last word."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        last = f": {lines[-1][:_LAST_LINE_CHARACTERS]}" if lines else ""
        return f"{self.program} {_ending(self.code)}{last}"


class CommandHost:
    """Starts commands under the worker's rules, and sees each to its end.

    `environ` is the worker's own environment, of which the rules let a part through.
    """

    def __init__(
        self,
        rules: WorkerRules,
        guard: ProcessGuard,
        *,
        environ: Mapping[str, str],
        grace_s: float = DEFAULT_GRACE_S,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self._rules = rules
        self._guard = guard
        self._environ = environ
        self._grace_s = grace_s
        self._limit_bytes = limit_bytes

    def allow(self, argv: Iterable[str], spec: TaskSpec, tags: Mapping[str, str]) -> Launch:
        """What to start for `argv`. Raises `NotAllowedError`."""
        return self._rules.launch(argv, spec, environ=self._environ, tags=tags)

    async def execute(self, launch: Launch, run: Run, name: str = "work") -> Execution:
        """Run it to its end or until the attempt is asked to stop; `name`: which of the attempt's commands it is.

        Raises `StartError`.
        """
        capture = Capture(self._limit_bytes)

        def on_output(piece: bytes) -> None:
            capture.feed(piece)
            run.progress(0, lambda: capture.end(TAIL_CHARACTERS))

        group = ProcessGroup(
            launch,
            tags=run.tags,
            guard=self._guard,
            on_output=on_output,
            on_skip=capture.skip,
            step=run.step(name),
        )
        try:
            code, was_stopped = await group.until_end(run.stop, self._grace_s)
        finally:
            group.close()
        return Execution(
            program=launch.argv[0],
            code=code,
            was_stopped=was_stopped or group.ended_by == BY_DUE,
            output=capture.text(),
            output_bytes=capture.total_bytes,
        )


def _ending(code: int | None) -> str:
    if code is None:
        return "could not be killed"
    if code >= 0:
        return f"exited with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
