"""A real hub with two simulated machines and a simulated cloud, and a real Chromium that looks at it.

The machines are processes of their own that keep time as an Ollama would, a hundred times as fast. Nothing leaves this
computer.
"""

import json
import os
import re
import shutil
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ostler.domain.tasks import TaskSpec
from tests.e2e.process import HubProcess, Process, until

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / ".venv" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
WITHOUT_BROWSER = bool(os.environ.get("WITHOUT_BROWSER"))
needs_browser = pytest.mark.skipif(WITHOUT_BROWSER, reason="WITHOUT_BROWSER is set: no real browser is opened")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000
MACHINE = """\
name: {name}
memory_gib: 32
reserve_gib: 2
models:
  - {{name: "{model}", weights_gib: 8, load_s: 20, unload_s: 10, output_tokens: {tokens}, num_ctx: 8192,
     decode_tokens_per_s: 40}}
"""
PROFILE = """\
routing:
  tiers:
    direct: {}
    small: {models: ["mare:3b"]}
    large: {models: ["stallion:70b"]}
  complexity: {trivial: direct, standard: small, complex: large}
  fallback: {wait: 500ms, direction: up}
endpoints:
  - {name: barn, provider: ollama, url: BARN, host: barn, slots: 1, models: ["mare:3b"]}
  - {name: yard, provider: ollama, url: YARD, host: yard, slots: 2, models: ["stallion:70b"]}
hosts:
  barn: {memory: 32GiB, reserve: 2GiB}
  yard: {memory: 32GiB, reserve: 2GiB}
models:
  "mare:3b": {context: 8192, memory: 9GiB, speeds: {load_s: 0.2, unload_s: 0.1}}
  "stallion:70b": {context: 8192, memory: 9GiB, speeds: {load_s: 0.2, unload_s: 0.1}}
residency: {min_residence: 10ms}
scheduler: {probe_interval: 300ms, probe_timeout: 250ms, failures_to_down: 2, retry_base: 50ms}
worker: {allow: [chat, command], commands: ["*"], slots: {command: 4}}
hub: {port: PORT}
"""


def chromium() -> str:
    """The browser of the system. Fails with what installs it."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found or not AXE.exists():
        pytest.fail("no browser: `make test` installs one (scripts/browser.sh), WITHOUT_BROWSER=1 goes without")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield running
        finally:
            running.close()


class Machine(Process):
    """A simulated machine; tells its address on its first line."""

    def __init__(self, folder: Path, name: str, model: str, tokens: int) -> None:
        spec = folder / f"{name}.yaml"
        spec.write_text(MACHINE.format(name=name, model=model, tokens=tokens), encoding="utf-8")
        super().__init__(folder, "simulate-host", "--spec", spec.name, "--port", "0", "--speed", "100")
        until(lambda: self._address() is not None, f"{name} answers")

    def _address(self) -> str | None:
        found = re.search(r"http://[\d.:]+", self.log.read_text(encoding="utf-8"))
        return found[0] if found else None

    @property
    def url(self) -> str:
        """Where it answers."""
        address = self._address()
        assert address is not None
        return address


class Stage:
    """Everything of one test module. The hub may be stopped and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.barn = Machine(folder, "barn", "mare:3b", 60)
        self.yard = Machine(folder, "yard", "stallion:70b", 1_200)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._profile = PROFILE.replace("BARN", self.barn.url).replace("YARD", self.yard.url).replace("PORT", str(port))
        self.hub = HubProcess(folder, profile=self._profile)
        self.url = self.hub.url
        self._worker_token = ""
        until(lambda: self.hub.client.status().endpoints_up == 2, "both machines are seen")

    def start(self) -> None:
        """Start the hub again."""
        self.hub = HubProcess(self._folder, profile=self._profile)

    def submit(self, task_id: str, **fields: object) -> None:
        """Hand in a task."""
        self.hub.client.submit([msgspec.convert({"id": task_id, "prompt": "Name a horse."} | fields, TaskSpec)])

    def ask_a_person(self, task_id: str, title: str, *choices: str, default: str | None = None) -> None:
        """A task that a worker could not finish without a person: the worker speaks HTTP, as any other. `choices`: what
        it asks for, of ada and within an hour; without any, its key is refused.
        """
        if not self._worker_token:
            self._worker_token = self.hub.client.make_token("scripted", "worker").token
        asked = {"owner": "ada", "answer_within_ms": 3_600_000} if choices else {}
        self.submit(task_id, title=title, kind="command", argv=["true"], prompt="", requires=["scripted"], **asked)
        offer = {"name": "scripted", "host": "far", "slots": {"command": 1}, "capabilities": ["scripted"]}
        session = self._worker("join", offer)["id"]
        (assignment,) = self._worker(f"{session}/poll", {"wait_ms": 5_000})["assignments"]
        failure: dict[str, Any] = {"kind": "auth", "message": "which one?", "at_ms": 1}
        if choices:
            failure |= {"kind": "question", "question": {"choices": choices, "default": default}}
        names = {"task_id": task_id, "generation": assignment["generation"], "at_ms": 1}
        self._worker(f"{session}/reports", [{"type": "finished", **names, "ok": False, "failure": failure}])
        self._worker(f"{session}/leave", None)

    def _worker(self, path: str, body: object) -> dict[str, Any]:
        raw = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._worker_token}"}
        if raw is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.url}/hub/workers/{path}", raw, headers, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - an address of our own
            found: dict[str, Any] = json.load(answer)
        return found

    def pause_machine(self, machine: Machine) -> None:
        """A machine that is there and answers nothing."""
        machine.popen.send_signal(signal.SIGSTOP)

    def resume_machine(self, machine: Machine) -> None:
        """It answers again."""
        machine.popen.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in (self.barn, self.yard):
            if machine.popen.poll() is None:
                self.resume_machine(machine)
            machine.kill()
        self.hub.kill()


def opened(running: Browser, url: str, *, phone: bool = False, dark: bool = False, script: bool = True) -> Page:
    """A page in a context of its own."""
    context = running.new_context(
        viewport={"width": 390, "height": 780} if phone else {"width": 1280, "height": 860},
        has_touch=phone,
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(url)
    return page


def live(page: Page) -> None:
    """Wait until the page says that it is live."""
    page.wait_for_selector("[data-pulse=live]", state="attached")
