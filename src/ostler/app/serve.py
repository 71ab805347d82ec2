"""`ostler up`: the hub, its HTTP face and the worker inside, from start to a stop in good order.

Order of stopping: no new requests; the worker finishes or gives back; then probing, the pump and the store. What a stop
leaves behind is in the store; a kill leaves it there too.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from ostler.app import descriptors, logs, profiles, worker_parts
from ostler.app.ending import ended_in_order
from ostler.app.gateway_parts import GatewayParts
from ostler.app.http import Door, Guards, Listener
from ostler.app.hub_parts import HubParts, open_store
from ostler.app.loop import clock, stop_requested
from ostler.app.options import UpOptions
from ostler.app.prices import with_list_prices
from ostler.app.reload import watch_profile
from ostler.config.observing import LogFormat
from ostler.config.place import DEFAULT_URL, HUB_FILE, data_dir
from ostler.config.settings import HubSettings, LoadedProfile
from ostler.config.settings import WorkerSettings as WorkerSection
from ostler.domain.errors import ConflictError, InvalidInputError
from ostler.domain.hubs import HubList
from ostler.domain.ports import Store
from ostler.domain.tasks import TaskKind
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from ostler.store.errors import FencedError, StoreError
from ostler.workers.daemon import Worker
from ostler.workers.timing import Timing, cancelled

TOKEN_FILE = "admin.token"  # noqa: S105 - the name of a file
WORKER_GRACE_S = 5.0
SWITCH_INTERVAL_S = 0.0005
COLLECT_AFTER = (20_000, 20, 20)


class StoreGoneError(StoreError):
    """A hub ended because its store would not write."""


class Company(Protocol):
    """The other hubs of a database, as one that leads sees them."""

    async def hubs(self) -> HubList:
        """Who shares the work of the pool, and who else is there. Raises `OstlerError`."""
        ...

    def led(self, parts: HubParts) -> None:
        """Told when the hub has begun to lead, before it calls an endpoint."""
        ...

    async def left(self) -> None:
        """Told when it takes no more work in; its store is still open."""
        ...


Until = Callable[[HubParts, Path], Awaitable[None]]
"""Returns when the hub shall end by itself."""


async def serve_hub(options: UpOptions, until: Until | None = None) -> None:
    """Run a hub until a signal, until the store fails for good, or until `until` returns."""
    logs.set_up(options.log_level)
    descriptors.raise_limit()
    stop = stop_requested()
    # The writer thread must get its turn beside a busy event loop: at Python's 5 ms it is starved under load.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    chosen = await profiles.choose(options.profile, _environment(options))
    chosen = msgspec.structs.replace(chosen, profile=with_list_prices(_with_options(chosen.profile, options)))
    logs.set_up(options.log_level, json=chosen.profile.telemetry.log_format is LogFormat.JSON)
    settings = chosen.profile.hub
    _make(Path(settings.data_dir))
    if "://" in settings.database and until is not None:
        remedy = "keep hubs running with 'ostler up', without --respawn-above"
        raise InvalidInputError("only a hub over a file can end by itself", where="hub.database", remedy=remedy)
    if "://" in settings.database:
        try:
            from ostler.app.turns import serve_in_turns
        except ImportError:
            what, remedy = "PostgreSQL needs the extra 'postgres'", "pip install 'ostler[postgres]'"
            raise InvalidInputError(what, where="hub.database", remedy=remedy) from None
        await serve_in_turns(chosen, options, stop)
    else:
        store = await open_store(Path(settings.data_dir), settings.database)
        door = Door(settings.host, settings.port)
        await run_hub(chosen, options, store, door, _asked(stop), until=until)
    say("stopped; open tasks are kept and go on with the next start")


async def run_hub(
    chosen: profiles.Chosen,
    options: UpOptions,
    store: Store,
    door: Door,
    ended: Callable[[], Awaitable[None]],
    company: Company | None = None,
    until: Until | None = None,
) -> None:
    """Run a hub over a store until `ended` or `until` returns; the store is closed with it. Raises `OstlerError` when
    the store fails for good. `company`: the other hubs, where there may be some.
    """
    folder = Path(chosen.profile.hub.data_dir)
    timing = clock()
    limits = DriverSettings(probe_timeout_ms=chosen.profile.policy.scheduler.probe_timeout_ms)
    drivers = DriverSet(os.environ, timing, limits)
    with _nothing_collected():
        parts = await HubParts.start(
            chosen, store, drivers, timing, shared=company is not None, closed_because=door.closed_because
        )
    if company is not None:
        parts.hub.fellows = company.hubs
    guards = Guards.of(chosen.profile.hub, parts.hub.metrics.metering.refused)
    gateway = GatewayParts(parts, chosen.profile.gateway, timing, limits, public=door.public, sign_ins=guards.sign_ins)
    front = gateway.front() if chosen.profile.gateway.enabled else None
    listener = Listener(parts.hub, door, front=front, guards=guards)
    worker: Worker | None = None
    watching: asyncio.Task[None] | None = None
    try:
        if company is not None:
            company.led(parts)
        await listener.start()
        write_hub_file(chosen.profile.hub, listener.url)
        if door.public:
            await _first_token(parts, folder)
        if options.worker and chosen.profile.worker.slots_by_kind():
            worker = _builtin_worker(parts, chosen.profile.worker, timing, folder, listener.url)
            worker.start()
        if chosen.watched:
            watching = asyncio.create_task(watch_profile(parts, chosen.profile, options.profile))
        _greet(chosen, parts, listener.url, folder, worker)
        await _until_stopped(ended, parts, until(parts, folder) if until is not None else None)
    finally:
        await ended_in_order(
            partial(_leave, folder),
            partial(cancelled, *([watching] if watching is not None else [])),
            gateway.stop,
            parts.pump.close_followers,
            partial(_end_work, parts, door, worker),
            listener.stop,
            *([company.left] if company is not None else []),
            parts.stop,
        )


async def _leave(folder: Path) -> None:
    (folder / HUB_FILE).unlink(missing_ok=True)


async def _end_work(parts: HubParts, door: Door, worker: Worker | None) -> None:
    for outbox in parts.pump.outboxes.values():
        outbox.start_drain()
    if worker is not None:
        await (worker.abandon() if _is_replaced(parts, door) else worker.stop(WORKER_GRACE_S))


def _is_replaced(parts: HubParts, door: Door) -> bool:
    """Whether another hub may lead by now: this one's reports would be refused for as long as it tries."""
    if door.closed_because is not None and door.closed_because():
        return True
    fatal = parts.pump.fatal
    return fatal is not None and fatal.done() and isinstance(fatal.result(), FencedError)


