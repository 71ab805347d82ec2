"""The route that puts one model in the place of another: forms and JSON, always with a token, in time or under way."""

import json

import msgspec
import pytest

from ostler.domain.errors import NotFoundError
from ostler.hub.fleet_views import ModelChange, SwapOrder
from ostler.hub.host_desk import SwapFailedError
from tests.web import samples
from tests.web.asking import Answer, ask
from tests.web.recording_hub import ServedHub

PATH = "/admin/swap-model"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WHOLE = SwapOrder(old="qwen-latest", new="qwen-quality", wait_ms=300_000)


ADMIN = "admin-token"


def swap(served: ServedHub, form: str, token: str | None = ADMIN) -> Answer:
    return ask(served, "POST", PATH, form, headers=FORM, token=token)


def test_the_form_of_curl_swaps(served: ServedHub) -> None:
    """What `curl -d 'from=...&to=...'` sends is taken; the answer comes when the model is loaded."""
    got = swap(served, "from=qwen-latest&to=qwen-quality")

    assert (got.status, msgspec.convert(got.body, ModelChange)) == (200, samples.CHANGE)
    assert served.hub.calls == [("swap_model", WHOLE)]


def test_json_says_the_same(served: ServedHub) -> None:
    """A program may send JSON."""
    body = json.dumps({"from": "qwen-latest", "to": "qwen-quality"})

    assert ask(served, "POST", PATH, body, token="admin-token").status == 200
    assert served.hub.calls == [("swap_model", WHOLE)]


def test_all_of_a_form_arrives(served: ServedHub) -> None:
    """Truth values and numbers are read from their text."""
    swap(served, "from=a&to=b&host=box&drain=true&limit_s=2.5")
    swap(served, "from=a&to=b&wait=false")

    order = SwapOrder(old="a", new="b", host="box", drain=True, wait_ms=2_500)
    assert served.hub.calls == [("swap_model", order), ("swap_model", SwapOrder(old="a", new="b"))]


def test_what_is_under_way_is_accepted(served: ServedHub) -> None:
    """When the time to wait is over, the answer is 202 and says what goes on and when it should end."""
    served.hub.change = msgspec.structs.replace(samples.CHANGE, under_way=True, took_ms=None, ready_ms=99)

    got = swap(served, "from=a&to=b&wait=false")

    assert (got.status, got.body["under_way"], got.body["ready_ms"]) == (202, True, 99)


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("nonsense", 401), ("worker-token", 403)])
def test_a_token_for_administration_is_always_needed(
    served: ServedHub, guarded: ServedHub, token: str | None, status: int
) -> None:
    """On loopback too: a form is what any page can send, and only the token shows that it was meant."""
    for hub in (served, guarded):
        got = swap(hub, "from=a&to=b", token)

        assert (got.status, hub.hub.calls) == (status, [])
        assert "--scope admin" in got.error["remedy"] or status == 403 or token


def test_a_page_of_another_site_is_refused_all_the_same(served: ServedHub) -> None:
    """Even with a token the origin counts."""
    headers = {**FORM, "Origin": "https://evil.example"}

    assert ask(served, "POST", PATH, "from=a&to=b", headers=headers, token="admin-token").status == 403


@pytest.mark.parametrize(
    ("form", "where", "message"),
    [
        ("to=b", "form", "object missing required field `from`"),
        ("from=a&to=b&dry=1", "form", "object contains unknown field `dry`"),
        ("from=a&from=c&to=b", "form field `from`", "given more than once"),
        ("from=a&to=b&drain=perhaps", "form field `drain`", "expected `bool`, got `str`"),
        ("from=a&to=b&limit_s=601", "form field `limit_s`", "expected `float` <= 600.0"),
        ("nonsense", "body", "not a valid form"),
        ("", "form", "object missing required field `from`"),
    ],
)
def test_a_form_that_says_nothing_valid_is_refused(served: ServedHub, form: str, where: str, message: str) -> None:
    """Each mistake with its place; nothing is swapped."""
    got = swap(served, form)

    assert (got.status, got.error["where"], got.error["message"]) == (400, where, message)
    assert served.hub.calls == []


def test_a_swap_that_failed_names_itself(served: ServedHub) -> None:
    """The error has the type that clients of old look for, beside the four parts of every error."""
    served.fails_with(SwapFailedError("qwen-latest is working on stable", remedy="try again when its work has ended"))

    got = swap(served, "from=qwen-latest&to=qwen-quality")

    assert got.status == 409
    assert got.body["error"] == {
        "type": "MODEL_SWAP_FAILED",
        "code": "model_swap_failed",
        "message": "qwen-latest is working on stable",
        "where": "",
        "remedy": "try again when its work has ended",
    }


def test_other_errors_have_no_type(served: ServedHub) -> None:
    """An unknown model is no failed swap."""
    served.fails_with(NotFoundError("there is no model qwne"))

    assert swap(served, "from=qwne&to=b").error["code"] == "not_found"


def test_no_other_route_takes_a_form(served: ServedHub) -> None:
    """Loading a model needs no token on loopback, so a form must not reach it."""
    got = ask(served, "POST", "/hub/hosts/box/load", "model=a", headers=FORM, token="admin-token")

    assert (got.status, got.error["code"]) == (415, "wrong_content_type")
