"""The pulse every few minutes, by the system's own scheduler: launchd, a systemd timer of the user, or crontab.

Invariants: installing twice leaves one entry; removing leaves nothing of ours and everything of others; what is there
is told by asking the system, not by remembering. No program runs through a shell of ours: where the system wants a line
for a shell (crontab), every word of it is quoted.
"""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape

import msgspec

from ostler.domain.errors import InvalidInputError, OstlerError

DEFAULT_EVERY_S = 120
LABEL = "dev.ostler.pulse"
_LIMIT_S = 20.0
_MINUTE_S = 60


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and how often."""

    argv: tuple[str, ...]
    every_s: int
    log: str
    """File that takes what it prints."""
    name: str
    """Tells the pulses of several data folders apart."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What the system knows of a pulse."""

    by: str
    is_there: bool
    where: str = ""
    every_s: int | None = None
    line: str = ""


class System(Protocol):
    """One of the schedulers."""

    by: str

    def install(self, schedule: Schedule) -> Installed:
        """Put it in the place of what is there under its name."""
        ...

    def remove(self, name: str) -> bool:
        """Take it away; whether it was there."""
        ...

    def status(self, name: str) -> Installed:
        """What is there."""
        ...


def schedule_for(data_dir: Path, every_s: int, profile: str | None, batch: str | None) -> Schedule:
    """The pulse of a data folder. Raises `InvalidInputError`."""
    if every_s < _MINUTE_S or every_s % _MINUTE_S:
        raise InvalidInputError(
            "the period has to be whole minutes", where="--every", remedy="write 1m, 2m, 5m, ... up to 59m"
        )
    if every_s > 59 * _MINUTE_S:
        raise InvalidInputError("the period is above an hour", where="--every", remedy="write at most 59m")
    argv = [sys.executable, "-m", "ostler.cli.main", "pulse", "--data-dir", str(data_dir)]
    argv += ["--profile", str(Path(profile).absolute()) if Path(profile).exists() else profile] if profile else []
    argv += ["--batch", batch] if batch else []
    return Schedule(argv=tuple(argv), every_s=every_s, log=str(data_dir / "pulse.log"), name=name_of(data_dir))


def name_of(data_dir: Path) -> str:
    """What the pulse of a data folder is called."""
    return hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]


def system(told: str | None) -> System:
    """The scheduler that is told, or the one that this machine has. Raises `OstlerError`."""
    found = told or ("launchd" if sys.platform == "darwin" else "systemd" if _has_user_systemd() else "crontab")
    if found == "launchd":
        return Launchd(Path.home() / "Library" / "LaunchAgents")
    if found == "systemd":
        base = os.environ.get("XDG_CONFIG_HOME")
        return Systemd((Path(base) if base else Path.home() / ".config") / "systemd" / "user")
    return Crontab()


def _has_user_systemd() -> bool:
    try:
        done = _run(["systemctl", "--user", "show-environment"])
    except OstlerError:
        return False
    return done.returncode == 0


class Launchd:
    """A launch agent of the user (macOS)."""

    by = "launchd"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, schedule: Schedule) -> Installed:
        """See the protocol."""
        path = self._path(schedule.name)
        if path.exists():
            _run(["launchctl", "unload", str(path)])
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(path, _plist(schedule))
        _must(_run(["launchctl", "load", str(path)]), "launchctl load")
        return self.status(schedule.name)

    def remove(self, name: str) -> bool:
        """See the protocol."""
        path = self._path(name)
        if not path.exists():
            return False
        _run(["launchctl", "unload", str(path)])
        path.unlink()
        return True

    def status(self, name: str) -> Installed:
        """See the protocol."""
        path = self._path(name)
        if not path.exists():
            return Installed(by=self.by, is_there=False)
        listed = _run(["launchctl", "list", f"{LABEL}.{name}"]).returncode == 0
        return Installed(by=self.by, is_there=listed, where=str(path), every_s=_plist_period(path))

    def _path(self, name: str) -> Path:
        return self._folder / f"{LABEL}.{name}.plist"


