"""What is found on a machine without a profile. Loopback only, with servers on ports of our own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from ostler.domain.catalog import EndpointKind
from ostler.fleet.discover import Discovery, Ports, discover, is_own_network, ollama_url
from tests.fleet.fakes import FakeServer, OllamaWire, OpenAIWire, WallClock, serving


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


class Machine:
    """Ports of a machine; nothing runs until a server is put there."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.timeout_ms = 10_000
        self.ports: dict[str, int] = {name: free_port() for name in ("ollama", "llamacpp", "vllm")}

    async def run(self, name: str, server: FakeServer) -> FakeServer:
        running = await self.stack.enter_async_context(serving(server))
        if name in self.ports:
            self.ports[name] = int(running.url.rpartition(":")[2])
        return running

    async def look(self, env: dict[str, str] | None = None) -> Discovery:
        return await asyncio.wait_for(
            discover(env or {}, WallClock(), host="here", ports=Ports(**self.ports), timeout_ms=self.timeout_ms), 20.0
        )


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    async with AsyncExitStack() as stack:
        yield Machine(stack)


async def test_an_empty_machine_says_what_to_do(machine: Machine) -> None:
    """One line for each place, each with a way out."""
    found = await machine.look()

    assert (found.endpoints, found.cloud, found.models) == ((), (), ())
    text = "\n".join(found.lines)
    for remedy in ("ollama serve", "OLLAMA_HOST", "llama-server -m", "vllm serve", "no cloud key"):
        assert remedy in text
    assert len(found.lines) == 4


async def test_what_runs_is_found(machine: Machine) -> None:
    """With its models, as endpoints that can be used as they are."""
    ollama = OllamaWire().server()
    ollama.routes["/api/ps"] = {"models": [{"name": "small:1b"}]}
    await machine.run("ollama", ollama)
    await machine.run("vllm", OpenAIWire().server())

    found = await machine.look({"OLLAMA_NUM_PARALLEL": "4"})

    by_name = {spec.name: spec for spec in found.endpoints}
    assert set(by_name) == {"ollama", "vllm"}
    assert by_name["ollama"].kind is EndpointKind.OLLAMA
    assert by_name["vllm"].kind is EndpointKind.OPENAI
    assert by_name["ollama"].slots == 4
    assert all(spec.local and spec.host == "here" for spec in found.endpoints)
    assert found.models == ("small:1b", "big")
    assert any("2 models, 1 loaded (small:1b, big)" in line for line in found.lines)
    assert any(line.startswith("no llama.cpp") for line in found.lines)


async def test_ollama_may_be_elsewhere(machine: Machine) -> None:
    """Where its own variable says."""
    server = await machine.run("elsewhere", OllamaWire().server())

    found = await machine.look({"OLLAMA_HOST": server.url.removeprefix("http://")})

    assert [spec.url for spec in found.endpoints] == [server.url]


async def test_a_server_without_models_is_found_and_said(machine: Machine) -> None:
    """It is there, and of no use yet."""
    server = OllamaWire().server()
    server.routes["/api/tags"] = {"models": []}
    await machine.run("ollama", server)

    found = await machine.look()

    assert len(found.endpoints) == 1
    assert any("ollama pull" in line for line in found.lines)


async def test_one_server_is_one_endpoint(machine: Machine) -> None:
    """Ollama on the port of another server speaks both protocols."""
    server = OllamaWire().server()
    server.routes["/v1/models"] = OpenAIWire.listing
    running = await machine.run("llamacpp", server)

    found = await machine.look({"OLLAMA_HOST": running.url})

    assert [spec.name for spec in found.endpoints] == ["ollama"]


async def test_some_other_program_on_a_port_is_no_endpoint(machine: Machine) -> None:
    """Port 8080 is everybody's."""
    server = FakeServer("/none")
    server.routes["/v1/models"] = web.Response(text="<!doctype html>", content_type="text/html")
    await machine.run("llamacpp", server)

    found = await machine.look()

    assert found.endpoints == ()
    assert any("does not look like an OpenAI-compatible server" in line for line in found.lines)


async def test_a_server_that_wants_a_key(machine: Machine) -> None:
    """Its line names the variable; with it the key is used."""
    server = OpenAIWire().server()

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer k":
            return web.json_response({"error": "Unauthorized"}, status=401)
        return web.json_response(OpenAIWire.listing)

    del server.routes["/v1/models"]
    server.handlers["/v1/models"] = guarded
    await machine.run("vllm", server)

    without = await machine.look()
    with_key = await machine.look({"VLLM_API_KEY": "k"})

    assert without.endpoints == ()
    assert any("set VLLM_API_KEY" in line for line in without.lines)
    assert [spec.api_key_env for spec in with_key.endpoints] == ["VLLM_API_KEY"]


async def test_a_silent_server_does_not_hold_up_the_start(machine: Machine) -> None:
    """All places together take no longer than the limit, and the others are found."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    silent = FakeServer("/none")
    silent.handlers["/v1/models"] = hang
    await machine.run("llamacpp", silent)
    await machine.run("ollama", OllamaWire().server())
    machine.timeout_ms = 1_000

    found = await machine.look()

    assert [spec.name for spec in found.endpoints] == ["ollama"]
    assert any("within 1 s" in line for line in found.lines)


async def test_keys_are_noted_and_not_used(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is no permission to spend: nothing leaves this machine, and nothing is counted as an endpoint."""
    resolved: list[object] = []
    loop = asyncio.get_running_loop()

    async def no_names(host: object, *_args: object, **_options: object) -> object:
        resolved.append(host)
        raise socket.gaierror

    monkeypatch.setattr(loop, "getaddrinfo", no_names)
    keys = {"ANTHROPIC_API_KEY": "sk-a", "OPENAI_API_KEY": "sk-o", "GEMINI_API_KEY": "  "}

    found = await machine.look(keys)

    assert {spec.provider: spec.kind for spec in found.cloud} == {
        "anthropic": EndpointKind.ANTHROPIC,
        "openai": EndpointKind.OPENAI,
    }
    assert all(not spec.local and spec.api_key_env in keys for spec in found.cloud)
    assert found.endpoints == ()
    assert set(resolved) <= {"127.0.0.1"}
    assert not any("sk-" in line for line in found.lines)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("10.0.0.7:9999", "http://10.0.0.7:9999"),
        (":9999", "http://127.0.0.1:9999"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104 -- read, never bound
        ("http://0.0.0.0:11434/", "http://127.0.0.1:11434"),
        ("https://box.example", "https://box.example:443"),
        ("http://box.example", "http://box.example:80"),
        ('"box:1"', "http://box:1"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:9999", "http://[::1]:9999"),
        ("::", "http://127.0.0.1:11434"),
        ("box:99999", "http://box:11434"),
        ("box:http", "http://box:11434"),
        ("box/path", "http://box:11434"),
    ],
)
def test_the_variable_of_ollama_is_read_as_ollama_reads_it(setting: str, expected: str) -> None:
    """With or without scheme and port; an address to listen on everywhere means this machine."""
    assert ollama_url(setting) == expected


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://192.168.1.5", True),
        ("http://100.101.102.103:11434", True),
        ("http://[fd00::1]:1", True),
        ("http://box:11434", True),
        ("http://studio.local:11434", True),
        ("https://ollama.com", False),
        ("http://8.8.8.8", False),
        ("http://box.example", False),
        ("http://", False),
    ],
)
def test_data_stays_only_where_it_is_certain(url: str, own: bool) -> None:
    """A name that could be anybody's is not the user's own network."""
    assert is_own_network(url) is own
