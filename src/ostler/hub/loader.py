"""Carries out loads and unloads through the drivers, and tells the scheduler how each one ended; decides nothing.

One task for each effect; the scheduler gives out at most one at a time for a host. Every effect is answered by exactly
one signal, whatever a driver does, because the host is closed for others until then. Only a hub that stops leaves one
unanswered: the load goes on at the engine, and the next hub sees it in its first listing.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from ostler.domain.calls import CallError
from ostler.domain.catalog import EndpointSpec
from ostler.domain.clock import Clock
from ostler.domain.fleet import ModelAt, Resident, Unloaded
from ostler.domain.states import Failure, FailureClass
from ostler.hub.errands import Errands
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.signals import LoadEnded, UnloadEnded

log = structlog.get_logger(__name__)


class Drivers(Protocol):
    """The part of the drivers that is needed here."""

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        """See `EndpointDriver.load`."""
        ...

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        """See `EndpointDriver.unload`."""
        ...


SpecOf = Callable[[str], EndpointSpec | None]
"""The endpoint of a name, `None` when it was removed meanwhile."""
Post = Callable[[LoadEnded | UnloadEnded], Coroutine[Any, Any, object]]


class Loader:
    """Runs loads and unloads until it is closed."""

    def __init__(
        self, drivers: Drivers, spec_of: SpecOf, post: Post, clock: Clock, closed_because: Callable[[], str] = str
    ) -> None:
        self._drivers = drivers
        self._spec_of = spec_of
        self._post = post
        self._clock = clock
        self._closed_because = closed_because
        """Why nothing may be begun at an engine; empty while it may."""
        self._errands = Errands("a load or unload")

    def begin(self, effect: LoadModel | UnloadModel) -> None:
        """Start to carry an effect out."""
        work = self._load(effect) if isinstance(effect, LoadModel) else self._unload(effect)
        _ = self._errands.begin(work)

    async def close(self) -> None:
        """Stop waiting for what is under way."""
        await self._errands.stop()

    async def _load(self, effect: LoadModel) -> None:
        started_ms = self._clock.now_ms()
        gone: list[Unloaded] = []
        failure: Failure | None = None
        resident: Resident | None = None
        load_ms = 0
        try:
            for at in effect.evict:
                await self._out(at, gone)
            begun_us = self._clock.stopwatch_us()
            resident = await self._in(effect)
            load_ms = (self._clock.stopwatch_us() - begun_us) // 1_000
        except CallError as error:
            failure = self._failure(error)
        except Exception:  # boundary: a driver must not raise anything else; the host must not stay closed for it
            log.exception("load failed", endpoint=effect.endpoint, model=effect.model)
            failure = self._odd()
        await self._post(
            LoadEnded(
                endpoint=effect.endpoint,
                model=effect.model,
                context_tokens=effect.context_tokens,
                started_ms=started_ms,
                at_ms=self._clock.now_ms(),
                load_ms=load_ms,
                unloaded=tuple(gone),
                resident=resident,
                failure=failure,
            )
        )

    async def _unload(self, effect: UnloadModel) -> None:
        started_ms = self._clock.now_ms()
        failure: Failure | None = None
        unload_ms = 0
        try:
            gone: list[Unloaded] = []
            await self._out(ModelAt(effect.endpoint, effect.model), gone)
            unload_ms = gone[0].unload_ms
        except CallError as error:
            failure = self._failure(error)
        except Exception:  # boundary: as for a load
            log.exception("unload failed", endpoint=effect.endpoint, model=effect.model)
            failure = self._odd()
        await self._post(
            UnloadEnded(
                endpoint=effect.endpoint,
                model=effect.model,
                started_ms=started_ms,
                at_ms=self._clock.now_ms(),
                unload_ms=unload_ms,
                failure=failure,
            )
        )

    async def _in(self, effect: LoadModel) -> Resident:
        """Have a model come. Raises `CallError`."""
        resident = await self._drivers.load(self._spec(effect.endpoint), effect.model, effect.context_tokens)
        if resident is None:
            raise CallError(FailureClass.CAPABILITY, f"{effect.endpoint} cannot load a model on request")
        return resident

    async def _out(self, at: ModelAt, gone: list[Unloaded]) -> None:
        """Have a model leave, and note it. Raises `CallError`."""
        begun_us = self._clock.stopwatch_us()
        if not await self._drivers.unload(self._spec(at.endpoint), at.model):
            raise CallError(FailureClass.CAPABILITY, f"{at.endpoint} cannot unload a model on request")
        took_ms = (self._clock.stopwatch_us() - begun_us) // 1_000
        gone.append(Unloaded(endpoint=at.endpoint, model=at.model, unload_ms=took_ms))

    def _spec(self, endpoint: str) -> EndpointSpec:
        closed = self._closed_because()
        if closed:
            raise CallError(FailureClass.ENVIRONMENT, closed)
        spec = self._spec_of(endpoint)
        if spec is None:
            raise CallError(FailureClass.ENDPOINT_DOWN, f"endpoint {endpoint} was removed")
        return spec

    def _failure(self, error: CallError) -> Failure:
        return Failure(kind=error.kind, message=error.message, at_ms=self._clock.now_ms())

    def _odd(self) -> Failure:
        message = "the load itself went wrong; see the log"
        return Failure(kind=FailureClass.ENVIRONMENT, message=message, at_ms=self._clock.now_ms())
