"""A benchmark that is ended leaves nothing of what it started."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.process import until

ROOT = Path(__file__).resolve().parents[2]


def children_of(pid: int) -> list[int]:
    """Those that a process has started itself."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_soak_that_is_ended_ends_its_hub_and_its_workers() -> None:
    """SIGTERM, as from a service manager or a runner whose time is up: hub, endpoints and workers go with it."""
    command = [sys.executable, "-u", "bench/soak.py", "--minutes", "5"]
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert any("own MB" in line for line in program.stdout), "it ended before it measured"
        started = children_of(program.pid)
        assert len(started) == 3

        program.send_signal(signal.SIGTERM)

        assert program.wait(30) == 128 + signal.SIGTERM
        until(lambda: not any(is_alive(pid) for pid in started), "all of them are gone", 10)
    finally:
        program.kill()
        program.communicate()
