"""How long until the task of a killed worker runs again: SIGKILL in the middle of it, a second worker idle, defaults.

Each side of this has two workers as processes of their own and one job that writes a line when it begins and then takes
a minute. The clock runs from the kill to the second line. A side whose job does not come back within the patience is
said to be that; nothing is done by hand to help it.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.hop.machine import Program, StartError
from bench.lives.peering import Peer
from bench.lives.site import Site, hub
from ostler.domain.tasks import TaskKind, TaskSpec

START_S = 60.0
LOOK_S = 0.01

StartWorker = Callable[[str], Program]


def again_s(start: StartWorker, put: Callable[[], object], lines: Path, patience_s: float) -> float | None:
    """Seconds from the kill to the second run; `None`: not within the patience. Raises `StartError`."""
    first = start("first")
    programs = [first]
    try:
        put()
        if not _within(lambda: _count(lines) >= 1, START_S):
            first.alive()
            raise StartError(f"the job was not begun:\n{first.log.read_text(errors='replace')[-2_000:]}")
        programs.append(start("second"))
        _ = _within(lambda: False, 2.0)  # it connects, and finds nothing
        killed = time.perf_counter()
        first.process.kill()
        came = _within(lambda: _count(lines) >= 2, patience_s)
        return time.perf_counter() - killed if came else None
    finally:
        for program in programs:
            program.process.kill()
            program.process.wait()


def _within(done: Callable[[], bool], patience_s: float) -> bool:
    until = time.perf_counter() + patience_s
    while not done():
        if time.perf_counter() > until:
            return False
        time.sleep(LOOK_S)
    return True


def _count(lines: Path) -> int:
    return len(lines.read_bytes().splitlines()) if lines.exists() else 0


def of_peer(peer: Peer, url: str, patience_s: float) -> float | None:
    """A peer with its defaults, on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="recovery-") as name:
        folder = Path(name)
        lines = folder / "lines"
        peer.run("install", url)
        return again_s(
            lambda _: Program(peer.command("work", url, str(lines)), folder),
            lambda: peer.run("put", url),
            lines,
            patience_s,
        )


def of_ostler(patience_s: float, database: str = "", *, keeps: bool) -> float | None:
    """A hub and two `ostler worker` that may run `sh`, else defaults. The job is a process. `keeps`: it may outlive its
    worker for `adopt_within`, and is ended then, because nobody takes it up; else it dies with it.
    """
    with tempfile.TemporaryDirectory(prefix="recovery-") as name, hub(Path(name) / "hub", database) as site:
        lines = Path(name) / "lines"
        script = f"echo run >> {lines}; sleep 60"
        spec = TaskSpec(id="slow", kind=TaskKind.COMMAND, argv=("sh", "-c", script), prompt="take a minute")
        with _token_file(site) as token:
            return again_s(
                lambda worker: _worker(site, token, worker, keeps=keeps),
                lambda: site.client.submit([spec]),
                lines,
                patience_s,
            )


def _worker(site: Site, token: Path, name: str, *, keeps: bool) -> Program:
    own = site.folder / name
    own.mkdir()
    command = [sys.executable, "-m", "ostler.cli.main", "worker", "--hub", site.url, "--token-file", str(token)]
    kept = "" if keeps else ", adopt_within: 0s"
    (own / "ostler.yaml").write_text(f"worker: {{allow: [command], commands: [sh]{kept}}}\n", encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "HOME": str(own)}
    return Program(
        [
            *command,
            "--profile",
            str(own / "ostler.yaml"),
            "--name",
            name,
            "--slots",
            "command=1",
            "--log-level",
            "warning",
        ],
        own,
        env,
    )


@contextlib.contextmanager
def _token_file(site: Site) -> Iterator[Path]:
    path = site.folder / "token"
    path.write_text(site.token, encoding="utf-8")
    path.chmod(0o600)
    yield path
