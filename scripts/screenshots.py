"""Take the pictures of the dashboard that the README and the documentation show, from a simulated day.

usage: .venv/bin/python scripts/screenshots.py [FOLDER] [--every] [--chromium PATH]

The machines, the cloud, its prices and the thirteen days before are simulated; hub, workers, decisions and pages are
real. The day is that of `ostler demo`: two machines, one of which dies half-way. It takes about a minute.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from ostler.client.hub_client import HubClient
from ostler.demo.fleet import Fleet
from ostler.demo.live import SilentView
from ostler.demo.play import Play
from ostler.demo.simulated import SimulatedSite
from ostler.demo.workload import load_workload
from ostler.domain.commands import Command, Settle
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.observations import Observation
from ostler.domain.states import Outcome, TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.store.ledger_file import LedgerFile

SPEED = 12.0
DAY_MS = 86_400_000
BUSY = 3
"""So many tasks run at once when the first picture is taken."""
DESKTOP, PHONE = (1280, 860), (390, 844)
MORE_PROFILE = """
budget:
  monthly_hard_cap: 60.00
  limits:
    all-day: {window: day, soft: 0.02, hard: 0.20}
    anthropic-month: {scope: provider, only: sim-anthropic, window: month, hard: 30.00}
learning: {history: posterior}
"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RATES: Mapping[tuple[str, str, str], float] = {
    ("coding", "qwen2.5-coder:32b-instruct", "local_strong"): 0.9,
    ("coding", "llama3.2:3b", "local_small"): 0.35,
    ("coding", "claude-simulated-sonnet", "cloud_strong"): 0.97,
    ("summarization", "llama3.2:3b", "local_small"): 0.95,
    ("summarization", "gpt-simulated-mini", "cloud_small"): 0.93,
    ("planning", "qwen2.5-coder:32b-instruct-128k", "local_strong"): 0.8,
    ("planning", "claude-simulated-sonnet", "cloud_strong"): 0.92,
}


class DaySite(SimulatedSite):
    """The machines of the demo with limits and learning beside them."""

    def profile(self, urls: Mapping[str, str], log: Mapping[str, str]) -> str:
        """The profile of the demo and more."""
        return super().profile(urls, log) + MORE_PROFILE


