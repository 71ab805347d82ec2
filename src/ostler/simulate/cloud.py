"""A simulated provider: OpenAI's and Anthropic's protocols on one port, with keys, limits, latency and prices."""

import asyncio
import logging

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Scope

from ostler.simulate import cloud_anthropic, cloud_openai
from ostler.simulate.cloud_service import SimulatedCloud
from ostler.simulate.control import OUTAGE, OutageMiddleware, control_routes
from ostler.simulate.exchange import Exchange
from ostler.simulate.server import OnReady, serve
from ostler.simulate.spec import SimulatedCloudSpec

__all__ = ["build_app", "run_cloud"]


def build_app(spec: SimulatedCloudSpec, *, time_factor: float = 1.0) -> Starlette:
    """The provider as an application. Modelled time runs `time_factor` times as fast as real time."""
    cloud = SimulatedCloud(spec, time_factor)
    openai, anthropic = cloud_openai.OpenAIFace(cloud), cloud_anthropic.AnthropicFace(cloud)

    async def models(request: Request) -> Exchange:
        face = anthropic if _is_anthropic(request) else openai
        return await face.models(request)

    async def one_model(request: Request) -> Exchange:
        face = anthropic if _is_anthropic(request) else openai
        return await face.one_model(request)

    def state() -> object:
        return {
            "simulated": True,
            "name": spec.name,
            "time_factor": time_factor,
            "under_way": cloud.model.under_way,
            "counters": cloud.model.counters,
            "faults": cloud.faults.faults,
        }

    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/models/{model:path}", one_model),
            *openai.routes(),
            *anthropic.routes(),
            *control_routes(cloud.faults, cloud.clock, state),
        ],
        middleware=[Middleware(OutageMiddleware, faults=cloud.faults, clock=cloud.clock, error_for=_outage)],
    )


def run_cloud(
    spec: SimulatedCloudSpec,
    host: str = "127.0.0.1",
    port: int = 11500,
    time_factor: float = 1.0,
    on_ready: OnReady | None = None,
) -> None:
    """Serve a simulated provider until the process is told to stop.

    `on_ready` is called with the base URL once it answers. Raises `OSError` if the port is taken.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it reports every cut stream as our mistake
    asyncio.run(serve(build_app(spec, time_factor=time_factor), host, port, on_ready))


def _is_anthropic(request: Request) -> bool:
    return "x-api-key" in request.headers or "anthropic-version" in request.headers


def _outage(scope: Scope) -> object:
    if str(scope["path"]).startswith("/v1/messages"):
        return cloud_anthropic.error_body(503, OUTAGE, "req_simulated")
    return cloud_openai.error_body(OUTAGE, "server_error")
