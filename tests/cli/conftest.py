"""A command line to call and a hub to call it on."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ostler.app import options
from ostler.app.plan_views import PlanReport
from ostler.cli.main import run
from ostler.domain.decision import Verdict
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.tasks import TaskSpec
from ostler.hub.simulated import Comparison
from ostler.hub.views import Why
from ostler.planning.figures import figures
from ostler.planning.pipeline import Pipeline
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import fourteen_agents
from tests.web import samples
from tests.web.recording_hub import ServedHub, served_hub

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


class Result(NamedTuple):
    """What a command line left behind."""

    code: int
    out: str
    err: str


Ostler = Callable[..., Result]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the hub, token or profile of the person who runs it."""
    for name in [name for name in os.environ if name.startswith(("OSTLER_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OSTLER_HUB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ostler(capsys: pytest.CaptureFixture[str]) -> Ostler:
    """Run a command line in this process."""

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Result(int(code), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def _served() -> Iterator[ServedHub]:
    with served_hub() as served:
        yield served


@pytest.fixture
def served(_served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> ServedHub:
    """A hub that the command line finds through `OSTLER_HUB`."""
    _served.fresh()
    monkeypatch.setenv("OSTLER_HUB", _served.url)
    return _served


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which nothing answers, as the one the command line finds."""
    monkeypatch.setenv("OSTLER_HUB", NOWHERE)
    return NOWHERE


class RecordingApp:
    """Stands for the composition root."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.probe = samples.PROBE
        self.report = options.DoctorReport(checks=())
        self.demo_code = 0
        self.comparison: Comparison | None = None

    def up(self, options: options.UpOptions) -> None:
        self.calls.append(("up", options))

    def worker(self, options: options.WorkerOptions) -> None:
        self.calls.append(("worker", options))

    def demo(self, options: options.DemoOptions) -> int:
        self.calls.append(("demo", options))
        return self.demo_code

    def what_if(self, options: options.WhatIfOptions, told: options.Told | None = None) -> Comparison:
        self.calls.append(("what_if", options))
        assert self.comparison is not None
        return self.comparison

    def replay(self, options: options.ReplayOptions, told: options.Told | None = None) -> Comparison:
        self.calls.append(("replay", options))
        assert self.comparison is not None
        return self.comparison

    def doctor(self, options: options.DoctorOptions) -> options.DoctorReport:
        self.calls.append(("doctor", options))
        return self.report

    def agents_doctor(self, profile: str | None) -> options.DoctorReport:
        self.calls.append(("agents_doctor", profile))
        return self.report

    def check_endpoint(self, name: str, profile: str | None, force: bool) -> Probe:
        self.calls.append(("check_endpoint", name, profile, force))
        return self.probe

    def route_offline(self, spec: TaskSpec, profile: str | None) -> tuple[Verdict, Why]:
        self.calls.append(("route_offline", spec, profile))
        return samples.ROUTE, samples.WHY

    def plan(self, pipeline: Pipeline, options: options.PlanOptions, tell: options.Tell) -> PlanReport:
        self.calls.append(("plan", pipeline, options))
        tell("looking")
        instance = fourteen_agents()
        made = planned(instance, "hybrid")
        return PlanReport(name="recorded", instance=instance, plan=made, figures=figures(instance, made))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> RecordingApp:
    """A composition root that records what it is asked."""
    recording = RecordingApp()
    monkeypatch.setattr(options, "load_app", lambda: recording)
    return recording


def probe(status: ProbeStatus, message: str = "") -> Probe:
    """A probe with a status."""
    return Probe(endpoint="stable", status=status, at_ms=samples.NOW_MS, latency_ms=8, message=message)
