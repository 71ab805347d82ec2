"""Who may look and who may act where other machines can reach the hub."""

import pytest

from ostler.web.pages.site import _is_ours
from tests.web.pages.browsing import Browser
from tests.web.recording_hub import ServedHub


@pytest.fixture
def browser(guarded: ServedHub) -> Browser:
    return Browser(guarded)


@pytest.mark.parametrize("path", ["/", "/tasks/t-one", "/money", "/calls"])
def test_without_a_token_every_page_leads_to_the_sign_in(browser: Browser, path: str) -> None:
    """And says nothing about the hub."""
    got = browser.get(path)

    assert got.status == 303
    assert got.headers["location"].endswith("login")
    assert browser.served.hub.calls == []
    assert "Sign in" in browser.get("/login").words


def test_a_token_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(browser: Browser) -> None:
    """`HttpOnly` and `SameSite`; behind a proxy with TLS it never leaves it in the clear."""
    plain = browser.sign_in("admin-token").cookie
    behind_tls = browser.post("/login", {"token": "admin-token"}, X_Forwarded_Proto="https").cookie

    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Secure" not in plain
    assert "Secure" in behind_tls


def test_who_signed_in_comes_to_the_page_that_was_wanted(browser: Browser) -> None:
    """With its query."""
    browser.get("/tasks?state=bad")
    got = browser.sign_in("admin-token")

    assert got.status == 303
    assert got.headers["location"] == "./tasks?state=bad"
    assert browser.get("/tasks?state=bad").status == 200


def test_a_page_whose_name_is_in_no_latin_letters_leads_to_the_sign_in_and_back(browser: Browser) -> None:
    """A cookie holds a few letters only."""
    assert browser.get("/tasks/%E2%82%AC").status == 303
    got = browser.sign_in("admin-token")

    assert got.headers["location"] == "./tasks/%E2%82%AC"


def test_a_wanted_page_that_cannot_be_read_is_the_start_page(browser: Browser) -> None:
    """The cookie is what a browser says it is."""
    browser.cookies["ostler_seat_next"] = "http://["

    assert browser.sign_in("admin-token").headers["location"] == "./"


@pytest.mark.parametrize("token", ["", "nonsense", "worker-token", "é"])
def test_what_is_no_token_for_people_opens_nothing(browser: Browser, token: str) -> None:
    """A worker's token is for workers."""
    got = browser.sign_in(token)

    assert got.status == 401
    assert "not valid here" in got.words
    assert browser.get("/").status == 303


def test_a_viewer_sees_everything_and_can_do_nothing(browser: Browser) -> None:
    """The pages offer no verb, and a form made by hand is refused."""
    browser.sign_in("viewer-token")
    page = browser.get("/")
    token = browser.form_token()
    browser.served.hub.calls.clear()
    got = browser.post("/act", {"form_token": token, "sure": "yes", "verb": "cancel", "name": "t-one"})

    assert page.status == 200
    assert "data-act" not in page.text
    assert "may look only" in page.words
    assert got.status == 403
    assert browser.served.hub.calls == []


def test_an_operator_may_act(browser: Browser) -> None:
    """With the token of scope `admin`."""
    browser.sign_in("admin-token")

    assert browser.act("pause", name="t-one").status == 200
    assert browser.served.asked("pause") == [("t-one",)]


def test_nobody_acts_without_having_signed_in(browser: Browser) -> None:
    """A form leads to the sign-in and does nothing."""
    got = browser.post("/act", {"form_token": "x", "sure": "yes", "verb": "pause", "name": "t-one"})

    assert got.status == 303
    assert browser.served.hub.calls == []


def test_a_revoked_token_is_worth_nothing_at_once(browser: Browser) -> None:
    """It is asked about at every request."""
    browser.sign_in("admin-token")
    browser.cookies["ostler_seat"] = "revoked-token"

    assert browser.get("/").status == 303
    assert browser.get("/live.json?page=/&known=").status == 401


def test_signing_out_forgets_the_cookie(browser: Browser) -> None:
    """A form of another site cannot do it: it needs the token of the form."""
    browser.sign_in("admin-token")
    assert browser.post("/logout", {"form_token": "x"}).status == 403
    got = browser.post("/logout", {"form_token": browser.form_token()})

    assert got.status == 303
    assert browser.cookies == {}


def test_on_loopback_nobody_signs_in(served: ServedHub) -> None:
    """The sign-in leads on, and everybody is an operator."""
    browser = Browser(served)

    assert browser.get("/login").status == 303
    assert "data-act" in browser.get("/").text


@pytest.mark.parametrize(
    ("path", "ours"),
    [("tasks?state=bad", True), ("", True), ("//evil.example", False), ("https://evil.example", False),
     ("../x", False), ("\\\\evil", False), ("javascript:alert(1)", False), ("/tasks", False), ("//[", False)],
)  # fmt: skip
def test_the_sign_in_leads_nowhere_else(path: str, ours: bool) -> None:
    """The page that was wanted is one of ours."""
    assert _is_ours(path) is ours


def test_a_cookie_that_cannot_be_read_is_none(browser: Browser) -> None:
    """Not an error of ours."""
    assert browser.get("/", Cookie="ostler_seat;;=;[]=()").status == 303
