"""`ostler agents doctor`: which agents are here, which are on, and what to do; nothing is run but `--version`."""

import stat
from pathlib import Path

import pytest

from ostler.app.agents_examination import examine_agents
from ostler.app.options import Check, DoctorReport


class Desk:
    """A profile, and programs on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "barn").mkdir()
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")

    def installs(self, name: str, version: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\necho {name} {version}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    async def report(self, worker: str, more: str = "") -> DoctorReport:
        path = self.folder / "ostler.yaml"
        path.write_text(f"worker: {{{worker}}}\n{more}", encoding="utf-8")
        return await examine_agents(str(path))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def row(report: DoctorReport, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


async def test_all_is_well_where_a_tested_agent_is_installed_and_allowed(desk: Desk) -> None:
    """Version, on or off, how many at once, and that no login is needed."""
    desk.installs("opencode", "1.18.33")
    desk.installs("claude", "2.1.197")

    report = await desk.report('allow: [agent], repos: ["barn=barn"]')

    assert report.healthy
    assert row(report, "opencode").message.endswith("version 1.18.33; on")
    assert row(report, "claude").message.endswith("version 2.1.197; off")
    assert row(report, "claude").remedy == "add claude to worker.agents to turn it on"
    assert row(report, "codex").message == "not installed"
    assert "no login" in row(report, "models").message
    assert {check.status for check in report.checks} == {"ok"}


async def test_a_version_that_was_not_tested_is_a_warning(desk: Desk) -> None:
    """It may work; what it prints may be read wrongly."""
    desk.installs("opencode", "3.0.0")

    found = row(await desk.report("allow: [agent]"), "opencode")

    assert (found.status, "not among the tested" in found.message) == ("warning", True)


async def test_what_is_allowed_and_not_there_fails(desk: Desk) -> None:
    """An agent that is listed and not installed, a repository that is nowhere, a gateway that is off."""
    report = await desk.report('allow: [agent], repos: ["barn=moon"]', "gateway: {enabled: false}\n")

    assert not report.healthy
    assert {check.name for check in report.checks if check.status == "failed"} == {"opencode", "repositories", "models"}


async def test_agents_that_are_not_allowed_are_only_mentioned(desk: Desk) -> None:
    """Who wants none has nothing to mend."""
    report = await desk.report("allow: [chat]")

    assert report.healthy
    assert "--allow agent" in row(report, "allowed").remedy
