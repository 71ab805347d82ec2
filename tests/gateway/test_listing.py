"""What can be called, told to each kind of client; counts of tokens; nothing that a key may not use."""

import msgspec
import pytest

from ostler.domain.catalog import Catalog, EndpointKind, ModelSpec, TierSpec
from ostler.domain.fleet import EndpointView, Health, Resident
from ostler.domain.live import GatewayKey
from ostler.domain.policy import Policy
from tests.gateway.stage import ANTHROPIC_ASK, Desk, Keys, Stage, spec
from tests.gateway.support import Answer, Client, Upstream

CATALOG = Catalog(
    tiers=(
        TierSpec(name="direct", rank=0),
        TierSpec(name="small", rank=1, models=("m",)),
        TierSpec(name="large", rank=2, models=("big",)),
        TierSpec(name="off", rank=3, models=("m",), enabled=False),
    ),
    models={
        "m": ModelSpec(name="m", context_tokens=8_192),
        "big": ModelSpec(name="big"),
        "away": ModelSpec(name="away"),
    },
    model_aliases={"gpt-4": "m", "other": "away"},
)


class Named(Stage):
    """A gateway over two endpoints: one serves `m` and holds it, the other one, of Anthropic's kind, serves `big`."""

    def __init__(self, *script: Answer) -> None:
        super().__init__(Upstream(*script), Desk("a", "anthropic"))
        resident = Resident(model="m", context_tokens=4_096, size_bytes=7, vram_bytes=5)
        views = {
            "a": EndpointView(spec=spec("a"), health=Health.UP, models=frozenset({"m"}), residents=(resident,)),
            "anthropic": EndpointView(
                spec=spec("anthropic", EndpointKind.ANTHROPIC), health=Health.UP, models=frozenset({"big"})
            ),
            "down": EndpointView(spec=spec("down"), health=Health.DOWN, models=frozenset({"away"})),
        }
        keys = Keys()
        keys.known["ost-small"] = GatewayKey(name="small", key_hash="h", created_ms=0, models=("m",), tiers=("small",))
        self.gateway.hub = msgspec.structs.replace(
            self.gateway.hub, policy=lambda: Policy(catalog=CATALOG), views=lambda: views, keys=keys
        )

    async def get(self, path: str, query: str = "", **headers: str) -> Client:
        client = self.client(b"", path, **headers)
        client.line.method = "GET"
        client.line.query = query.encode()
        await self.serve(client)
        return client


ALL = ["auto", "big", "gpt-4", "m", "tier:large", "tier:small"]


async def test_all_that_can_be_named_is_listed_for_each_kind_of_client() -> None:
    """Models that are served, their aliases, tiers that are on, `auto`; nothing of an endpoint that is down."""
    stage = Named()
    openai = (await stage.get("/v1/models")).json()
    assert [row["id"] for row in openai["data"]] == ALL
    anthropic = (await stage.get("/v1/models", anthropic_version="2023-06-01")).json()
    assert [row["id"] for row in anthropic["data"]] == ALL
    assert anthropic["has_more"] is False
    ollama = (await stage.get("/api/tags")).json()
    assert [row["name"] for row in ollama["models"]] == ALL


async def test_a_page_of_the_list_is_as_long_as_asked() -> None:
    """As Anthropic's clients page through it."""
    stage = Named()
    page = (await stage.get("/v1/models", "limit=2&after_id=auto", anthropic_version="x")).json()
    assert [row["id"] for row in page["data"]] == ["big", "gpt-4"]
    assert page["has_more"] is True
    wrong = await stage.get("/v1/models", "limit=lots", anthropic_version="x")
    assert (wrong.status, "lots" in wrong.json()["error"]["message"]) == (400, True)


async def test_a_key_sees_what_it_may_use() -> None:
    """Its models with their aliases, its tiers, and the free choice among them."""
    stage = Named()
    found = (await stage.get("/v1/models", authorization="Bearer ost-small")).json()
    assert [row["id"] for row in found["data"]] == ["auto", "gpt-4", "m", "tier:small"]
    assert (await stage.get("/v1/models", authorization="Bearer ost-unknown")).status == 401


async def test_one_model_by_its_name_or_alias() -> None:
    """`:latest` is the same one; an unknown one is told with the nearest."""
    stage = Named()
    assert (await stage.get("/v1/models/m:latest")).json()["id"] == "m"
    assert (await stage.get("/v1/models/gpt-4")).json()["max_model_len"] == 8_192
    missing = await stage.get("/v1/models/gtp-4")
    assert missing.status == 404
    assert "gpt-4" in missing.json()["error"]["message"]


