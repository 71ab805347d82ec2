"""The gateway put together over a running hub, in front of the hub's own pages and API."""

from ostler.app.http import Front
from ostler.app.hub_parts import HubParts
from ostler.config.settings import GatewaySettings, KeyRule
from ostler.fleet.settings import DriverSettings
from ostler.fleet.upstream import UpstreamSet
from ostler.gateway.description import paths
from ostler.gateway.face import Face
from ostler.gateway.inbound import Door
from ostler.gateway.ports import Hub
from ostler.gateway.service import Gateway
from ostler.hub.call_ids import new_call_id
from ostler.hub.live_desk import LiveDesk
from ostler.hub.sign_ins import SignIns
from ostler.workers.timing import Timing


class GatewayParts:
    """A gateway with the connections it owns. `stop` it before the hub."""

    def __init__(
        self,
        parts: HubParts,
        settings: GatewaySettings,
        timing: Timing,
        limits: DriverSettings,
        *,
        public: bool,
        sign_ins: SignIns,
    ) -> None:
        self._settings = settings
        self._desk = LiveDesk(parts.pump)
        self._upstream = UpstreamSet(parts.drivers, limits)
        key_needed = public or settings.require_key is KeyRule.ALWAYS
        books = parts.pump.scheduler.books
        hub = Hub(
            desk=self._desk,
            keys=parts.hub.gateway.ring,
            book=parts.hub.gateway.book,
            upstream=self._upstream,
            clock=timing,
            policy=lambda: books.policy,
            views=lambda: books.endpoints.views,
            new_id=lambda: new_call_id(timing.now_ms()),
            settings=settings,
            key_needed=key_needed,
            trace_of=parts.traces.trace_of,
            sign_ins=sign_ins,
        )
        self.gateway = Gateway(hub, Door(None if key_needed else ()))

    def front(self) -> Front:
        """What the server puts in front of the hub's own application."""
        return Front(take=Face(self.gateway).take, paths=paths())

    async def stop(self) -> None:
        """Take nothing more in, let answers end within their grace. Safe to repeat."""
        await self.gateway.stop(self._settings.drain_ms / 1_000)
        self._desk.close()
        await self._upstream.close()
