"""A worker put together from a profile: what it offers, what it allows, how it runs it."""

import asyncio
import contextlib
import hashlib
import os
import platform
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ostler.app.identity import book_folder, guard_folder, spool_folder
from ostler.client.transport import Transport
from ostler.config.settings import AgentLimits
from ostler.config.settings import WorkerSettings as WorkerSection
from ostler.domain.errors import OstlerError
from ostler.domain.fleet import HostReport, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.tasks import AGENT_CAPABILITY, TaskKind
from ostler.fleet.drivers import DriverSet
from ostler.version import __version__
from ostler.workers import claims
from ostler.workers.attempts import Abilities
from ostler.workers.book import FolderBook
from ostler.workers.claiming import ClaimingRunner
from ostler.workers.commands import CommandHost
from ostler.workers.daemon import HostReporter, Worker, WorkerSettings
from ostler.workers.guard import Farewell, ReaperGuard
from ostler.workers.link_http import HttpLink
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Runner
from ostler.workers.runners.agents import versions
from ostler.workers.runners.agents.judging import Ask
from ostler.workers.runners.agents.runner import AgentRunner, AgentSettings
from ostler.workers.runners.agents.shelf import adapter_named
from ostler.workers.runners.agents.watch import Limits
from ostler.workers.runners.chat import ChatRunner
from ostler.workers.runners.command import CommandRunner
from ostler.workers.spool import Spool
from ostler.workers.timing import SystemTiming, Timing
from ostler.workers.verification import Verifier


class AgentPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where agents run: `gateway` is the address of the hub as this worker reaches it, `folder` holds the runs."""

    gateway: str
    folder: Path


JUDGE_TOKENS = 1_000
"""A judge may think before it answers in one line."""
JUDGE_PATIENCE_S = 180.0
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
    agents = installed_agents(section) if TaskKind.AGENT in section.allow else ()
    slots = dict(section.slots_by_kind())
    if not agents:
        slots.pop(TaskKind.AGENT, None)
    return WorkerOffer(
        name=name or section.name or own_host,
        host=own_host,
        host_aliases=aliases,
        slots=slots,
        capabilities=frozenset((*section.capabilities, *(AGENT_CAPABILITY + name for name in agents))),
        repos=section.repo_names(),
        builtin=builtin,
        version=__version__,
    )


def installed_agents(section: WorkerSection) -> tuple[str, ...]:
    """Agent command lines that it may run and that are on its PATH."""
    return tuple(name for name in section.agents if versions.found(adapter_named(name), os.environ) is not None)


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
    place: AgentPlace,
) -> Worker:
    """The daemon under an identity (see `identity_of`) that no other process of this machine holds."""
    rules = WorkerRules(
        kinds=frozenset(joined.slots),
        commands=section.commands,
        cwd_roots=section.cwd_roots,
        env=section.env,
        task_env=section.task_env,
        agents=installed_agents(section) if TaskKind.AGENT in joined.slots else (),
        repos=section.repo_paths(),
    )
    # Only a daemon with a lasting name can go on with what an earlier one held.
    keeps = bool(joined.instance)
    guard = _guard_of(link, identity, section, timing) if keeps else ReaperGuard(identity, _farewell_of(link))
    host = CommandHost(rules, guard, environ=os.environ)
    runners: Mapping[TaskKind, Runner] = {
        TaskKind.COMMAND: CommandRunner(host),
        TaskKind.CHAT: ChatRunner(drivers.of),
        TaskKind.AGENT: ClaimingRunner(
            _agent_runner(rules, guard, section, place, identity), rules.repo_path, claims.own_name()
        ),
    }
    abilities = Abilities(
        rules=rules,
        runners={kind: runner for kind, runner in runners.items() if kind in joined.slots},
        verifier=Verifier(host),
        self_checked=frozenset({TaskKind.AGENT}),
    )
    spool = Spool(spool_folder(identity)) if keeps else None
    book = FolderBook(book_folder(identity)) if keeps and section.adopt_within_ms else None
    settings = WorkerSettings(identity=identity, spool=spool, book=book, lister=drivers.probe)
    return Worker(link, joined, abilities, settings, timing=timing, guard=guard, host_reporter=reporter)


def _guard_of(link: HubLink, identity: str, section: WorkerSection, timing: Timing) -> ReaperGuard:
    """The guard of a daemon with a lasting name: what runs may outlive it, and the ends that it has kept tell."""
    return ReaperGuard(
        identity,
        _farewell_of(link),
        spool_folder(identity),
        folder=guard_folder(identity),
        book=book_folder(identity),
        keep_ms=section.adopt_within_ms,
        clock_id=timing.clock_id if isinstance(timing, SystemTiming) else time.CLOCK_MONOTONIC,
    )


def _farewell_of(link: HubLink) -> Farewell | None:
    return link.farewell if isinstance(link, HttpLink) else None


def _agent_runner(
    rules: WorkerRules, guard: ReaperGuard, section: WorkerSection, place: AgentPlace, identity: str
) -> AgentRunner:
    # Checks run in the tree of the run, which no list of folders for commands can name.
    checks = CommandHost(msgspec.structs.replace(rules, cwd_roots=()), guard, environ=os.environ)
    settings = AgentSettings(
        gateway=place.gateway,
        work=place.folder / identity,
        environ=dict(os.environ),
        keep_runs=section.keep_agent_runs,
        limits=agent_limits(section.agent_limits),
        ask=judge_at(place.gateway),
    )
    return AgentRunner(rules, guard, settings, Verifier(checks))


def judge_at(gateway: str) -> Ask:
    """Asks a model at the hub's gateway, on the key of an attempt."""

    def asked(key: str, model: str, prompt: str) -> str:
        body = {"model": model, "max_tokens": JUDGE_TOKENS, "messages": [{"role": "user", "content": prompt}]}
        transport = Transport(gateway, key, timeout_s=JUDGE_PATIENCE_S)
        answer = transport.ask("POST", "/v1/chat/completions", msgspec.json.encode(body))
        return msgspec.json.decode(answer, type=_Completion).choices[0].message.content or ""

    async def ask(key: str, model: str, prompt: str) -> str:
        try:
            return await asyncio.to_thread(asked, key, model, prompt)
        except (msgspec.DecodeError, IndexError) as error:
            raise OstlerError(f"the judge's answer cannot be read: {error}") from None

    return ask


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Said


class _Completion(msgspec.Struct):
    choices: list[_Choice]


def agent_limits(said: AgentLimits) -> Limits:
    """The limits of a profile as those who watch a run count."""
    return Limits(
        first_s=said.first_event_ms / 1_000,
        silent_s=said.silent_ms / 1_000,
        linger_s=said.linger_ms / 1_000,
        wall_s=said.wall_ms / 1_000,
        output_bytes=said.output_bytes,
        repeats=said.repeats,
        steps=said.steps,
    )


def reporter_for(host: str, timing: Timing) -> HostReporter:
    """Measures this machine, under the name the worker joined with."""
    from ostler.fleet.hostload import HostLoad

    load = HostLoad(host, timing)

    async def measure() -> HostReport | None:
        return await load.report()

    return measure
