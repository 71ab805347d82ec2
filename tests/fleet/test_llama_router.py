"""Loading and unloading at llama.cpp's router: ordered at once, seen in the listing."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from ostler.domain.calls import CallError
from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass
from ostler.fleet.drivers import DriverSet
from ostler.fleet.llama_router import ListedModel, residents
from tests.fleet.conftest import PLENTY
from tests.fleet.fakes import KEY, KEY_ENV, FakeServer, OpenAIWire, WallClock, serving

WIRE = OpenAIWire()
META = {"n_ctx": 4096, "size": 1_900_000_000}


class Router:
    """llama.cpp's router over two models, as far as an order goes. Each listing moves what is under way one step."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.states = {"a": "unloaded", "b": "loaded"}
        self.steps = 2
        """Listings that show a load or an unload under way."""
        self.exit_code: int | None = None
        self.ending = {"loading": "loaded", "unloading": "unloaded"}
        self._left: dict[str, int] = {}
        fake.handlers["/v1/models"] = self.models
        fake.handlers["/models/load"] = self.load
        fake.handlers["/models/unload"] = self.unload

    async def models(self, _request: web.Request) -> web.StreamResponse:
        rows = [self._row(name) for name in self.states]
        for name, left in list(self._left.items()):
            self._left[name] = left - 1
            if not left:
                self.states[name] = self.ending[self.states[name]]
                del self._left[name]
        return web.json_response({"object": "list", "data": rows})

    def _row(self, name: str) -> dict[str, object]:
        # The router has no word for "unloading": such a model is still listed as loaded.
        state = "loaded" if self.states[name] == "unloading" else self.states[name]
        failed = {"failed": True, "exit_code": self.exit_code} if state == "unloaded" and self.exit_code else {}
        row: dict[str, object] = {"id": name, "owned_by": "llamacpp", "status": {"value": state, **failed}}
        return row | ({"meta": META} if state == "loaded" else {})

    async def load(self, request: web.Request) -> web.StreamResponse:
        return await self._ordered(request, {"unloaded"}, "loading", "model is already running")

    async def unload(self, request: web.Request) -> web.StreamResponse:
        return await self._ordered(request, {"loaded", "loading"}, "unloading", "model is not running")

    async def _ordered(self, request: web.Request, when: set[str], state: str, refusal: str) -> web.StreamResponse:
        name = json.loads(await request.read())["model"]
        if self.states.get(name) not in when:
            error = {"code": 400, "message": refusal, "type": "invalid_request_error"}
            return web.json_response({"error": error}, status=400)
        self.states[name] = state
        self._left[name] = self.steps
        return web.json_response({"success": True})


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    """A router that listens."""
    fake = WIRE.server()
    made = Router(fake)
    async with serving(fake):
        yield made


async def test_the_router_says_what_is_loaded(router: Router, drivers: DriverSet) -> None:
    """With the context it runs with and its size; what sleeps counts, for it comes back with the next call."""
    router.states["a"] = "sleeping"

    probe = await drivers.probe(WIRE.spec(router.fake))

    assert probe.models == ("a", "b")
    assert probe.residents == (
        Resident(model="a"),
        Resident(model="b", context_tokens=4096, size_bytes=1_900_000_000),
    )


async def test_a_load_returns_when_the_model_is_there(router: Router, drivers: DriverSet) -> None:
    """The order is answered at once; the listing says when it is done."""
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)

    assert await drivers.load(spec, "a", 8192) == Resident(model="a", context_tokens=4096, size_bytes=1_900_000_000)
    assert router.states["a"] == "loaded"
    assert router.fake.bodies("/models/load") == [{"model": "a"}]
    assert router.fake.seen[-1].headers["Authorization"] == f"Bearer {KEY}"


async def test_an_unload_returns_when_the_model_is_gone(router: Router, drivers: DriverSet) -> None:
    """The time it takes is part of the swap."""
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)

    assert await drivers.unload(spec, "b") is True
    assert router.states["b"] == "unloaded"
    assert router.fake.bodies("/models/unload") == [{"model": "b"}]


async def test_what_is_done_already_is_no_failure(router: Router, drivers: DriverSet) -> None:
    """The router refuses such an order; somebody else may have given it a moment before."""
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)

    assert await drivers.load(spec, "b") == Resident(model="b", context_tokens=4096, size_bytes=1_900_000_000)
    assert await drivers.unload(spec, "a") is True


async def test_a_load_that_fails_says_how_the_process_ended(router: Router, drivers: DriverSet) -> None:
    """The listing has it; the reason is in the server's log."""
    router.ending["loading"] = "unloaded"
    router.exit_code = 134
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)

    with pytest.raises(CallError, match="could not load a: its process ended with code 134") as caught:
        await drivers.load(spec, "a")
    assert caught.value.kind is FailureClass.SERVER


async def test_a_model_that_the_router_does_not_have_is_named(router: Router, drivers: DriverSet) -> None:
    """Not waited for; the server itself says only that a file is not there."""
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)

    with pytest.raises(CallError, match="no model nobody to load; valid: a, b"):
        await drivers.load(spec, "nobody")


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_the_wait_is_bounded(router: Router, verb: str) -> None:
    """A model that never comes, or never goes, is a failure with its name."""
    router.steps = 10_000
    short = msgspec.structs.replace(PLENTY, load_timeout_ms=150, unload_timeout_ms=150)
    drivers = DriverSet({KEY_ENV: KEY}, WallClock(), short)
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)

    with pytest.raises(CallError) as caught:
        await (drivers.load(spec, "a") if verb == "load" else drivers.unload(spec, "b"))

    assert caught.value.kind is FailureClass.TIMEOUT
    await drivers.close()


async def test_a_server_that_became_another_one_is_told_nothing(router: Router, drivers: DriverSet) -> None:
    """At the same address there is now one that serves a single model: it cannot load, and its listing says so."""
    spec = WIRE.spec(router.fake)
    await drivers.probe(spec)
    del router.fake.handlers["/v1/models"]
    router.fake.routes["/v1/models"] = {"data": [{"id": "only"}]}
    await drivers.probe(spec)

    assert await drivers.load(spec, "a") is None
    assert await drivers.unload(spec, "a") is False
    assert router.fake.bodies("/models/load") == []


@pytest.mark.parametrize(
    ("status", "held"),
    [({"value": "loaded"}, ("m",)), ({"value": "loading"}, ()), ({"value": 7}, None), ("loaded", None), (None, None)],
)
def test_only_a_router_is_believed_to_say_what_it_holds(status: object, held: tuple[str, ...] | None) -> None:
    """A listing of another shape says nothing of memory."""
    found = residents([ListedModel(id="m", status=status)])

    assert (None if found is None else tuple(resident.model for resident in found)) == held
