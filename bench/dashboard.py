"""The dashboard with 10,000 tasks and 50 hosts: what a page costs the hub, what an open one costs it, the first paint.

    python bench/dashboard.py [--tasks 10000] [--hosts 50] [--seconds 10]

A hub as a process over SQLite; its 50 hosts are one simulated machine under 50 names. Most tasks wait, some run, and
while the cost of open pages is measured a task ends and another starts about twice a second. CPU is that of the hub's
process. The first paint is Chromium's own (`first-contentful-paint`), where one is installed.
"""

import argparse
import asyncio
import contextlib
import http.client
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.tasks import TaskSpec

PAGES = ("/", "/tasks", "/tasks?q=parser", "/fleet", "/money", "/learning", "/pipelines", "/tasks/t1")
REPEATS = 7
RUNNING = 40
MACHINE = """\
name: stable
memory_gib: 64
reserve_gib: 2
models:
  - {name: "mare:3b", weights_gib: 3, load_s: 1, unload_s: 1}
  - {name: "stallion:30b", weights_gib: 20, load_s: 1, unload_s: 1}
"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@contextmanager
def relays(url: str, count: int) -> Iterator[list[str]]:
    """So many addresses at which the same machine answers, each passing on what comes."""
    loop, urls = asyncio.new_event_loop(), list[str]()
    target = urlsplit(url)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65_536):
                sink.write(piece)
                await sink.drain()
        sink.close()

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async def start() -> None:
        for _ in range(count):
            server = await asyncio.start_server(passed_on, "127.0.0.1", 0)
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield urls
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def profile(urls: list[str]) -> str:
    """So many hosts, each with an endpoint; all of them are the same machine."""
    names = [f"host-{number:02}" for number in range(len(urls))]
    endpoints = "".join(
        f"  - {{name: {name}, provider: ollama, url: '{url}', host: {name}, slots: 2}}\n"
        for name, url in zip(names, urls, strict=True)
    )
    memory = "".join(f"  {name}: {{memory: 64GiB, reserve: 2GiB}}\n" for name in names)
    return (
        'routing:\n  tiers:\n    direct: {}\n    standard: {models: ["mare:3b"]}\n'
        '    large: {models: ["stallion:30b"]}\n'
        f"endpoints:\n{endpoints}hosts:\n{memory}"
        'models:\n  "mare:3b": {memory: 4GiB}\n  "stallion:30b": {memory: 22GiB}\n'
        f'worker: {{allow: [command], commands: ["*"], slots: {{command: {RUNNING}}}}}\nhub: {{port: 0}}\n'
    )


@contextmanager
def program(folder: Path, *arguments: str, ready: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An `ostler` process and the address that it tells."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ostler.cli.main", *arguments], cwd=folder, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 30
        while (found := re.search(ready, log.read_text(encoding="utf-8"))) is None:
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield process, found[1]
    finally:
        process.terminate()
        process.wait(20)


def hand_in(client: HubClient, count: int) -> None:
    """Tasks of several kinds: most wait for a worker that nobody is, some for others, some run."""
    specs = [
        TaskSpec(
            id=f"t{number}",
            title=f"Task {number} of the {('parser', 'ledger', 'planner')[number % 3]}",
            prompt="Name a horse.",
            requires=frozenset({f"nobody-{number % 12}"}),
            needs=(f"t{number - 1}",) if number % 10 == 9 else (),
            batch=f"run-{number // 200}",
        )
        for number in range(1, count + 1)
    ]
    for start in range(0, count, 1_000):
        client.submit(specs[start : start + 1_000])
    client.submit([_command(f"running-{number}", 3600) for number in range(RUNNING - 2)])


def _command(name: str, seconds: float) -> TaskSpec:
    return msgspec.convert({"id": name, "kind": "command", "argv": ["sleep", str(seconds)]}, TaskSpec)


def answer_ms(url: str, path: str) -> tuple[float, int]:
    """Milliseconds until a page is there whole, and its size in bytes. What the hub keeps for a second is let go."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    took = (time.perf_counter() - began) * 1000
    connection.close()
    assert answer.status == 200, path
    return took, len(text)


