"""The pulse in the system's own schedulers: installed once, found again, removed without a trace."""

import os
import plistlib
import shlex
from pathlib import Path

import pytest

from ostler.app.footprint import DEFAULT_LIMIT_BYTES, Footprint, footprint, history, limit_bytes, write_history
from ostler.app.periodic import Crontab, Launchd, Schedule, System, Systemd, name_of, schedule_for, system
from ostler.app.pulsing import SETTLE_S, is_wave_over
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.states import Wait, WaitCode
from ostler.hub.pulse_views import Idle, PulseReport, PulseRun
from ostler.hub.views import WaitGroup
from tests.workers.timing_by_hand import HandTiming

PROGRAMS = {
    "crontab": 'case "$1" in -l) [ -f "$STORE" ] && cat "$STORE" || exit 1;; -) cat > "$STORE";; esac',
    "systemctl": 'echo "$@" >> "$ASKED"; exit 0',
    "launchctl": 'echo "$@" >> "$ASKED"; exit 0',
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose schedulers are played by scripts."""
    (tmp_path / "bin").mkdir()
    for name, script in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STORE", str(tmp_path / "crontab.txt"))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return tmp_path


def systems(machine: Path) -> list[System]:
    return [Crontab(), Systemd(machine / "units"), Launchd(machine / "agents")]


def made(machine: Path, every_s: int = 120, batch: str | None = None) -> Schedule:
    return schedule_for(machine / "it's 100% data", every_s, None, batch)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_pulse_is_installed_once_and_removed_whole(machine: Path, which: int) -> None:
    """Twice is once; the period is told back; nothing is left."""
    scheduler, schedule = systems(machine)[which], made(machine)
    assert not scheduler.status(schedule.name).is_there
    assert not scheduler.remove(schedule.name)
    for every_s in (120, 300):
        found = scheduler.install(made(machine, every_s))
        assert (found.is_there, found.every_s) == (True, every_s)
    assert scheduler.remove(schedule.name)

    assert not scheduler.status(schedule.name).is_there
    left = [path for path in (machine / "units", machine / "agents") if path.is_dir() and any(path.iterdir())]
    assert left == []


def test_lines_of_others_in_a_crontab_stay(machine: Path) -> None:
    """And two data folders have a pulse each."""
    store = machine / "crontab.txt"
    store.write_text("0 5 * * * backup # mine\n")
    other = schedule_for(machine / "other", 60, None, None)
    Crontab().install(made(machine))
    Crontab().install(other)
    assert len(store.read_text().splitlines()) == 3
    Crontab().remove(made(machine).name)

    assert Crontab().status(other.name).is_there
    Crontab().remove(other.name)
    assert store.read_text() == "0 5 * * * backup # mine\n"


def test_a_line_of_a_crontab_runs_exactly_these_words(machine: Path) -> None:
    """Quotes and percent signs of a folder's name come through."""
    schedule = made(machine, batch="night ly")
    Crontab().install(schedule)
    (line,) = (machine / "crontab.txt").read_text().splitlines()
    assert line.startswith("*/2 * * * * ")
    command = line.removeprefix("*/2 * * * * ").replace("\\%", "%")

    assert tuple(shlex.split(command, comments=True)[: len(schedule.argv)]) == schedule.argv


def test_a_launch_agent_is_a_property_list_with_these_words(machine: Path) -> None:
    """Read back by the library for such files."""
    schedule = made(machine)
    found = Launchd(machine / "agents").install(schedule)
    read = plistlib.loads(Path(found.where).read_bytes())

    assert tuple(read["ProgramArguments"]) == schedule.argv
    assert (read["StartInterval"], read["RunAtLoad"]) == (120, True)


def test_a_unit_doubles_what_is_a_specifier(machine: Path) -> None:
    """A folder called 100% is no specifier of systemd; no time limit ends a long wave."""
    schedule = made(machine)
    Systemd(machine / "units").install(schedule)
    (service,) = (machine / "units").glob("*.service")

    assert "100%% data" in service.read_text()
    assert "TimeoutStartSec=infinity" in service.read_text()
    assert "enable --now" in (machine / "asked").read_text()


@pytest.mark.parametrize("every_s", [0, 30, 90, 3_600])
def test_a_period_that_no_scheduler_has_is_refused(tmp_path: Path, every_s: int) -> None:
    """Whole minutes below an hour."""
    with pytest.raises(InvalidInputError):
        schedule_for(tmp_path, every_s, None, None)


def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another to choose."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OstlerError, match="there is no crontab"):
        system("crontab").install(schedule_for(tmp_path, 120, None, None))


def test_the_pulse_of_a_folder_has_one_name(tmp_path: Path) -> None:
    """Whoever asks, from wherever."""
    assert name_of(tmp_path / "a" / ".." / "b") == name_of(tmp_path / "b")
    assert name_of(tmp_path / "a") != name_of(tmp_path / "b")


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_footprint_counts_a_process_and_its_children() -> None:
    """Of this one: more than nothing; of none: nothing."""
    found = footprint(os.getpid(), 1)

    assert found is not None
    assert found.bytes > 1_000_000
    assert found.is_above
    assert footprint(2**22 + 1, 1) is None


def test_the_limit_is_told_by_flag_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In megabytes, under either name; nonsense is the usual limit."""
    for name in ("OSTLER_SELF_MEM_LIMIT", "SUPERVISOR_SELF_MEM_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    assert limit_bytes() == DEFAULT_LIMIT_BYTES == 8192 * 1024**2
    monkeypatch.setenv("SUPERVISOR_SELF_MEM_LIMIT", "100")
    assert limit_bytes() == 100 * 1024**2
    monkeypatch.setenv("OSTLER_SELF_MEM_LIMIT", "lots")
    assert limit_bytes() == DEFAULT_LIMIT_BYTES
    assert limit_bytes(3) == 3 * 1024**2


def test_the_history_survives_a_torn_line(tmp_path: Path) -> None:
    """The power went out while one was written."""
    found = Footprint(pid=7, bytes=10, children=0, limit_bytes=5)
    first = write_history(tmp_path, found, HandTiming(), batch="b", ended=3)
    with (tmp_path / "respawn-history.jsonl").open("ab") as file:
        file.write(b'{"at_ms": 1, "pi\n')
    second = write_history(tmp_path, found, HandTiming(), batch=None, ended=0)

    assert history(tmp_path) == [first, second]
    assert history(tmp_path / "nowhere") == []


# -- waves -------------------------------------------------------------------------------------------------------------


def report(*codes: WaitCode, running: int = 0, next_in_ms: int | None = None, retrying: int = 0) -> PulseReport:
    """A look in which tasks wait for these reasons."""
    next_ms = None if next_in_ms is None else 1_000 + next_in_ms
    runs = tuple(
        PulseRun(task_id=f"t{n}", title="", state="running", worker="w", since_ms=0, heard_ms=0) for n in range(running)
    )
    return PulseReport(
        now_ms=1_000,
        idle=Idle(code="x", sentence="x"),
        running=runs,
        waiting=tuple(WaitGroup(wait=Wait(code=code, since_ms=0, next_check_ms=next_ms), count=1) for code in codes),
        retrying=retrying,
        is_over=not (codes or running or retrying),
    )


@pytest.mark.parametrize(
    ("look", "lasted_s", "over"),
    [
        (report(), 0.0, True),
        (report(running=1), 999.0, False),
        (report(WaitCode.READY), 999.0, False),
        (report(WaitCode.MODEL_SWAP), 999.0, False),
        (report(WaitCode.PAUSED), 0.0, True),
        (report(WaitCode.NO_WORKER), 0.0, False),
        (report(WaitCode.NO_WORKER), SETTLE_S, True),
        (report(WaitCode.BUDGET, next_in_ms=30_000), 0.0, False),
        (report(WaitCode.QUOTA_UNTIL, next_in_ms=3_600_000), 0.0, True),
        (report(retrying=1), 0.0, False),
    ],
)
def test_a_wave_is_over_when_nothing_moves_before_the_next_pulse(
    look: PulseReport, lasted_s: float, over: bool
) -> None:
    """What runs, or would start by itself soon, is waited for; what waits for people or for long is not."""
    assert is_wave_over(look, lasted_s) is over
