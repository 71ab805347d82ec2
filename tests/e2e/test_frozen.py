"""A whole machine that stands still for a while, as a laptop that sleeps: a real hub with the worker inside it."""

import signal
import time
from pathlib import Path

from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.process import HubProcess, until

FROZEN_S = 1.8
"""Longer than a worker may be silent there."""


def test_the_worker_inside_goes_on_with_its_work_after_the_machine_slept(tmp_path: Path) -> None:
    """Nobody can have given it to others meanwhile: it is neither ended nor begun anew."""
    made = tmp_path / "made"
    argv = ("sh", "-c", f"echo begun >> {made}; sleep 2.2; echo done >> {made}")
    with HubProcess(tmp_path) as hub:
        hub.client.submit([TaskSpec(id="t1", kind=TaskKind.COMMAND, argv=argv)])
        until(made.exists, "the command runs")

        hub.popen.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN_S)
        hub.popen.send_signal(signal.SIGCONT)

        until(lambda: hub.client.task("t1").task.state is TaskState.SUCCEEDED, "it is done")
        (attempt,) = hub.client.task("t1").attempts
        assert attempt.ok
        assert made.read_text() == "begun\ndone\n"
        (worker,) = hub.client.workers().workers
        assert worker.lost_ms is None