def past_days(folder: Path, now_ms: int) -> None:
    """Thirteen simulated days of spending, written before the hub starts."""
    chance = random.Random(7)  # noqa: S311 -- a day that can be repeated
    places = [
        ("sim-anthropic", "claude-simulated-sonnet", "cloud_strong", 900_000),
        ("sim-openai", "gpt-simulated-mini", "cloud_small", 220_000),
        ("sim-openai", "deepseek-simulated", "cloud_strong", 120_000),
    ]
    commands: list[Command] = []
    for day in range(13, 0, -1):
        for number, (provider, model, tier, mean) in enumerate(places):
            for strayed in (False, True):
                part = 0.25 if strayed else 1.0
                cost = int(mean * part * chance.uniform(0.4, 1.7) * (0.4 if day % 7 in {1, 2} else 1))
                scopes = Scopes(provider=provider, model=model, tier=tier)
                amount = Amount(micro_usd=cost, input_tokens=cost // 4, output_tokens=cost // 12, requests=24)
                name = f"simulated-{day}-{number}-{strayed}"
                asked = "local_strong" if strayed else tier
                commands.append(
                    Settle(
                        attempt=name, at_ms=now_ms - day * DAY_MS, amount=amount, basis=Basis.PRICED, scopes=scopes,
                        asked_tier=asked,
                    )
                )  # fmt: skip
    LedgerFile(folder / "hub" / "ostler.db").apply(commands)


def outcomes(now_ms: int) -> list[Observation]:
    """Simulated outcomes of the weeks before."""
    chance = random.Random(11)  # noqa: S311 -- likewise
    return [
        Observation(
            id=f"simulated-{kind}-{model}-{number}",
            at_ms=now_ms - chance.randrange(1, 20 * 86_400) * 1000,
            task_type=kind,
            model=model,
            tier=tier,
            success=chance.random() < rate,
            proof=Outcome.VERIFIED,
            duration_ms=int(chance.uniform(4, 40) * 1000),
        )
        for (kind, model, tier), rate in RATES.items()
        for number in range(chance.randrange(14, 46))
    ]


@contextmanager
def simulated_day() -> Iterator[HubClient]:
    """A hub in the middle of its day; stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ostler-day-")).resolve()
    now_ms = time.time_ns() // 1_000_000
    fleet = Fleet(DaySite(SPEED, folder / "work"), folder, uuid.uuid4().hex, speed=SPEED)
    try:
        past_days(folder, now_ms)
        fleet.start()
        fleet.client.add_outcomes(outcomes(now_ms))
        play = Play(fleet, load_workload(), SilentView(), speed=SPEED)
        threading.Thread(target=play.run, daemon=True).start()
        asks = TaskSpec(
            id="release-notes",
            kind=TaskKind.COMMAND,
            title="Publish the release notes",
            argv=("python", "-c", "raise SystemExit(3)"),
            max_attempts=1,
        )
        fleet.client.submit([asks])
        yield fleet.client
    finally:
        fleet.processes.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


class Camera:
    """Takes pictures of pages into a folder."""

    def __init__(self, browser: Browser, base: str, folder: Path) -> None:
        self._browser = browser
        self._base = base
        self._folder = folder

    def take(
        self, name: str, path: str, *, dark: bool = False, phone: bool = False, ready: str = "main", press: str = ""
    ) -> None:
        """One picture; `ready`: what must be there before; `press`: what is pressed first."""
        with self._open(dark=dark, phone=phone) as page:
            page.goto(self._base + path)
            page.wait_for_selector(ready)
            if page.locator("body[data-live-page]").count():
                page.wait_for_selector("[data-pulse=live]", state="attached")
            if press:
                page.locator(press).first.click()
            page.wait_for_timeout(300)
            page.screenshot(path=str(self._folder / f"{name}.png"), full_page=False)
            print(f"{self._folder / name}.png")

    @contextmanager
    def _open(self, *, dark: bool, phone: bool) -> Iterator[Page]:
        width, height = PHONE if phone else DESKTOP
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            device_scale_factor=2 if phone else 1,
        )
        try:
            yield context.new_page()
        finally:
            context.close()


def wait_for(client: HubClient, what: str, within_s: float = 60.0) -> Task | None:
    """Until some task has fallen back, or something runs and something waits; `None` when it never happened."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        tasks = client.tasks(limit=200).tasks
        states = {task.state for task in tasks}
        running = sum(task.state is TaskState.RUNNING for task in tasks)
        if what == "busy" and running >= BUSY and {TaskState.QUEUED, TaskState.SUCCEEDED} <= states:
            return tasks[0]
        if what == "fallback":
            fallen = [task for task in tasks if task.fallback_used and task.finished_ms is not None]
            if fallen:
                return fallen[0]
        if what == "over" and not states & {TaskState.RUNNING, TaskState.QUEUED, TaskState.ASSIGNED}:
            return tasks[0]
        time.sleep(0.2)
    return None


def take_the_others(camera: Camera, fallen: Task | None) -> None:
    """Those that no page shows, for whoever changes the looks."""
    for name in ("", "tasks", "fleet", "money", "learning", "pipelines", "calls", "new"):
        for dark, phone in ((False, False), (True, False), (False, True)):
            end = ("-dark" if dark else "") + ("-phone" if phone else "")
            camera.take(f"every-{name or 'home'}{end}", f"/{name}", dark=dark, phone=phone)
    if fallen is not None:
        camera.take("every-task-phone", f"/tasks/{fallen.id}", phone=True)


def main() -> int:
    """Take them all."""
    cli = argparse.ArgumentParser(description="Take the pictures of the dashboard from a simulated day.")
    cli.add_argument("folder", nargs="?", default="docs/pictures")
    cli.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    cli.add_argument("--every", action="store_true", help="Take those that no page shows, too.")
    told = cli.parse_args()
    folder = Path(told.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, simulated_day() as client:
        browser = playwright.chromium.launch(executable_path=told.chromium, args=FLAGS)
        camera = Camera(browser, client.url, folder)
        wait_for(client, "busy")
        camera.take("home", "/")
        camera.take("home-phone", "/", phone=True)
        fallen = wait_for(client, "fallback")
        if fallen is not None:
            camera.take("task", f"/tasks/{fallen.id}", press="details.route > summary")
        wait_for(client, "over", 90)
        camera.take("money-dark", "/money", dark=True)
        camera.take("pipeline", "/pipelines/agents")
        if told.every:
            take_the_others(camera, fallen)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
