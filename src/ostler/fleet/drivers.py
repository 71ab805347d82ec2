"""The drivers of all kinds behind one shared session: what the composition root makes one of, and closes.

`DriverSet` satisfies `EndpointDriver` itself by handing each endpoint to the driver of its kind.
"""

from collections.abc import AsyncGenerator, Callable, Mapping

from ostler.domain.calls import Completion, Delta, ModelCall
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.clock import Clock
from ostler.domain.fleet import Probe, Resident
from ostler.fleet.anthropic import AnthropicDriver
from ostler.fleet.driver import WireDriver
from ostler.fleet.exchange import Link
from ostler.fleet.http1 import Pool
from ostler.fleet.ollama import OllamaDriver
from ostler.fleet.openai import OpenAIDriver
from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import Transport, always


class DriverSet:
    """One driver for each kind. Belongs to one event loop; close it. `env` holds the keys by name."""

    def __init__(self, env: Mapping[str, str], clock: Clock, settings: DriverSettings | None = None) -> None:
        settings = settings or DriverSettings()
        self._plain = Pool(settings)
        self._transport = Transport(settings, self._plain)
        link = Link(transport=self._transport, clock=clock, settings=settings)
        self._drivers: Mapping[EndpointKind, WireDriver] = {
            EndpointKind.OLLAMA: OllamaDriver(link, env),
            EndpointKind.OPENAI: OpenAIDriver(link, env),
            EndpointKind.ANTHROPIC: AnthropicDriver(link, env),
        }

    def of(self, kind: EndpointKind) -> WireDriver:
        """The driver of a kind."""
        return self._drivers[kind]

    async def probe(self, spec: EndpointSpec) -> Probe:
        """See `EndpointDriver.probe`."""
        return await self.of(spec.kind).probe(spec)

    def chat(
        self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = always
    ) -> AsyncGenerator[Delta | Completion, None]:
        """See `EndpointDriver.chat`. To stop a call, close the iterator (`aclose`) or cancel the task that reads it."""
        return self.of(spec.kind).chat(spec, call, may_send)

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        """See `EndpointDriver.load`."""
        return await self.of(spec.kind).load(spec, model, context_tokens)

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        """See `EndpointDriver.unload`."""
        return await self.of(spec.kind).unload(spec, model)

    async def close(self) -> None:
        """Close all connections; running calls fail. May be called twice."""
        self._plain.close()
        await self._transport.close()
