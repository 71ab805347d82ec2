"""`ostler doctor`: looks at everything a hub needs on this machine and says what to do; changes nothing."""

import os
import platform
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from ostler.app import descriptors
from ostler.app.loop import clock
from ostler.app.options import Check, DoctorOptions, DoctorReport
from ostler.config.load import load_profile
from ostler.config.place import DEFAULT_URL
from ostler.config.settings import LoadedProfile
from ostler.domain.catalog import Reach
from ostler.domain.errors import OstlerError
from ostler.domain.fleet import ProbeStatus
from ostler.version import __version__

MIN_FREE_BYTES = 1_000_000_000

OK, WARNING, FAILED = "ok", "warning", "failed"


async def examine(options: DoctorOptions) -> DoctorReport:
    """All checks, one after the other; each is independent of the others' outcome."""
    files = descriptors.check()
    checks = [_python(), _sqlite(), *([files] if files is not None else [])]
    try:
        profile = load_profile(options.profile, _environment(options))
    except OstlerError as error:
        checks.append(
            Check(name="profile", status=FAILED, message=str(error), remedy="'ostler config check' says more")
        )
        return DoctorReport(checks=tuple(checks))
    tiers = sum(tier.enabled for tier in profile.policy.catalog.tiers)
    checks.append(Check(name="profile", status=OK, message=f"{profile.path}: {tiers} tiers enabled"))
    folder = Path(profile.hub.data_dir)
    checks.append(_folder(folder))
    checks.append(_database(folder, profile.hub.database))
    checks += await _endpoints(profile)
    checks.append(_worker(profile))
    checks.append(await _hub(options))
    return DoctorReport(checks=tuple(checks))


def _environment(options: DoctorOptions) -> dict[str, str]:
    """As the hub reads its profile: file names in it are relative to the folder of the command line."""
    told = {"OSTLER_HUB_DATA_DIR": str(Path(options.data_dir).absolute())} if options.data_dir is not None else {}
    return {**os.environ, **told}


def _python() -> Check:
    text = f"Ostler {__version__} on Python {platform.python_version()}, {sys.platform}"
    return Check(name="python", status=OK, message=text)


def _sqlite() -> Check:
    from ostler.store.sqlite_engine import linked_version

    version = linked_version()
    text = f"SQLite {sqlite3.sqlite_version}"
    if not version.supported:
        return Check(name="sqlite", status=FAILED, message=f"{text} is too old", remedy="use a newer Python")
    if version.has_wal_reset_bug:
        text += " (has the WAL-reset bug, which needs two writers; here one writer owns all writes and checkpoints)"
    return Check(name="sqlite", status=OK, message=text)


def _folder(folder: Path) -> Check:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        remedy = "set hub.data_dir in the profile, or OSTLER_HUB_DATA_DIR"
        return Check(name="data folder", status=FAILED, message=f"cannot write to {existing}", remedy=remedy)
    stat = os.statvfs(existing)
    free = stat.f_bavail * stat.f_frsize
    text = f"{folder} ({free / 1e9:.0f} GB free)"
    if free < MIN_FREE_BYTES:
        return Check(
            name="data folder", status=WARNING, message=text, remedy="make room: the hub stops when it cannot write"
        )
    return Check(name="data folder", status=OK, message=text)


def _server(url: str) -> Check:
    """A PostgreSQL database: whether it answers; nothing is made there."""
    try:
        from ostler.store.postgres_engine import server_version
    except ImportError:
        remedy = "pip install 'ostler[postgres]'"
        return Check(name="database", status=FAILED, message="PostgreSQL needs the extra 'postgres'", remedy=remedy)
    try:
        return Check(name="database", status=OK, message=server_version(url))
    except OstlerError as error:
        return Check(name="database", status=FAILED, message=f"{error.where}: {error.what}", remedy=error.remedy)


def _database(folder: Path, database: str) -> Check:
    if "://" in database:
        return _server(database)
    path = folder / database
    if not path.exists():
        return Check(name="database", status=OK, message=f"{path} will be made at the first start")
    size_mb = path.stat().st_size / 1e6
    return Check(name="database", status=OK, message=f"{path}, {size_mb:.1f} MB")


async def _endpoints(profile: LoadedProfile) -> list[Check]:
    import asyncio

    from ostler.fleet.drivers import DriverSet

    specs = [spec for spec in profile.policy.catalog.endpoints.values() if spec.enabled]
    if not specs:
        remedy = "add one to the profile, or 'ostler endpoints add'"
        return [Check(name="endpoints", status=WARNING, message="the profile has none", remedy=remedy)]
    far = [spec for spec in specs if spec.reached_by is Reach.WORKER]  # its address means another machine here
    text = "only a worker on {} reaches it: 'ostler endpoints list' tells what it sees"
    checks = [Check(name=f"endpoint {spec.name}", status=OK, message=text.format(spec.host)) for spec in far]
    specs = [spec for spec in specs if spec.reached_by is Reach.HUB]
    drivers = DriverSet(os.environ, clock())
    try:
        probes = await asyncio.gather(*(drivers.probe(spec) for spec in specs))
    finally:
        await drivers.close()
    for spec, probe in zip(specs, probes, strict=True):
        if probe.status is ProbeStatus.AVAILABLE:
            text = f"{spec.url} answers in {probe.latency_ms} ms with {len(probe.models)} models"
            checks.append(Check(name=f"endpoint {spec.name}", status=OK, message=text))
        else:
            remedy = "start it, correct its address, or set 'enabled: false'"
            text = f"{spec.url}: {probe.message}"
            checks.append(Check(name=f"endpoint {spec.name}", status=WARNING, message=text, remedy=remedy))
    return checks


def _worker(profile: LoadedProfile) -> Check:
    slots = ", ".join(f"{count} {kind.value}" for kind, count in profile.worker.slots_by_kind().items())
    allowed = "any command" if not profile.worker.commands else "commands " + ", ".join(profile.worker.commands)
    return Check(name="worker", status=OK, message=f"slots: {slots or 'none'}; {allowed}")


async def _hub(options: DoctorOptions) -> Check:
    import asyncio

    from ostler.client.hub_client import HubClient
    from ostler.client.transport import Transport

    address = options.hub or DEFAULT_URL
    ask: Callable[[], object] = HubClient(Transport(address, options.token)).status
    try:
        await asyncio.to_thread(ask)
    except OstlerError as error:
        return Check(name="hub", status=WARNING, message=str(error), remedy="'ostler up' starts one")
    return Check(name="hub", status=OK, message=f"{address} answers")
