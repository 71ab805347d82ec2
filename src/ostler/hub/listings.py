"""What workers list of the endpoints that only they reach: a model server on the loopback address of their machine.

The hub says with each poll what a worker is to look at (`wanted`), the worker sends what it found with its heartbeats
(`take`), and whoever asks for a listing of such an endpoint is given the newest one (`of`), as long as it is fresh.
Instants are the hub's: clocks of two machines are never compared.

Invariant: a listing is taken from a worker on the endpoint's host alone, so that no worker can speak for another's
machine. O(endpoints of its machine) for a poll, O(listings) for a heartbeat; O(endpoints) once when one has changed.
"""

from collections.abc import Sequence

import msgspec

from ostler.domain.catalog import EndpointSpec, Reach
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.hub.pump import Pump
from ostler.scheduling.signals import Probed


class Listings:
    """The newest listing of each such endpoint."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._newest: dict[str, Probe] = {}
        self._asked: dict[str, tuple[EndpointSpec, ...]] = {}
        """Session -> what its worker was asked for last; those that were asked for nothing are not in it."""
        self._on: dict[str, list[EndpointSpec]] = {}
        """Host -> what only its workers reach, as of `_epoch`."""
        self._epoch = -1

    def wanted(self, session_id: str) -> tuple[EndpointSpec, ...]:
        """The endpoints that the worker of a session is to look at."""
        books = self._pump.scheduler.books
        state = books.workers.states.get(session_id)
        if state is None:
            return ()
        if self._epoch != books.endpoints.epoch:
            self._epoch, self._on = books.endpoints.epoch, {}
            for view in books.endpoints.views.values():
                if view.spec.reached_by is Reach.WORKER and view.spec.enabled:
                    self._on.setdefault(view.spec.host, []).append(view.spec)
        return tuple(spec for host in sorted(state.hosts()) for spec in self._on.get(host, ()))

    def has_news(self, session_id: str) -> bool:
        """Whether a worker is to look at something else than it was told: its poll is answered at once."""
        return self.wanted(session_id) != self._asked.get(session_id, ())

    def ask(self, session_id: str) -> tuple[EndpointSpec, ...]:
        """As `wanted`; the worker is told now."""
        wanted = self.wanted(session_id)
        if wanted != self._asked.get(session_id, ()):
            living = self._pump.scheduler.books.workers.states
            self._asked = {session: specs for session, specs in self._asked.items() if session in living}
            self._asked |= {session_id: wanted}
        return wanted

    async def take(self, session_id: str, listings: Sequence[Probe]) -> None:
        """A worker looked; what it was not asked for is passed over."""
        wanted = {spec.name for spec in self.wanted(session_id)} if listings else set()
        for probe in listings:
            if probe.endpoint in wanted:
                heard = msgspec.structs.replace(probe, at_ms=self._pump.clock.now_ms())
                self._newest[heard.endpoint] = heard
                await self._pump.post(Probed(probe=heard))

    def of(self, spec: EndpointSpec) -> Probe:
        """The newest listing of an endpoint; one that tells of an outage when no worker looked for too long."""
        now_ms = self._pump.clock.now_ms()
        newest = self._newest.get(spec.name)
        if newest is not None and now_ms - newest.at_ms <= self._pump.scheduler.books.policy.scheduler.session_dead_ms:
            return newest
        message = f"only a worker on {spec.host} reaches it, and none has looked at it"
        return Probe(endpoint=spec.name, status=ProbeStatus.UNAVAILABLE, at_ms=now_ms, message=message)
