"""Every route with every kind of token, on loopback and beyond: what the page on the API says is what happens.

The table of the page is the classification. A new route is in none of its rows, and fails here until somebody has
decided who may use it.
"""

import asyncio
import re
from pathlib import Path

import pytest

from ostler.domain.live import GatewayKey
from ostler.hub.key_ring import KeyRing
from ostler.hub.tokens import token_hash
from ostler.server.asgi import Message
from ostler.web.app import build_app
from ostler.web.call import Access
from ostler.web.pages_door import PAGE_PATHS
from ostler.web.routes import OPENAPI_PATH, hub_routes
from tests.hub.house import house
from tests.web.recording_hub import RecordingHub

PAGE = Path("docs/reference/http.md")
TOKENS = {
    "none": None,
    "nonsense": "nonsense",
    "a client's key": "ost-client",
    "an attempt's key": "ost-attempt",
    "a worker's token": "worker-token",
    "a viewer's token": "viewer-token",
    "an admin's token": "admin-token",
}
NOT_OURS = {"none", "nonsense", "a client's key", "an attempt's key"}
VIEWERS = {"a viewer's token", "an admin's token"}
ADMINS = {"an admin's token"}
WORKERS = {"a worker's token", "an admin's token"}


def classified() -> dict[tuple[str, str], str]:
    """The table of the page: (method, path) -> access."""
    found: dict[tuple[str, str], str] = {}
    rows = PAGE.read_text(encoding="utf-8").split("| access | routes |", 1)[1].split("\n\n", 1)[0]
    for row in rows.splitlines()[2:]:
        access, routes = (cell.strip() for cell in row.strip("|").split("|", 1))
        for method, path in re.findall(r"`(GET|POST|DELETE) ([^`]+)`", routes):
            assert (method, path) not in found, f"{method} {path} stands in two rows"
            found[method, path] = access.replace("`", "")
        if access.startswith("page"):
            for path in re.findall(r"`(/[^`]*)`", routes):
                found.update({(method, path): access.replace("`", "") for method in PAGE_PATHS.get(path, ("no",))})
    return found


CLASSES = classified()
_OF_API = ("/hub/", "/admin/", "/healthz", "/metrics")
API = sorted(key for key in CLASSES if key[1].startswith(_OF_API))
PAGES = sorted(key for key in CLASSES if key not in API)


def allowed(access: str, *, public: bool) -> set[str]:
    """Kinds of tokens that get in."""
    everybody = set(TOKENS)
    if access.endswith("open"):
        return everybody
    if access == "worker":
        return WORKERS
    if access == "admin, on loopback too":
        return ADMINS
    if not public:
        return everybody
    return VIEWERS if access.endswith("viewer") else ADMINS


def test_every_route_and_every_page_is_classified() -> None:
    """And nothing is that is not there. The row agrees with the route itself."""
    routes = {(row.method, row.path): row for row in hub_routes()}
    pages = {(method, path) for path, methods in PAGE_PATHS.items() for method in methods}
    assert set(CLASSES) == set(routes) | pages | {("GET", OPENAPI_PATH)}

    for key, row in routes.items():
        own = {
            Access.OPEN: "open",
            Access.WORKER: "worker",
            Access.PRIVATE: "admin",
            Access.KEY: "admin, on loopback too",
            Access.ADMIN: "viewer" if row.method == "GET" else "admin",
        }
        assert CLASSES[key] == own[row.access], key


async def status_of(app: object, key: tuple[str, str], headers: list[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Status and `location` of an answer. The client hangs up at once, so that nothing waits."""
    method, path = key
    asked = re.sub(r"{(\w+)}", lambda name: "1" if name[1] == "attempt" else "x", path)
    body = b"\xff" if method == "POST" else b""  # no body of any kind: who is let in is told so
    said: list[Message] = []
    incoming = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(incoming, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        said.append(message)

    kind = b"application/x-www-form-urlencoded" if asked in ("/act", "/login", "/logout") else b"application/json"
    scope = {
        "type": "http", "method": method, "path": asked, "raw_path": asked.encode(), "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers],
        "client": ("10.0.0.1", 1), "server": ("localhost", 80), "scheme": "http", "http_version": "1.1",
        "root_path": "",
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 10)  # type: ignore[operator]
    if not said:
        return 200, ""  # it had begun, and nobody was there to be told
    return said[0]["status"], dict(said[0].get("headers", ())).get(b"location", b"").decode()


@pytest.mark.parametrize("public", [False, True], ids=["on loopback", "beyond loopback"])
@pytest.mark.parametrize("kind", TOKENS)
async def test_each_route_of_the_api_lets_in_whom_the_table_says(kind: str, public: bool) -> None:
    """401 for what is no token of the hub, 403 for one that is for something else, and nothing of the hub is asked."""
    hub = RecordingHub()
    app = build_app(hub, require_token=public)
    token = TOKENS[kind]
    headers = [(b"authorization", f"Bearer {token}".encode())] if token is not None else []
    for key in API:
        hub.calls.clear()
        status, _ = await status_of(app, key, headers)
        if kind in allowed(CLASSES[key], public=public):
            assert status not in (401, 403), f"{key} refuses {kind}"
        else:
            assert status == (401 if kind in NOT_OURS else 403), f"{key} answers {kind} with {status}"
            assert hub.calls == [], f"{key} asked the hub for {kind}"


@pytest.mark.parametrize("public", [False, True], ids=["on loopback", "beyond loopback"])
@pytest.mark.parametrize("kind", TOKENS)
async def test_each_page_is_shown_to_whom_the_table_says(kind: str, public: bool) -> None:
    """Beyond loopback a browser without a valid cookie is sent to sign in, or told 401, and nothing is asked."""
    hub = RecordingHub()
    app = build_app(hub, require_token=public)
    token = TOKENS[kind]
    headers = [(b"cookie", f"ostler_seat={token}".encode())] if token is not None else []
    for key in PAGES:
        hub.calls.clear()
        status, location = await status_of(app, key, headers)
        turned_away = status == 401 or location.endswith("login")
        if CLASSES[key] != "page: open" and public and kind not in VIEWERS and key != ("POST", "/logout"):
            assert turned_away, f"{key} answers {kind} with {status}"
            assert hub.calls == [], f"{key} asked the hub for {kind}"
        elif key not in (("POST", "/login"), ("POST", "/logout")):
            assert not turned_away, f"{key} turns {kind} away"


async def test_keys_and_tokens_are_not_taken_for_each_other() -> None:
    """A key of the gateway opens nothing of the hub, not even in its store; a token of the hub is no key."""
    async with house() as built:
        made = await built.hub.tokens.make("me", "admin")
        ring = KeyRing(lambda: 0)
        key = GatewayKey(name="k", key_hash=token_hash("ost-client"), created_ms=0)
        ring.put(key)

        assert ring.find("ost-client") is key
        assert ring.find(made.token) is None
        for scope in ("admin", "viewer", "worker"):
            assert not await built.hub.tokens.allowed("ost-client", scope)