def pages(url: str) -> None:
    """What each page takes."""
    print(f"{'page':<18}{'median ms':>10}{'worst ms':>10}{'kB':>8}")
    for path in PAGES:
        answer_ms(url, path)
        found = []
        for _ in range(REPEATS):
            time.sleep(1.0)
            found.append(answer_ms(url, path))
        took = [ms for ms, _ in found]
        print(f"{path:<18}{statistics.median(took):>10.1f}{max(took):>10.1f}{found[0][1] / 1000:>8.1f}")


def open_pages(url: str, count: int, stop: threading.Event) -> list[threading.Thread]:
    """So many browsers that have the start page open, as far as the hub can tell."""

    def listen() -> None:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        connection.request("GET", "/live?page=/&known=")
        answer = connection.getresponse()
        while not stop.is_set():
            with contextlib.suppress(OSError):  # nothing came in time: the page is as it was
                answer.read1(65_536)
        connection.close()

    threads = [threading.Thread(target=listen, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def updates(client: HubClient, process: psutil.Process, url: str, seconds: float) -> None:
    """CPU of the hub while tasks come and go, with no page open, with one, and with twenty."""
    print(f"\n{'open pages':<18}{'hub CPU %':>10}")
    number = 0
    for count in (0, 1, 20):
        stop = threading.Event()
        threads = open_pages(url, count, stop)
        time.sleep(2)
        before, began = process.cpu_times(), time.monotonic()
        while time.monotonic() - began < seconds:
            number += 1
            client.submit([_command(f"short-{count}-{number}", 0.2)])
            time.sleep(0.5)
        after, took = process.cpu_times(), time.monotonic() - began
        used = after.user + after.system - before.user - before.system
        stop.set()
        for thread in threads:
            thread.join(5)
        print(f"{count:<18}{100 * used / took:>10.1f}")


def first_paint(url: str) -> None:
    """Chromium's own figures for the start page, the list and the fleet."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("\nfirst paint: no Chromium is installed")
        return
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    script = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        print(f"\n{'first paint':<18}{'median ms':>10}")
        for path in ("/", "/tasks", "/fleet"):
            found = []
            for _ in range(REPEATS):
                page = browser.new_page()
                page.goto(url + path)
                page.wait_for_selector("[data-pulse=live]", state="attached")
                found.append(page.evaluate(script))
                page.close()
            print(f"{path:<18}{statistics.median(found):>10.0f}")
        browser.close()


def memory_mb(process: psutil.Process) -> float:
    """Resident memory of the hub."""
    return float(process.memory_info().rss) / 1e6


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description="What the dashboard costs with many tasks and hosts.")
    cli.add_argument("--tasks", type=int, default=10_000)
    cli.add_argument("--hosts", type=int, default=50)
    cli.add_argument("--seconds", type=float, default=10.0)
    told = cli.parse_args()
    with tempfile.TemporaryDirectory(prefix="ostler-dashboard-") as name:
        folder = Path(name)
        (folder / "machine.yaml").write_text(MACHINE, encoding="utf-8")
        simulate = ("simulate-host", "--spec", "machine.yaml", "--port", "0", "--speed", "100")
        with program(folder, *simulate, ready=r"(http://[\d.:]+)") as (_, machine), relays(machine, told.hosts) as urls:
            (folder / "ostler.yaml").write_text(profile(urls), encoding="utf-8")
            with program(folder, "up", "--data-dir", "data", ready=r"hub at (http://\S+)") as (hub, url):
                process = psutil.Process(hub.pid)
                client = HubClient(Transport(url, timeout_s=60))
                hand_in(client, told.tasks)
                until = time.monotonic() + 30
                while client.status().endpoints_up < told.hosts and time.monotonic() < until:
                    time.sleep(0.2)
                before = memory_mb(process)
                status = client.status()
                print(f"{sum(status.counts.values()):,} tasks, {status.endpoints_up} hosts up, hub {before:.0f} MB")
                pages(url)
                print(f"\nmemory after every page: {memory_mb(process) - before:+.1f} MB")
                updates(client, process, url, told.seconds)
                first_paint(url)


if __name__ == "__main__":
    main()
