"""A simulated host: one machine with a memory and some models, speaking Ollama's and OpenAI's protocols on one port."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

from ostler.simulate import host_ollama, host_openai
from ostler.simulate.control import OUTAGE, OutageMiddleware, control_routes
from ostler.simulate.host_service import SimulatedHost
from ostler.simulate.server import OnReady, serve
from ostler.simulate.spec import SimulatedHostSpec

__all__ = ["build_app", "run_host"]


def build_app(spec: SimulatedHostSpec, *, time_factor: float = 1.0) -> Starlette:
    """The host as an application. Modelled time runs `time_factor` times as fast as real time."""
    host = SimulatedHost(spec, time_factor)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        host.engine.close()

    def state() -> object:
        view = host.engine.view()
        lost_ms = view.counters.load_ms + view.counters.unload_ms
        return {
            "simulated": True,
            "name": spec.name,
            "time_factor": time_factor,
            "host": view,
            "lost_to_loads_s": lost_ms / 1000,
            "faults": host.faults.faults,
        }

    return Starlette(
        routes=[
            *host_ollama.OllamaFace(host).routes(),
            *host_openai.OpenAICompatFace(host).routes(),
            *control_routes(host.faults, host.clock, state),
        ],
        middleware=[Middleware(OutageMiddleware, faults=host.faults, clock=host.clock, error_for=_outage)],
        exception_handlers={404: _not_found},
        lifespan=lifespan,
    )


def run_host(
    spec: SimulatedHostSpec,
    host: str = "127.0.0.1",
    port: int = 11434,
    time_factor: float = 1.0,
    on_ready: OnReady | None = None,
) -> None:
    """Serve a simulated host until the process is told to stop.

    `on_ready` is called with the base URL once it answers. Raises `OSError` if the port is taken.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it reports every cut stream as our mistake
    asyncio.run(serve(build_app(spec, time_factor=time_factor), host, port, on_ready))


def _outage(scope: Scope) -> object:
    is_compat = str(scope["path"]).startswith("/v1/")
    return (host_openai if is_compat else host_ollama).error_body(503, OUTAGE)


async def _not_found(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("404 page not found", status_code=404)