def _asked(stop: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def asked() -> None:
        await stop.wait()

    return asked


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Work is taken up: nothing becomes free meanwhile, and with each 700 new rows all that came before would be looked
    at. What stands afterwards stays; of what comes and goes almost nothing is in circles, so it is looked at less often
    than after each 700 new objects, which is several times for each call.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        gc.enable()


def _environment(options: UpOptions) -> dict[str, str]:
    """The environment with the folder of the command line: file names in the profile are relative to it."""
    told = {"OSTLER_HUB_DATA_DIR": str(Path(options.data_dir).absolute())} if options.data_dir is not None else {}
    return {**os.environ, **told}


def _with_options(profile: LoadedProfile, options: UpOptions) -> LoadedProfile:
    """The profile with what the command line says instead."""
    told = {"host": options.host, "port": options.port}
    hub = msgspec.structs.replace(profile.hub, **{name: value for name, value in told.items() if value is not None})
    worker = profile.worker
    if options.allow is not None:
        # Who allows commands on the command line, and names none in a profile, means any.
        commands = worker.commands or (("*",) if TaskKind.COMMAND in options.allow else ())
        worker = msgspec.structs.replace(worker, allow=options.allow, commands=commands)
    return msgspec.structs.replace(profile, hub=hub, worker=worker)


def _builtin_worker(parts: HubParts, section: WorkerSection, timing: Timing, folder: Path, url: str) -> Worker:
    joined = worker_parts.offer(section, builtin=True)
    if TaskKind.AGENT in section.allow and TaskKind.AGENT not in joined.slots:
        say(f"agents are allowed, but none of {', '.join(section.agents)} is installed; see 'ostler agents doctor'")
    return worker_parts.build(
        parts.hub.link,
        joined,
        section,
        parts.drivers,
        timing=timing,
        # The database lock makes it the only hub over this folder, and so the only worker with this identity.
        identity=worker_parts.identity_of(str(folder.resolve()), joined.name),
        reporter=worker_parts.reporter_for(joined.host, timing),
        place=worker_parts.AgentPlace(gateway=url, folder=folder / "agents"),
    )


async def _until_stopped(ended: Callable[[], Awaitable[None]], parts: HubParts, ending: Awaitable[None] | None) -> None:
    fatal = parts.pump.fatal
    own: list[asyncio.Future[Any]] = [asyncio.ensure_future(ended())]
    if ending is not None:
        own.append(asyncio.ensure_future(ending))
    waiting: list[asyncio.Future[Any]] = [*own, *([fatal] if fatal is not None else [])]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    done = [task for task in own if task.done()]
    await cancelled(*own)
    for task in done:
        task.result()
    if fatal is not None and fatal.done():
        error = fatal.result()
        if isinstance(error, FencedError):
            raise error
        remedy = "see to the disk; everything that was acknowledged is safe"
        raise StoreGoneError(f"the store cannot write any more: {error}", where="store", remedy=remedy)


async def _first_token(parts: HubParts, folder: Path) -> None:
    """Beyond loopback nobody can ask for a token without one: the first is left in a file for the hub's user."""
    try:
        made = await parts.hub.tokens.make("first-admin", "admin")
    except ConflictError:
        return
    path = folder / TOKEN_FILE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(made.token + "\n")
    say(f"every request needs a token; one for you is in {path} (--token-file {path})")


def _make(folder: Path) -> None:
    """The folder of the hub's files, for its user alone. Raises `InvalidInputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        remedy = "name another with --data-dir, or hub.data_dir in the profile"
        raise InvalidInputError(
            f"cannot make {folder}: {error.strerror}", where="hub.data_dir", remedy=remedy
        ) from None


def write_hub_file(settings: HubSettings, url: str) -> None:
    """Tell the command line where the hub is. Atomic: a reader sees the whole file or none."""
    folder = Path(settings.data_dir)
    partial = folder / f".{HUB_FILE}.{os.getpid()}"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode({"url": url, "pid": os.getpid()}))
    partial.replace(folder / HUB_FILE)


def _greet(chosen: profiles.Chosen, parts: HubParts, url: str, folder: Path, worker: Worker | None) -> None:
    for line in chosen.lines:
        say(line)
    endpoints = profiles.endpoint_count(chosen.profile.policy)
    if parts.recovered:
        say(f"{parts.recovered} open {'task was' if parts.recovered == 1 else 'tasks were'} taken up again")
    inside = "a worker inside" if worker is not None else "no worker inside"
    noun = "endpoint" if endpoints == 1 else "endpoints"
    say(f"hub at {url} with {endpoints} {noun} and {inside}; files in {folder}")
    if told := how_found(url, folder, os.environ):
        say(told)
    structlog.get_logger("ostler").debug("hub is up", url=url, folder=str(folder))


def how_found(url: str, folder: Path, env: Mapping[str, str]) -> str:
    """How other verbs find a hub that is neither at the usual address nor told of in the usual folder; else empty."""
    if url == DEFAULT_URL or folder == data_dir(env).absolute():
        return ""
    return f"other verbs find it by OSTLER_HUB={url}, or --hub"


def say(line: str) -> None:
    """Tell the person who started the hub."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
