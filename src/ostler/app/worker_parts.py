"""A worker put together from a profile: what it offers, what it allows, how it runs it."""

import contextlib
import hashlib
import os
import platform
import socket
import uuid
from collections.abc import Mapping

from ostler.config.settings import WorkerSettings as WorkerSection
from ostler.domain.fleet import HostReport, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.tasks import TaskKind
from ostler.fleet.drivers import DriverSet
from ostler.version import __version__
from ostler.workers.attempts import Abilities
from ostler.workers.commands import CommandHost
from ostler.workers.daemon import HostReporter, Worker, WorkerSettings
from ostler.workers.guard import ReaperGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Runner
from ostler.workers.runners.chat import ChatRunner
from ostler.workers.runners.command import CommandRunner
from ostler.workers.timing import Timing
from ostler.workers.verification import Verifier

RUNNABLE = (TaskKind.COMMAND, TaskKind.CHAT)
"""Kinds this version has a runner for."""


LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def host_names() -> tuple[str, ...]:
    """What this machine goes by for others: its name first, then its full name and addresses; never a loopback name.

    One that has no other name goes by the number of its network hardware.
    """
    names = [platform.node(), socket.getfqdn()]
    with contextlib.suppress(OSError):  # a machine that does not know its own address still has a name
        names += [str(entry[4][0]) for entry in socket.getaddrinfo(names[0], None)]
    own = tuple(dict.fromkeys(name for name in names if name and not _is_loopback(name)))
    return own or (f"machine-{uuid.getnode():012x}",)


def _is_loopback(name: str) -> bool:
    return name in LOOPBACK_NAMES or name.startswith(("127.", "localhost."))


def offer(
    section: WorkerSection, *, name: str | None = None, host: str | None = None, builtin: bool = False
) -> WorkerOffer:
    """What a worker says when it joins."""
    names = host_names()
    own_host = host or names[0]
    # To the hub, and so to the endpoints of its profile, "localhost" is the machine of the worker inside it.
    aliases = () if host else (*names[1:], *(LOOPBACK_NAMES if builtin else ()))
    slots = {kind: count for kind, count in section.slots_by_kind().items() if kind in RUNNABLE}
    return WorkerOffer(
        name=name or section.name or own_host,
        host=own_host,
        host_aliases=aliases,
        slots=slots,
        capabilities=frozenset(section.capabilities),
        repos=section.repos,
        builtin=builtin,
        version=__version__,
    )


def identity_of(scope: str, name: str) -> str:
    """What marks every process of a worker: `scope` names the hub (data folder or address). A restart finds by it what
    an earlier daemon left.
    """
    return hashlib.sha256(f"{scope}\0{name}".encode(errors="surrogatepass")).hexdigest()[:16]


def build(
    link: HubLink,
    joined: WorkerOffer,
    section: WorkerSection,
    drivers: DriverSet,
    *,
    timing: Timing,
    identity: str,
    reporter: HostReporter,
) -> Worker:
    """The daemon under an identity (see `identity_of`) that no other process of this machine holds."""
    rules = WorkerRules(
        kinds=frozenset(joined.slots),
        commands=section.commands,
        cwd_roots=section.cwd_roots,
        env=section.env,
        task_env=section.task_env,
    )
    guard = ReaperGuard(identity)
    host = CommandHost(rules, guard, environ=os.environ)
    runners: Mapping[TaskKind, Runner] = {
        TaskKind.COMMAND: CommandRunner(host),
        TaskKind.CHAT: ChatRunner(drivers.of),
    }
    abilities = Abilities(
        rules=rules,
        runners={kind: runner for kind, runner in runners.items() if kind in joined.slots},
        verifier=Verifier(host),
    )
    settings = WorkerSettings(identity=identity)
    return Worker(link, joined, abilities, settings, timing=timing, guard=guard, host_reporter=reporter)


def reporter_for(host: str, timing: Timing) -> HostReporter:
    """Measures this machine, under the name the worker joined with."""
    from ostler.fleet.hostload import HostLoad

    load = HostLoad(host, timing)

    async def measure() -> HostReport | None:
        return await load.report()

    return measure
