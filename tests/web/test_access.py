"""Who may do what: tokens, and requests that come through another site."""

import pytest

from ostler.domain.sites import host_name, is_loopback, is_same_site
from ostler.web.app import build_app
from ostler.web.call import Access
from ostler.web.routes import hub_routes
from tests.web.asking import ask
from tests.web.recording_hub import RecordingHub, ServedHub, served_hub

ROUTES = {
    Access.OPEN: ("GET", "/healthz", None),
    Access.ADMIN: ("GET", "/hub/status", None),
    Access.PRIVATE: ("GET", "/hub/tokens", None),
    Access.WORKER: ("POST", "/hub/workers/s-1/leave", None),
    Access.KEY: ("POST", "/admin/swap-model", '{"from": "a", "to": "b"}'),
}

MATRIX = [
    # access, a token is required, token, status
    (Access.OPEN, False, None, 200),
    (Access.OPEN, True, None, 200),
    (Access.ADMIN, False, None, 200),
    (Access.ADMIN, False, "nonsense", 200),
    (Access.ADMIN, True, None, 401),
    (Access.ADMIN, True, "nonsense", 401),
    (Access.ADMIN, True, "worker-token", 403),
    (Access.ADMIN, True, "viewer-token", 200),
    (Access.ADMIN, True, "admin-token", 200),
    (Access.PRIVATE, False, None, 200),
    (Access.PRIVATE, True, None, 401),
    (Access.PRIVATE, True, "worker-token", 403),
    (Access.PRIVATE, True, "viewer-token", 403),
    (Access.PRIVATE, True, "admin-token", 200),
    (Access.WORKER, False, None, 401),
    (Access.WORKER, False, "nonsense", 401),
    (Access.WORKER, False, "worker-token", 200),
    (Access.WORKER, True, None, 401),
    (Access.WORKER, True, "viewer-token", 403),
    (Access.WORKER, True, "worker-token", 200),
    (Access.WORKER, True, "admin-token", 200),
    (Access.KEY, False, None, 401),
    (Access.KEY, False, "nonsense", 401),
    (Access.KEY, False, "worker-token", 403),
    (Access.KEY, False, "admin-token", 200),
    (Access.KEY, True, None, 401),
    (Access.KEY, True, "viewer-token", 403),
    (Access.KEY, True, "worker-token", 403),
    (Access.KEY, True, "admin-token", 200),
]


def test_a_token_for_looking_changes_nothing(guarded: ServedHub) -> None:
    """It may ask everything; what would change something is refused with the scope that is needed."""
    looked = ask(guarded, "GET", "/hub/tasks", token="viewer-token")
    changed = ask(guarded, "POST", "/hub/tasks/t-one/cancel", token="viewer-token")

    assert looked.status == 200
    assert changed.status == 403
    assert "may look, but not change" in changed.error["message"]
    assert [call[0] for call in guarded.hub.calls] == ["tasks"]


def test_a_token_for_looking_is_told_what_it_may_not_see(guarded: ServedHub) -> None:
    """Who may come in is for those to see who decide it."""
    got = ask(guarded, "GET", "/hub/tokens", token="viewer-token")

    assert got.error["message"] == "this token may look, but not see this"
    assert "`admin`" in got.error["remedy"]


@pytest.mark.parametrize(("access", "required", "token", "status"), MATRIX)
def test_a_route_is_open_to_whom_the_table_says(
    served: ServedHub, guarded: ServedHub, access: Access, required: bool, token: str | None, status: int
) -> None:
    """Remote workers always present a token; people only where other machines can reach the hub."""
    hub = guarded if required else served

    got = ask(hub, *ROUTES[access], token=token)

    assert got.status == status
    if status >= 400:
        assert hub.hub.calls == []
        assert got.error["code"] == ("unauthenticated" if status == 401 else "not_allowed")
        assert ("www-authenticate" in got.headers) == (status == 401)


def test_every_route_but_health_asks_for_a_token_when_other_machines_can_reach_the_hub(guarded: ServedHub) -> None:
    """Nothing slips past: each route of the table refuses a request without a token before it reads anything else."""
    for row in hub_routes():
        got = ask(guarded, row.method, row.path.format(id="x", name="x", session="x", run="x", host="x", attempt="1"))
        assert got.status == (200 if row.access is Access.OPEN else 401), row.path

    assert guarded.hub.calls == []


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic d29ya2VyLXRva2Vu", "worker-token"])
def test_an_authorization_that_is_no_bearer_token_is_none(served: ServedHub, header: str) -> None:
    """Only `Bearer` with a token counts."""
    got = ask(served, "POST", "/hub/workers/s-1/leave", headers={"Authorization": header})

    assert got.status == 401
    assert "tokens create" in got.error["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/metrics", "viewer"),
        ("GET", "/hub/tasks", "viewer"),
        ("GET", "/hub/tokens", "admin"),
        ("POST", "/hub/tasks", "admin"),
    ],
)
def test_who_has_no_token_is_told_of_the_one_that_allows_the_least(
    guarded: ServedHub, method: str, path: str, scope: str
) -> None:
    """A scraper of metrics needs no token that may act."""
    answer = ask(guarded, method, path)

    assert answer.status == 401
    assert f"--scope {scope}`" in answer.error["remedy"]


