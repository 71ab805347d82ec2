"""The stage of the demo: its folder, its view, its signals, and the way out, whatever happens."""

import contextlib
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console

from ostler.demo import Options
from ostler.demo.fleet import Fleet
from ostler.demo.live import LiveView, PlainView, SilentView, View
from ostler.demo.machines import Site
from ostler.demo.play import Play
from ostler.demo.report import DemoReport, build_report
from ostler.demo.show import WIDTH, print_report
from ostler.demo.simulated import SimulatedSite
from ostler.demo.workload import Workload, load_workload
from ostler.domain.errors import ExitCode, InvalidInputError, OstlerError


def perform(options: Options, workload: Workload | None = None, *, with_outage: bool = True) -> int:
    """Run the demo with its own workload, or another one; the exit code. See `ostler.demo.run`.

    With its own it ends with a real agent, where one is installed.
    """
    with_agent = workload is None
    work = workload or load_workload(options.seed)
    folder = _fresh_folder(options.data_dir)
    keep = options.data_dir is not None
    try:
        with _interruptible():
            report = _play(options, work, folder, with_outage=with_outage, with_agent=with_agent)
        keep = keep or not report.ok
        if options.as_json:
            print(msgspec.json.encode(report).decode())
        else:
            print_report(report, _console(), str(folder) if keep else None)
        return ExitCode.OK if report.ok else ExitCode.FAILED
    except OstlerError:
        # Once something has run, its log says more than the error.
        keep = keep or any(folder.glob("logs/*.log"))
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _play(options: Options, work: Workload, folder: Path, *, with_outage: bool, with_agent: bool) -> DemoReport:
    site = _site(options, folder)
    speed = options.speed
    with _view(options, site) as view:
        fleet = Fleet(site, folder, uuid.uuid4().hex, speed=speed, port=options.port)
        with _stopped_at_the_end(fleet, view) as left:
            view.say(site.preparation)
            fleet.start()
            view.say(f"from another terminal: ostler status --hub {fleet.client.url}")
            # A model that calls tools stands behind the simulated cloud alone.
            own = with_agent and site.simulated
            play = Play(fleet, work, view, speed=speed, with_outage=with_outage, with_agent=own)
            play.run()
            evidence = play.evidence()
    return build_report(msgspec.structs.replace(evidence, left_running=tuple(left)))


def _site(options: Options, folder: Path) -> Site:
    if options.engine == "llama":
        from ostler.demo.llama import LlamaSite  # noqa: PLC0415 -- asks for what only this mode needs

        return LlamaSite(folder, options.speed)
    return SimulatedSite(options.speed, folder / "work")


def _fresh_folder(told: str | None) -> Path:
    """An empty folder: a temporary one, or the one told. Raises `InvalidInputError` when that one holds something."""
    if told is None:
        return Path(tempfile.mkdtemp(prefix="ostler-demo-")).resolve()
    folder = Path(told).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        what = f"cannot be used: {error.strerror or error}"
        raise InvalidInputError(what, where=f"--data-dir {told}", remedy="name a folder that can be made") from None
    if not is_empty:
        remedy = "name a new folder: the demo starts from nothing"
        raise InvalidInputError("the folder is not empty", where=f"--data-dir {told}", remedy=remedy)
    return folder


def _console() -> Console:
    """Where the report goes: as wide as the terminal, or wide enough for a file."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


@contextlib.contextmanager
def _view(options: Options, site: Site) -> Iterator[View]:
    if options.as_json:
        view: View = SilentView()
    else:
        title = f"Ostler demo: {site.title}, a simulated cloud, {options.speed:g}x"
        view = LiveView(_console(), title) if sys.stdout.isatty() else PlainView(_console(), title)
    try:
        yield view
    finally:
        with contextlib.suppress(OSError):
            view.close()


@contextlib.contextmanager
def _stopped_at_the_end(fleet: Fleet, view: View) -> Iterator[list[str]]:
    """Stop every process on the way out; the list is then filled with what was left and had to be killed.

    A second Ctrl-C must not leave half of them, and need not: stopping is bounded.
    """
    left: list[str] = []
    try:
        yield left
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with contextlib.suppress(OSError):  # the terminal may be gone, and with it the reason to say anything
                view.say("stopping everything ...")
            fleet.processes.stop_all()
            left += fleet.processes.left()
        finally:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Take a polite kill and a closed terminal for Ctrl-C, so that all leave by the same way."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # What whoever started us ignores (nohup does), stays ignored.
    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