class Systemd:
    """A timer of the user's systemd."""

    by = "systemd"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, schedule: Schedule) -> Installed:
        """See the protocol."""
        self._folder.mkdir(parents=True, exist_ok=True)
        unit = _unit(schedule.name)
        # `%` begins a specifier in a unit, so it is doubled; words are quoted as systemd wants it.
        command = " ".join(
            '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"' for word in schedule.argv
        )
        _write(
            self._folder / f"{unit}.service",
            "[Unit]\nDescription=Ostler pulse\n\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n"
            f"ExecStart={command}\n",
        )
        _write(
            self._folder / f"{unit}.timer",
            f"[Unit]\nDescription=Ostler pulse every {schedule.every_s} s\n\n[Timer]\nOnActiveSec=0\n"
            f"OnUnitInactiveSec={schedule.every_s}\nAccuracySec=1\n\n[Install]\nWantedBy=timers.target\n",
        )
        _must(_run(["systemctl", "--user", "daemon-reload"]), "systemctl daemon-reload")
        _must(_run(["systemctl", "--user", "enable", "--now", f"{unit}.timer"]), "systemctl enable")
        return self.status(schedule.name)

    def remove(self, name: str) -> bool:
        """See the protocol."""
        timer = self._folder / f"{_unit(name)}.timer"
        if not timer.exists():
            return False
        _run(["systemctl", "--user", "disable", "--now", timer.name])
        timer.unlink()
        timer.with_suffix(".service").unlink(missing_ok=True)
        _run(["systemctl", "--user", "daemon-reload"])
        return True

    def status(self, name: str) -> Installed:
        """See the protocol."""
        timer = self._folder / f"{_unit(name)}.timer"
        if not timer.exists():
            return Installed(by=self.by, is_there=False)
        active = _run(["systemctl", "--user", "is-active", timer.name]).returncode == 0
        period = next(
            (
                line.partition("=")[2]
                for line in timer.read_text().splitlines()
                if line.startswith("OnUnitInactiveSec=")
            ),
            "",
        )
        return Installed(
            by=self.by, is_there=active, where=str(timer), every_s=int(period) if period.isdecimal() else None
        )


class Crontab:
    """A line in the user's crontab, with a mark by which it is found again."""

    by = "crontab"

    def install(self, schedule: Schedule) -> Installed:
        """See the protocol."""
        kept = self._lines(without=schedule.name)
        minutes = schedule.every_s // _MINUTE_S
        when = "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
        # A bare % ends the command in a crontab.
        command = shlex.join(schedule.argv).replace("%", "\\%")
        log = shlex.quote(schedule.log).replace("%", "\\%")
        self._store([*kept, f"{when} {command} >>{log} 2>&1 {_mark(schedule.name)}"])
        return self.status(schedule.name)

    def remove(self, name: str) -> bool:
        """See the protocol."""
        before, kept = self._lines(), self._lines(without=name)
        if len(before) == len(kept):
            return False
        self._store(kept)
        return True

    def status(self, name: str) -> Installed:
        """See the protocol."""
        line = next((line for line in self._lines() if line.endswith(_mark(name))), "")
        if not line:
            return Installed(by=self.by, is_there=False)
        minute = line.split()[0]
        every = _MINUTE_S if minute == "*" else int(minute.removeprefix("*/")) * _MINUTE_S
        return Installed(by=self.by, is_there=True, where="crontab -l", every_s=every, line=line)

    def _lines(self, without: str | None = None) -> list[str]:
        done = _run(["crontab", "-l"])  # it fails where there is none yet
        lines = done.stdout.splitlines() if done.returncode == 0 else []
        return [line for line in lines if without is None or not line.endswith(_mark(without))]

    def _store(self, lines: list[str]) -> None:
        _must(_run(["crontab", "-"], "".join(f"{line}\n" for line in lines)), "crontab")


def _mark(name: str) -> str:
    return f"# ostler pulse {name}"


def _unit(name: str) -> str:
    return f"ostler-pulse-{name}"


def _plist(schedule: Schedule) -> str:
    words = "".join(f"    <string>{escape(word)}</string>\n" for word in schedule.argv)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
        '<plist version="1.0">\n<dict>\n'
        f"  <key>Label</key>\n  <string>{LABEL}.{schedule.name}</string>\n"
        f"  <key>ProgramArguments</key>\n  <array>\n{words}  </array>\n"
        f"  <key>StartInterval</key>\n  <integer>{schedule.every_s}</integer>\n"
        "  <key>RunAtLoad</key>\n  <true/>\n"
        f"  <key>StandardOutPath</key>\n  <string>{escape(schedule.log)}</string>\n"
        f"  <key>StandardErrorPath</key>\n  <string>{escape(schedule.log)}</string>\n"
        "</dict>\n</plist>\n"
    )


def _plist_period(path: Path) -> int | None:
    import plistlib

    try:
        period = plistlib.loads(path.read_bytes())["StartInterval"]
    except (OSError, KeyError, ValueError):
        return None
    return period if isinstance(period, int) else None


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _run(argv: list[str], given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Raises `OstlerError` when the program is not there or hangs."""
    try:
        return subprocess.run(  # noqa: S603 -- words of our own, and no shell
            argv, input=given, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except FileNotFoundError:
        raise OstlerError(
            f"there is no {argv[0]} on this machine", where="ostler cron", remedy="choose another with --with"
        ) from None
    except subprocess.TimeoutExpired:
        raise OstlerError(f"{argv[0]} does not answer", where="ostler cron") from None


def _must(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise OstlerError(f"{what} failed: {said}", where="ostler cron", remedy="choose another with --with")
