"""Real hubs and workers as processes, as a user starts them, and the typed client against them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport

QUICK_PROFILE = """\
routing:
  tiers:
    standard:
      provider: ollama
      models: [llama3.2:3b]
scheduler:
  heartbeat: 500ms
  session_dead: 1500ms
  retry_base: 100ms
worker:
  allow: [command, chat]
  commands: ["*"]
  slots: {command: 4}
hub:
  port: 0
"""


def until(condition: Callable[[], bool], what: str | Callable[[], str], limit_s: float = 20.0) -> None:
    """Wait for a condition, bounded; fails with what was waited for, which may be told as it is then."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"never happened: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)


class Process:
    """An `ostler` process in a folder of its own. Its output is kept for the message of a failed test."""

    def __init__(
        self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [*prefix, sys.executable, "-m", "ostler.cli.main", *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})},
            )

    def kill(self) -> None:
        """As the power goes out."""
        self.popen.kill()
        self.popen.wait(10)

    def stop(self) -> int:
        """As a person does."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.kill()


class HubProcess(Process):
    """A hub over a data folder; several may follow each other over the same one."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        profile: str = QUICK_PROFILE,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.data = folder / "data"
        (folder / "ostler.yaml").write_text(profile, encoding="utf-8")
        (self.data / "hub.json").unlink(missing_ok=True)
        super().__init__(folder, "up", "--data-dir", str(self.data), *arguments, env=env, prefix=prefix)
        try:
            until(self._answers, "the hub answers", 20)
        except AssertionError:
            self.kill()
            raise
        self.client = HubClient(Transport(self.url))

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "hub.json").read_text(encoding="utf-8"))["url"])

    def _answers(self) -> bool:
        assert self.popen.poll() is None, self.log.read_text(encoding="utf-8")
        return (self.data / "hub.json").exists()
