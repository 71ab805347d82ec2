"""Our own paths of a simulated server, plainly apart from the protocols it imitates.

* `GET /simulate/state`: what is going on inside, and what it has counted.
* `GET /simulate/faults`, `POST /simulate/faults` with `{"faults": [...]}`: read, or replace as a whole.

`OutageMiddleware` answers 503 on every other path while a fault says so.
"""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ostler.domain.errors import InvalidInputError
from ostler.simulate.clock import ScaledClock
from ostler.simulate.exchange import Exchange, json_exchange
from ostler.simulate.faults import Fault, FaultBoard
from ostler.simulate.spec import spec_from

OWN_PATHS = "/simulate/"
OUTAGE = "simulated outage"


class FaultList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /simulate/faults`."""

    faults: tuple[Fault, ...]


class OutageMiddleware:
    """Answers 503 with `error_for(path)` while the fault board says the server is down."""

    def __init__(
        self, app: ASGIApp, faults: FaultBoard, clock: ScaledClock, error_for: Callable[[Scope], object]
    ) -> None:
        self._app = app
        self._faults = faults
        self._clock = clock
        self._error_for = error_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        is_ours = scope["type"] != "http" or scope["path"].startswith(OWN_PATHS)
        if is_ours or not self._faults.is_down(self._clock.now_ms()):
            await self._app(scope, receive, send)
        else:
            await json_exchange(503, self._error_for(scope))(scope, receive, send)


def control_routes(faults: FaultBoard, clock: ScaledClock, state: Callable[[], object]) -> list[Route]:
    """The routes under `/simulate/`."""

    async def get_state(_request: Request) -> Exchange:
        return json_exchange(200, state())

    async def get_faults(_request: Request) -> Exchange:
        return json_exchange(200, FaultList(faults.faults))

    async def post_faults(request: Request) -> Exchange:
        try:
            raw = msgspec.json.decode(await request.body())
            wanted = spec_from(raw, FaultList, where="POST /simulate/faults")
        except (msgspec.DecodeError, InvalidInputError) as error:
            return json_exchange(400, {"error": str(error)})
        faults.replace(wanted.faults, clock.now_ms())
        return json_exchange(200, FaultList(faults.faults))

    return [
        Route("/simulate/state", get_state, methods=["GET"]),
        Route("/simulate/faults", get_faults, methods=["GET"]),
        Route("/simulate/faults", post_faults, methods=["POST"]),
    ]