def test_a_refusal_does_not_repeat_the_token(guarded: ServedHub) -> None:
    """A wrong token is still a secret: it is in no part of the answer."""
    got = ask(guarded, "GET", "/hub/status", token="sk-very-secret")

    assert "sk-very-secret" not in str(got.body) + str(got.headers)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "localhost.evil.example:{port}", "10.0.0.9"])
def test_a_rebound_name_is_refused(served: ServedHub, host: str) -> None:
    """A page whose own name resolves to loopback reads nothing: the `Host` it must send is not ours."""
    got = ask(served, "GET", "/hub/status", headers={"Host": host.format(port=served.port)})

    assert (got.status, got.error["code"], got.error["where"]) == (403, "wrong_site", "Host header")
    assert served.hub.calls == []


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_every_name_of_loopback_is_ours(served: ServedHub, host: str) -> None:
    """However a person spells this machine, the hub answers."""
    assert ask(served, "GET", "/hub/status", headers={"Host": host.format(port=served.port)}).status == 200


def test_a_named_host_is_ours_too() -> None:
    """A hub may be told further names; others stay refused."""
    with served_hub(hosts=["Box.local"]) as served:
        assert ask(served, "GET", "/hub/status", headers={"Host": "box.local:80"}).status == 200
        assert ask(served, "GET", "/hub/status", headers={"Host": "other.local:80"}).status == 403


def test_with_tokens_and_no_names_any_host_is_answered(guarded: ServedHub) -> None:
    """Where each request needs a token, no browser can be tricked, so a proxy in between may use any name."""
    got = ask(guarded, "GET", "/hub/status", headers={"Host": "ostler.example"}, token="admin-token")

    assert got.status == 200


def test_names_are_checked_beside_tokens_when_they_are_given() -> None:
    """Given names hold with tokens too."""
    with served_hub(require_token=True, hosts=["box"]) as served:
        headers = {"Host": "other"}
        assert ask(served, "GET", "/hub/status", headers=headers, token="admin-token").status == 403


ORIGINS = [
    ("https://evil.example", 403),
    ("http://localhost:3000", 403),
    ("null", 403),
    ("", 403),
    ("http://127.0.0.1:{port}", 200),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
def test_a_page_of_another_site_changes_nothing(served: ServedHub, origin: str, status: int) -> None:
    """A request that could change something must come from our own pages, or from no page at all."""
    headers = {"Origin": origin.format(port=served.port)}

    assert ask(served, "POST", "/hub/tasks/t-one/cancel", headers=headers).status == status
    assert len(served.hub.calls) == (1 if status == 200 else 0)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_that_a_form_could_send_is_refused(served: ServedHub, kind: str) -> None:
    """Only JSON, called JSON, is taken: a form cannot call its body so."""
    got = ask(served, "POST", "/hub/tasks", b'{"tasks":[{"id":"a"}]}', headers={"Content-Type": kind})

    assert (got.status, got.error["code"]) == (415, "wrong_content_type")
    assert served.hub.calls == []


def test_a_content_type_with_a_charset_is_json_too(served: ServedHub) -> None:
    """Parameters of the content type do not matter."""
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}

    assert ask(served, "POST", "/hub/tasks", b'{"tasks":[{"id":"a"}]}', headers=headers).status == 201


def test_building_the_application_asks_the_hub_nothing() -> None:
    """The application can be built before the hub is ready."""
    hub = RecordingHub()

    build_app(hub, require_token=False)

    assert hub.calls == []


@pytest.mark.parametrize(
    ("header", "name"),
    [("localhost", "localhost"), ("A.B.:80", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", "")],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    """Port, brackets, case and the final dot do not belong to the name."""
    assert host_name(header) == name


def test_only_this_machine_is_loopback() -> None:
    """Names that merely begin or end like loopback are not it."""
    assert [name for name in ("localhost", "127.0.0.1", "127.9.9.9", "::1") if not is_loopback(name)] == []
    assert [name for name in ("", "10.0.0.1", "127.0.0.1.evil", "xlocalhost", "::2") if is_loopback(name)] == []


def test_an_origin_is_ours_only_with_the_same_port() -> None:
    """Another service of the same machine is another site."""
    assert is_same_site("http://box:1", "box:1")
    assert is_same_site("https://BOX", "box")
    assert not is_same_site("http://box:2", "box:1")
    assert not is_same_site("file://", "")
    assert not is_same_site("http://", "")
