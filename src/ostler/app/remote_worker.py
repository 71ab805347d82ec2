"""`ostler worker`: a daemon on another machine, joined to its hub over HTTP."""

import contextlib
import os
import sys
from pathlib import Path

import msgspec
import structlog

from ostler.app import logs, worker_parts
from ostler.app.identity import count_start, lasting_name, lock_identity
from ostler.app.loop import stop_requested
from ostler.app.options import WorkerOptions
from ostler.config.load import load_profile
from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import TaskKind
from ostler.fleet.drivers import DriverSet
from ostler.workers.link_http import HttpLink
from ostler.workers.timing import SystemTiming, first


async def serve_worker(options: WorkerOptions) -> None:
    """Run a worker until a signal. Raises `OstlerError` when the hub will not have it."""
    logs.set_up(options.log_level)
    if not options.token:
        remedy = "'ostler tokens create NAME --scope worker' on the hub makes one; give it by --token-file"
        raise InvalidInputError("a worker needs a token", where="--token-file", remedy=remedy)
    stop = stop_requested()
    profile = load_profile(options.profile, os.environ)
    section = profile.worker
    section = msgspec.structs.replace(
        section,
        capabilities=(*section.capabilities, *options.capabilities),
        repos=(*section.repos, *options.repos),
    )
    if options.slots:
        section = msgspec.structs.replace(section, allow=tuple(options.slots))
    joined = worker_parts.offer(section, name=options.name, host=options.host)
    if options.slots:
        if TaskKind.AGENT in options.slots and not worker_parts.installed_agents(section):
            what = f"none of {', '.join(section.agents)} is installed here"
            raise InvalidInputError(what, where="--slots", remedy="'ostler agents doctor' says what to do")
        joined = msgspec.structs.replace(joined, slots=options.slots)
    identity = worker_parts.identity_of(options.hub, joined.name)
    async with contextlib.AsyncExitStack() as closing:
        closing.enter_context(lock_identity(identity, joined.name))
        joined = msgspec.structs.replace(joined, instance=lasting_name(identity), starts=count_start(identity))
        timing = SystemTiming(through_suspend=True)
        drivers = DriverSet(os.environ, timing)
        closing.push_async_callback(drivers.close)
        link = HttpLink(options.hub, token=options.token)
        closing.push_async_callback(link.close)
        worker = worker_parts.build(
            link,
            joined,
            section,
            drivers,
            timing=timing,
            identity=identity,
            reporter=worker_parts.reporter_for(joined.host, timing),
            place=worker_parts.AgentPlace(gateway=options.hub, folder=Path(profile.hub.data_dir) / "agents"),
        )
        sys.stderr.write(f"worker {joined.name} on {joined.host} joins {options.hub}\n")
        worker.tell(_Notes())
        worker.start()
        try:
            await first(worker.closed(), stop.wait())
        finally:
            await worker.stop()


class _Notes:
    """Writes to the log what happens to a session; what is tried again and again in vain is told once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, text: str) -> None:
        if text != self._last:
            structlog.get_logger("ostler.worker").info(text)
        self._last = text
