"""The doctor finds what keeps a hub from working, says what to do, and changes nothing."""

import asyncio
from pathlib import Path

import pytest

import ostler.app
from ostler.app import examination
from ostler.app.options import Check, DoctorOptions, DoctorReport
from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.fleet.drivers import DriverSet
from ostler.store import sqlite_engine

PROFILE = """\
routing:
  tiers:
    only: {provider: ollama, models: [tiny]}
endpoints:
  - {name: good, provider: ollama, url: "http://127.0.0.1:11434"}
  - {name: gone, provider: ollama, url: "http://127.0.0.1:9"}
  - {name: off, provider: ollama, url: "http://127.0.0.1:10", enabled: false}
worker: {allow: [command, chat], commands: [git, make]}
"""
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a profile, and endpoints that need no network."""

    async def probe(drivers: DriverSet, spec: EndpointSpec) -> Probe:
        if spec.name == "good":
            return Probe(endpoint="good", status=ProbeStatus.AVAILABLE, at_ms=1, latency_ms=7, models=("tiny", "b"))
        return Probe(endpoint=spec.name, status=ProbeStatus.UNAVAILABLE, at_ms=1, message="connection refused")

    monkeypatch.setattr(DriverSet, "probe", probe)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")
    return tmp_path


async def examined(data_dir: Path | None = None) -> DoctorReport:
    where = str(data_dir) if data_dir is not None else None
    return await examination.examine(DoctorOptions(data_dir=where, hub=NOWHERE))


def named(report: DoctorReport, name: str) -> Check:
    (found,) = [check for check in report.checks if check.name == name]
    return found


async def test_a_sound_installation_is_healthy_with_what_is_worth_knowing(folder: Path) -> None:
    """Warnings do not make it ill; whoever is warned is told what to do."""
    report = await examined(folder / "data")

    assert report.healthy
    assert [check.name for check in report.checks] == [
        "python",
        "sqlite",
        "open files",
        "profile",
        "data folder",
        "database",
        "endpoint good",
        "endpoint gone",
        "worker",
        "hub",
    ]
    assert named(report, "endpoint good").message == "http://127.0.0.1:11434 answers in 7 ms with 2 models"
    gone = named(report, "endpoint gone")
    assert (gone.status, gone.message) == ("warning", "http://127.0.0.1:9: connection refused")
    assert named(report, "hub").remedy == "'ostler up' starts one"
    assert all(check.remedy for check in report.checks if check.status != "ok")


def test_it_changes_nothing(folder: Path) -> None:
    """No folder, no database, no cache."""
    before = sorted(folder.rglob("*"))
    asyncio.run(examined(folder / "data"))

    assert sorted(folder.rglob("*")) == before


async def test_a_broken_profile_ends_the_examination_with_its_mistakes(folder: Path) -> None:
    """Everything after it depends on the profile."""
    (folder / "ostler.yaml").write_text("routing: {tirs: {}}\n", encoding="utf-8")
    report = await examined()

    assert not report.healthy
    last = report.checks[-1]
    assert (last.name, last.status) == ("profile", "failed")
    assert "ostler.yaml:1" in last.message


async def test_a_data_folder_that_cannot_be_is_found(folder: Path) -> None:
    """A file in its way; `up` would stop there too."""
    (folder / "file").write_text("x", encoding="utf-8")
    check = named(await examined(folder / "file" / "data"), "data folder")

    assert check.status == "failed"
    assert "file" in check.message
    assert "hub.data_dir" in check.remedy


async def examined_with(folder: Path, database: str) -> Check:
    """What the doctor says of a database."""
    (folder / "ostler.yaml").write_text(f"{PROFILE}hub: {{database: '{database}'}}\n", encoding="utf-8")
    return named(await examined(folder / "data"), "database")


async def test_a_database_that_no_store_is_for_is_found(folder: Path) -> None:
    """`up` would refuse it, with the same words."""
    check = await examined_with(folder, "mysql://db/ostler")

    assert check.status == "failed"
    assert "no store for mysql" in check.message
    assert "postgresql://" in check.remedy


async def test_a_database_server_that_does_not_answer_is_found(folder: Path) -> None:
    """With its address, without the password, and with what to do."""
    check = await examined_with(folder, "postgresql://me:hunter2@127.0.0.1:9/ostler")

    assert check.status == "failed"
    assert "127.0.0.1:9/ostler" in check.message
    assert "is the server running" in check.remedy
    assert "hunter2" not in f"{check}"


async def test_a_database_server_that_answers_is_named_with_its_version(folder: Path, postgres_url: str) -> None:
    """And nothing is made in it."""
    check = await examined_with(folder, postgres_url)

    assert check.status == "ok"
    assert "PostgreSQL 1" in check.message


async def test_a_folder_that_is_nearly_full_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub stops when it cannot write."""
    monkeypatch.setattr(examination, "MIN_FREE_BYTES", 10**18)

    assert named(await examined(folder / "data"), "data folder").status == "warning"


async def test_an_existing_database_is_shown_with_its_size(folder: Path) -> None:
    """So a person sees which one it is."""
    (folder / "data").mkdir()
    (folder / "data" / "ostler.db").write_bytes(b"x" * 2_500_000)

    assert named(await examined(folder / "data"), "database").message.endswith("ostler.db, 2.5 MB")


async def test_what_only_a_worker_reaches_is_not_asked_from_here(folder: Path) -> None:
    """Its loopback address is another server here; who looks at it is told."""
    there = PROFILE.replace(':9"}', ':9", host: den, reached_by: worker}')
    (folder / "ostler.yaml").write_text(there, encoding="utf-8")

    check = named(await examined(), "endpoint gone")
    assert (check.status, "only a worker on den reaches it" in check.message) == ("ok", True)


async def test_a_profile_without_endpoints_is_a_warning(folder: Path) -> None:
    """Work would be matched to any worker."""
    text = [line.replace('"}', '", enabled: false}') for line in PROFILE.splitlines()]
    (folder / "ostler.yaml").write_text("\n".join(text), encoding="utf-8")

    assert named(await examined(), "endpoints").status == "warning"


async def test_an_old_sqlite_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""

    class Old:
        supported = False
        has_wal_reset_bug = False

    monkeypatch.setattr(sqlite_engine, "linked_version", Old)
    report = await examined()

    assert not report.healthy
    assert named(report, "sqlite").remedy == "use a newer Python"


async def test_the_worker_is_shown_as_it_would_run(folder: Path) -> None:
    """Slots by kind, and which programs it starts."""
    message = named(await examined(), "worker").message

    assert message == "slots: 2 command, 8 chat; commands git, make"


def test_the_verb_may_be_asked_again(folder: Path) -> None:
    """A process that calls it twice gets two reports: nothing on the way takes the place of the verb."""
    options = DoctorOptions(data_dir=str(folder / "data"), hub=NOWHERE)
    first, second = ostler.app.doctor(options), ostler.app.doctor(options)

    assert [check.name for check in first.checks] == [check.name for check in second.checks]
