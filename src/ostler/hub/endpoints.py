"""The desk for endpoints: those of the profile, those added by hand, and who probes them.

A probe's result always goes through the scheduler as a signal, whoever asked for it, so that there is one truth.
"""

import asyncio
import contextlib
from typing import Protocol

from ostler.domain.catalog import EndpointSpec
from ostler.domain.commands import DropEndpoint, PutEndpoint
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError, nearest
from ostler.domain.fleet import Probe
from ostler.domain.policy import Policy
from ostler.hub.pump import Pump
from ostler.hub.views import EndpointList, EndpointRow
from ostler.scheduling.signals import EndpointAdded, EndpointRemoved, EndpointReset


class Watch(Protocol):
    """Probes endpoints on its own schedule and hands every result to the hub."""

    async def put(self, spec: EndpointSpec) -> None:
        """Begin to probe an endpoint, or go on with its new spec."""
        ...

    async def remove(self, name: str) -> None:
        """Stop probing an endpoint."""
        ...

    async def probe_now(self, name: str) -> Probe:
        """List one endpoint now; the result also takes the usual way."""
        ...


class EndpointDesk:
    """Endpoints by name, with their source."""

    def __init__(self, pump: Pump, watch: Watch) -> None:
        self._pump = pump
        self._watch = watch
        self._sources: dict[str, str] = {}
        self._hurrying: set[asyncio.Task[None]] = set()

    async def start(self, spec: EndpointSpec, source: str) -> None:
        """Register an endpoint that is known to be stored or to stand in the profile."""
        if not spec.enabled:
            return
        self._sources[spec.name] = source
        await self._pump.post(EndpointAdded(spec=spec))
        await self._watch.put(spec)

    async def add(self, spec: EndpointSpec) -> None:
        """Register an endpoint by hand; it is durable when this returns."""
        if spec.name in self._sources:
            remedy = f"remove it first, or use another name than {spec.name}"
            raise ConflictError(f"there is an endpoint named {spec.name}", where="name", remedy=remedy)
        if not spec.url.startswith(("http://", "https://")):
            raise InvalidInputError(f"{spec.url!r} is no address", where="url", remedy="http://HOST:PORT")
        await self._pump.apply([PutEndpoint(endpoint=spec)])
        await self.start(spec, "added")

    async def remove(self, name: str) -> None:
        """Remove an endpoint that was added by hand."""
        if self._source(name) == "profile":
            remedy = "set 'enabled: false' there, or take it out"
            raise ConflictError(f"endpoint {name} stands in the profile", where="name", remedy=remedy)
        await self._pump.apply([DropEndpoint(name=name)])
        await self._drop(name)

    async def _drop(self, name: str) -> None:
        await self._watch.remove(name)
        del self._sources[name]
        await self._pump.post(EndpointRemoved(name=name))

    async def check(self, name: str) -> Probe:
        """List an endpoint, or the first endpoint of a provider, now."""
        if name not in self._sources:
            views = self._pump.scheduler.books.endpoints.views
            of_provider = sorted(view.spec.name for view in views.values() if view.spec.provider == name)
            name = of_provider[0] if of_provider else name
        self._source(name)
        return await self._watch.probe_now(name)

    async def reset(self, name: str) -> None:
        """Forget what is held against an endpoint, and check it."""
        self._source(name)
        await self._pump.post(EndpointReset(name=name))
        self.hurry(name)

    def hurry(self, name: str) -> None:
        """List an endpoint soon, without waiting for it."""
        task = asyncio.ensure_future(self._hurry(name))
        self._hurrying.add(task)
        task.add_done_callback(self._hurrying.discard)

    async def _hurry(self, name: str) -> None:
        with contextlib.suppress(OstlerError, asyncio.CancelledError):
            await self._watch.probe_now(name)

    async def close(self) -> None:
        """Wait for hurried probes to end."""
        for task in self._hurrying:
            task.cancel()
        await asyncio.gather(*self._hurrying, return_exceptions=True)

    async def follow_profile(self, policy: Policy) -> None:
        """Bring the endpoints in line with a changed profile; those added by hand stay."""
        wanted = {name: spec for name, spec in policy.catalog.endpoints.items() if spec.enabled}
        for name in [name for name, source in self._sources.items() if source == "profile" and name not in wanted]:
            await self._drop(name)
        for spec in wanted.values():
            view = self._pump.scheduler.books.endpoints.views.get(spec.name)
            if view is None or view.spec != spec:
                await self.start(spec, "profile")

    def rows(self) -> EndpointList:
        """All endpoints by name."""
        books = self._pump.scheduler.books
        reports = books.snapshot(self._pump.clock.now_ms()).reports
        rows = tuple(
            EndpointRow(
                view=view,
                in_flight=books.in_flight.get(name, 0),
                source=self._sources.get(name, "profile"),
                report=reports.get(view.spec.host),
                consecutive_failures=books.endpoints.bad_probes(name),
                warnings=tuple(
                    f"declares {model}, which its listing does not show" for model in books.endpoints.unlisted(name)
                ),
            )
            for name, view in sorted(books.endpoints.views.items())
        )
        return EndpointList(endpoints=rows, now_ms=self._pump.clock.now_ms())

    def _source(self, name: str) -> str:
        source = self._sources.get(name)
        if source is None:
            raise NotFoundError(f"there is no endpoint {name}", remedy=nearest(name, self._sources))
        return source
