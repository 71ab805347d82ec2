"""`ostler agents doctor`: which agent command lines are here, which may run, and what to do about the others."""

import os
from pathlib import Path

from ostler.app.options import Check, DoctorReport
from ostler.config.load import load_profile
from ostler.config.settings import WorkerSettings
from ostler.domain.tasks import AGENT_NAMES, TaskKind
from ostler.workers.runners.agents.contract import Adapter
from ostler.workers.runners.agents.shelf import ADAPTERS
from ostler.workers.runners.agents.versions import found, version_of

OK, WARNING, FAILED = "ok", "warning", "failed"


async def examine_agents(profile: str | None) -> DoctorReport:
    """One row for each agent, then one for each thing that all of them need. Starts no run and calls no model."""
    loaded = load_profile(profile, os.environ)
    checks = [await _agent(ADAPTERS[name], loaded.worker) for name in AGENT_NAMES if name in ADAPTERS]
    checks.append(_allowed(loaded.worker))
    checks.append(_gateway(loaded.gateway.enabled))
    checks.append(_repos(loaded.worker))
    return DoctorReport(checks=tuple(checks))


async def _agent(adapter: Adapter, worker: WorkerSettings) -> Check:
    name = adapter.name
    path = found(adapter, os.environ)
    listed = name in worker.agents
    if path is None:
        remedy = f"install it, so that '{adapter.name}' is on the PATH of the worker"
        status = FAILED if listed and TaskKind.AGENT in worker.allow else WARNING if listed else OK
        return Check(name=name, status=status, message="not installed", remedy=remedy if listed else "")
    version = await version_of(adapter, os.environ)
    known = version.startswith(adapter.known_versions)
    said = f"{path}, version {version or 'not told'}" + ("" if known else " (not among the tested ones)")
    if not listed:
        return Check(name=name, status=OK, message=f"{said}; off", remedy=f"add {name} to worker.agents to turn it on")
    tested = ", ".join(f"{begin}*" for begin in adapter.known_versions)
    remedy = "" if known else f"tested: {tested}; what it prints may be read wrongly"
    return Check(name=name, status=OK if known else WARNING, message=f"{said}; on", remedy=remedy)


def _allowed(worker: WorkerSettings) -> Check:
    if TaskKind.AGENT in worker.allow:
        return Check(name="allowed", status=OK, message=f"{worker.slots.agent} agent runs at once")
    remedy = "add agent to worker.allow, or start with 'ostler up --allow agent'"
    return Check(name="allowed", status=WARNING, message="the worker takes no agents", remedy=remedy)


def _gateway(enabled: bool) -> Check:  # noqa: FBT001 -- one fact
    if enabled:
        said = "each run gets a key of the hub's gateway; no login and no key of a provider is used"
        return Check(name="models", status=OK, message=said)
    remedy = "set gateway.enabled"
    return Check(name="models", status=FAILED, message="the gateway is off: agents reach no model", remedy=remedy)


def _repos(worker: WorkerSettings) -> Check:
    paths = worker.repo_paths()
    if not paths:
        remedy = "list them in worker.repos as NAME=PATH"
        return Check(name="repositories", status=WARNING, message="none that an agent may work on", remedy=remedy)
    missing = [name for name, path in paths.items() if not Path(path).expanduser().is_dir()]
    if missing:
        remedy = "correct the path in worker.repos"
        return Check(name="repositories", status=FAILED, message=f"not here: {', '.join(missing)}", remedy=remedy)
    return Check(name="repositories", status=OK, message=", ".join(sorted(paths)))
