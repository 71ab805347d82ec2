"""Peers: programs of this folder, run with the interpreter of an environment that has them (`--peers`).

They are no dependency of this project and never imported by it. What they answer is checked for its form only.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "peers"
NAMES = ("pgqueuer", "procrastinate", "dbos")
ANSWER_LIMIT_S = 120.0


class PeerError(Exception):
    """It could not be run, with what it said."""


class PeerReading(msgspec.Struct, frozen=True, kw_only=True):
    """One window. Latencies in milliseconds, sorted: from before the put until its job ran."""

    seconds: float
    ended_ms: list[float]


class Peer:
    """One peer, with its version. Raises `PeerError` where the environment does not have it."""

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        self._python = python
        self.version = self.run("version").strip()

    def command(self, *arguments: str) -> list[str]:
        """How it is called."""
        return [str(self._python), str(FOLDER / f"with_{self.name}.py"), *arguments]

    def run(self, *arguments: str) -> str:
        """Run it to its end; what it printed. Raises `PeerError`."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise PeerError(f"{self.name} {arguments[0]}: {done.stderr[-1_000:]}")
        return done.stdout


class PeerLives:
    """A peer that lives one order after the other, on a database of its own."""

    def __init__(self, peer: Peer, url: str) -> None:
        self._peer = peer
        self._process = subprocess.Popen(
            peer.command("lives", url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def live(self, count: int, in_flight: int) -> PeerReading:
        """Carry an order out. Raises `PeerError`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"count": count, "in_flight": in_flight}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self._peer.name} ended:\n{self._said()}")
        return msgspec.json.decode(line, type=PeerReading)

    def _said(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace")[-1_000:]

    def close(self) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def found(folder: Path, names: Sequence[str] = NAMES) -> tuple[list[Peer], list[str]]:
    """The peers of an environment, and what was left out, with its reason."""
    python = folder / "bin" / "python"
    there: list[Peer] = []
    missing: list[str] = []
    for name in names:
        try:
            there.append(Peer(name, python))
        except (PeerError, OSError) as error:
            missing.append(f"{name}: {str(error).strip().splitlines()[-1]}")
    return there, missing
