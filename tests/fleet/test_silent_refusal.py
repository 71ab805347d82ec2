"""A server that answers a prompt it cannot take with status 200 and an empty stream is asked what is wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ostler.domain.calls import CallError, Message, ModelCall
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.states import FailureClass
from ostler.fleet.drivers import DriverSet
from ostler.workers.timing import SystemTiming

TOO_LONG = {"error": {"message": "too many tokens", "code": "context_length_exceeded", "type": "invalid_request_error"}}
CALL = ModelCall(model="m", messages=(Message(role="user", text="a" * 100),))


class Server:
    """Streams nothing; unstreamed it says what it was told to say."""

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body = body
        self.asked: list[dict[str, object]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat."""
        asked = await request.json()
        self.asked.append(asked)
        if asked["stream"]:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
            return stream
        return web.json_response(self.body, status=self.status)


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[EndpointSpec]:
    """The endpoint of a server."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield EndpointSpec(
            name="e", kind=EndpointKind.OPENAI, url=f"http://127.0.0.1:{port}", provider="p", host="h", local=True
        )
    finally:
        await runner.cleanup()


async def failure(server: Server) -> CallError:
    """How a call of it fails."""
    drivers = DriverSet({}, SystemTiming())
    try:
        async with served(server) as spec, asyncio.timeout(10):
            with pytest.raises(CallError) as caught:
                async for _ in drivers.chat(spec, CALL):
                    pass
    finally:
        await drivers.close()
    return caught.value


async def test_the_refusal_that_the_stream_left_out_is_the_failure() -> None:
    """Asked once more, for one token."""
    server = Server(400, TOO_LONG)
    error = await failure(server)

    assert error.kind is FailureClass.CONTEXT_TOO_LONG
    assert [one["stream"] for one in server.asked] == [True, False]
    assert server.asked[1]["max_tokens"] == 1


@pytest.mark.parametrize(("status", "body"), [(200, {"choices": []}), (500, {"error": "x"}), (429, {"error": "x"})])
async def test_anything_else_leaves_the_cut_as_it_was(status: int, body: object) -> None:
    """Only a refusal of the call explains the silence."""
    error = await failure(Server(status, body))

    assert error.kind is FailureClass.CUT
    assert not error.emitted