async def test_what_is_loaded_is_told_with_its_context() -> None:
    """As the endpoint said it."""
    (row,) = (await Named().get("/api/ps")).json()["models"]
    assert (row["name"], row["context_length"], row["size"], row["size_vram"]) == ("m", 4_096, 7, 5)


async def test_a_model_is_shown_in_the_words_of_ollama() -> None:
    """With its window and what it can do; a request without a name is told so."""
    stage = Named()
    shown = (await stage.call({"model": "m"}, "/api/show")).json()
    assert "completion" in shown["capabilities"]
    assert 8_192 in shown["model_info"].values()
    assert (await stage.call({"name": "gpt-4"}, "/api/show")).status == 200
    bodies: list[object] = [{}, b"{", b"[]"]
    for body in bodies:
        refused = await stage.call(body, "/api/show")
        assert refused.status == 400
        assert refused.json()["error"]


async def test_the_version_is_one_that_clients_of_ollama_know() -> None:
    """Three numbers."""
    version = (await Named().get("/api/version")).json()["version"]
    assert len([int(part) for part in version.split(".")]) == 3


async def test_programs_of_ollama_find_a_server() -> None:
    """They ask for the head of the root before anything else."""
    client = Named().client(b"", "/")
    client.line.method = "HEAD"
    stage = Named()
    await stage.serve(client)
    assert (client.status, client.body) == (200, b"")


async def test_tokens_are_counted_by_the_endpoint_that_can() -> None:
    """The request goes on as it came; what comes back is its count."""
    stage = Named(Answer([b'{"input_tokens":17}']))
    counted = await stage.call(ANTHROPIC_ASK | {"model": "big"}, "/v1/messages/count_tokens")
    assert counted.json() == {"input_tokens": 17}
    assert "x-ostler-estimated" not in counted.headers
    assert stage.upstream.sent[0][1].path == "/v1/messages/count_tokens"
    assert not stage.desk.offers, "counting takes no slot"


@pytest.mark.parametrize("model", ["m", "gpt-4", "auto"])
async def test_tokens_are_estimated_elsewhere_and_said_to_be(model: str) -> None:
    """Four characters each."""
    ask = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "x" * 400}]}
    counted = await Named().call(ask, "/v1/messages/count_tokens")
    assert counted.json() == {"input_tokens": 100}
    assert counted.headers["x-ostler-estimated"] == "true"


@pytest.mark.parametrize(("path", "where"), [("/api/chat", "message"), ("/api/generate", "response")])
async def test_asking_for_a_model_without_a_prompt_loads_it(path: str, where: str) -> None:
    """As programs of Ollama do first. A server that is no Ollama has what it has: it is said to be loaded, no slot is
    taken and no call recorded.
    """
    stage = Named()
    loaded = (await stage.call({"model": "gpt-4"}, path)).json()
    assert (loaded["done"], loaded["done_reason"]) == (True, "load")
    assert where in loaded
    unloaded = (await stage.call({"model": "m", "keep_alive": 0}, path)).json()
    assert unloaded["done_reason"] == "unload"
    unknown = await stage.call({"model": "gtp-4"}, path)
    assert unknown.status == 404
    assert "gpt-4" in unknown.json()["error"] or "m" in unknown.json()["error"]
    assert not stage.desk.offers
    assert not stage.book.records


async def test_an_ollama_loads_by_itself() -> None:
    """The request goes on to it like any other."""
    said = (
        b'{"model":"m","created_at":"x","message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}'
    )
    stage = Stage(Upstream(Answer([said + b"\n"])), Desk("ollama"))
    client = await stage.call({"model": "m"}, "/api/chat")
    assert client.json()["done_reason"] == "load"
    assert stage.upstream.sent[0][1].path == "/api/chat"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("PUT", "/api/embed", "POST"),
        ("GET", "/v1/messages", "POST"),
    ],
)
async def test_another_method_is_told_the_right_one(method: str, path: str, allow: str) -> None:
    """In the words of the path's own clients."""
    stage = Named()
    client = stage.client(b"", path)
    client.line.method = method
    await stage.serve(client)
    assert (client.status, client.headers["allow"]) == (405, allow)
    assert allow in str(client.json()["error"])
