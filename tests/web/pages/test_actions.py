"""What can be done from the pages: by whom, only when it was asked and answered, and never from another site."""

import json
import re

import pytest

from ostler.domain.errors import ConflictError
from ostler.domain.tasks import Priority, TaskKind
from ostler.hub.alert_views import AlertNote
from ostler.hub.fleet_views import LoadOrder, UnloadOrder
from ostler.web.pages.actions import VERBS, spec_of
from tests.web.pages.browsing import Browser
from tests.web.recording_hub import ServedHub

DONE = [
    ("cancel", {"name": "t-one"}, ("cancel", "t-one", "cancelled on the dashboard")),
    ("retry", {"name": "t-one"}, ("retry", "t-one")),
    ("answer", {"name": "t-one", "text": "go on"}, ("answer", "t-one", "go on")),
    ("acknowledge", {"name": "errors:"}, ("acknowledge", AlertNote(id="errors:", by="dashboard"))),
    ("pause", {"name": "t-one"}, ("pause", "t-one")),
    ("resume", {"name": "t-one"}, ("resume", "t-one")),
    ("load", {"name": "qwen", "host": "box"}, ("load_model", "box", LoadOrder(model="qwen"))),
    (
        "load",
        {"name": "qwen", "host": "box", "drain": "yes"},
        ("load_model", "box", LoadOrder(model="qwen", drain=True)),
    ),
    ("unload", {"name": "qwen", "host": "box"}, ("unload_model", "box", UnloadOrder(model="qwen"))),
    ("drain", {"name": "qwen", "host": "box"}, ("unload_model", "box", UnloadOrder(model="qwen", drain=True))),
    ("pin", {"name": "qwen", "host": "box"}, ("pin_model", "box", "qwen", True)),
    ("unpin", {"name": "qwen", "host": "box"}, ("pin_model", "box", "qwen", False)),
    ("check", {"name": "stable"}, ("check_endpoint", "stable")),
    ("reset", {"name": "stable"}, ("reset_endpoint", "stable")),
    ("plan", {"name": "r-1"}, ("make_plan", "r-1", "portfolio", 2.0)),
    ("unplan", {"name": "r-1"}, ("drop_plan", "r-1")),
]


@pytest.fixture
def browser(served: ServedHub) -> Browser:
    return Browser(served)


@pytest.mark.parametrize(("verb", "fields", "call"), DONE)
def test_a_verb_is_one_call_of_the_hub(
    browser: Browser, verb: str, fields: dict[str, str], call: tuple[object, ...]
) -> None:
    """Nothing that the API cannot do, and it is said what became of it."""
    token = browser.form_token()
    browser.served.hub.calls.clear()
    got = browser.post("/act", {"form_token": token, "sure": "yes", "verb": verb, **fields})

    assert got.status == 200
    assert browser.served.hub.calls == [call]
    assert "Done" in got.words


def test_forgetting_takes_back_what_was_learned(browser: Browser) -> None:
    """By type of work and model; with the types that are decided otherwise now."""
    got = browser.act("forget", name="docs", model="qwen")

    (query,) = browser.served.asked("forget")[-1]
    assert (query.task_type, query.model) == ("docs", "qwen")
    assert "2 outcomes are forgotten" in got.words


def test_every_verb_is_tried() -> None:
    """A new one without a row above is a gap."""
    assert set(VERBS) == {verb for verb, _, _ in DONE} | {"submit", "forget"}


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.question])
def test_what_cannot_be_taken_back_asks_first(browser: Browser, verb: str) -> None:
    """Without a script the question is a page; nothing has been done until it is answered."""
    token = browser.form_token()
    browser.served.hub.calls.clear()
    got = browser.post("/act", {"form_token": token, "verb": verb, "name": "thing", "host": "box", "model": "qwen"})

    assert got.status == 200
    assert browser.served.hub.calls == []
    assert "thing" in got.words
    assert VERBS[verb].consequence in got.words
    assert 'name="sure" value="yes"' in got.text


def test_a_script_is_asked_in_json(browser: Browser) -> None:
    """And told in JSON what became of it."""
    token = browser.form_token()
    fields = {"form_token": token, "verb": "cancel", "name": "t-one"}
    asked = json.loads(browser.post("/act", fields, Accept="application/json").text)
    done = json.loads(browser.post("/act", {**fields, "sure": "yes"}, Accept="application/json").text)

    assert asked["ask"]["question"] == "Cancel t-one?"
    assert done == {"said": "t-one is cancelled", "path": ""}


def test_a_typed_task_is_handed_in_and_shown(browser: Browser) -> None:
    """Where there is no script, by going to its page."""
    got = browser.act("submit", prompt="Name a horse", title="Horses", tier="low", priority="high")

    (specs,) = browser.served.asked("submit")[-1]
    assert got.status == 303
    assert got.headers["location"] == f"./tasks/{specs[0].id}"
    assert (specs[0].prompt, specs[0].title, specs[0].tier) == ("Name a horse", "Horses", "low")
    assert specs[0].priority is Priority.HIGH


def test_a_command_is_split_at_its_blanks() -> None:
    """Its program and arguments, as they were typed; a prompt stays one text."""
    made = spec_of({"prompt": " make  test ", "kind": "command", "local_only": "yes"})

    assert (made.kind, made.argv, made.prompt, made.local_only) == (TaskKind.COMMAND, ("make", "test"), "", True)
    assert spec_of({"prompt": "a b"}).prompt == "a b"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"verb": "cancle", "name": "t"}, "did you mean 'cancel'"),
        ({"verb": "cancel"}, "'name' is empty"),
        ({"verb": "load", "name": "qwen"}, "'host' is empty"),
        ({"verb": "submit", "prompt": "  "}, "there is nothing to do"),
        ({"verb": "submit", "prompt": "x", "priority": "hihg"}, "did you mean 'high'"),
        ({"verb": "submit", "prompt": "x", "kind": "agnet"}, "did you mean 'agent'"),
        ({"verb": "submit", "prompt": "x", "id": "a/../b"}, "'a/../b' cannot be used as a name"),
        ({"verb": "submit", "prompt": "x", "id": "x" * 200}, "cannot be used as a name"),
    ],
)
def test_a_wrong_form_is_explained(browser: Browser, fields: dict[str, str], words: str) -> None:
    """With the nearest valid choice, and nothing is done."""
    token = browser.form_token()
    browser.served.hub.calls.clear()
    got = browser.post("/act", {"form_token": token, "sure": "yes", **fields})

    assert got.status == 400
    assert words in got.words
    assert browser.served.hub.calls == []


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://127.0.0.1:7433/tasks?state=queued#t", "/tasks?state=queued"),
        ("https://example.org/below/tasks/t-1", "/below/tasks/t-1"),
        ("http://127.0.0.1//evil.example/x", "./"),
        ("http://127.0.0.1/../x", "./"),
        ("javascript:alert(1)", "./"),
        ("http://[", "./"),
        ("http://127.0.0.1", "./"),
        ("", "./"),
    ],
)
def test_after_a_form_without_a_script_the_way_leads_back(browser: Browser, referer: str, back: str) -> None:
    """To the page as the browser knows it, below any path of a proxy; and to no other site."""
    token = browser.form_token()
    got = browser.post("/act", {"form_token": token, "verb": "retry", "name": "t-one"}, Referer=referer)

    assert got.status == 200
    assert re.findall(r'href="([^"]*)">Back', got.text) == [back]


def test_what_the_hub_refuses_is_told_to_the_script(browser: Browser) -> None:
    """With its remedy, under the status of the error."""
    token = browser.form_token()
    browser.served.fails_with(ConflictError("task t has ended", remedy="send it back"))
    fields = {"form_token": token, "sure": "yes", "verb": "cancel", "name": "t"}
    got = browser.post("/act", fields, Accept="application/json")

    assert got.status == 409
    assert json.loads(got.text) == {"error": "task t has ended", "where": "", "remedy": "send it back"}


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_form_that_was_not_made_for_this_browser_does_nothing(browser: Browser, token: str) -> None:
    """A page of another site can send a form; it cannot know the token."""
    browser.get("/")
    browser.served.hub.calls.clear()
    got = browser.post("/act", {"form_token": token, "sure": "yes", "verb": "cancel", "name": "t-one"})

    assert got.status == 403
    assert browser.served.hub.calls == []


def test_the_token_of_another_browser_is_worth_nothing(browser: Browser, served: ServedHub) -> None:
    """Each browser has its own cookie, and so its own token."""
    other = Browser(served).form_token()
    browser.get("/")

    assert browser.post("/act", {"form_token": other, "verb": "pause", "name": "t"}).status == 403


def test_a_form_of_another_site_is_refused_whatever_it_knows(browser: Browser) -> None:
    """The browser says where the form came from."""
    token = browser.form_token()
    browser.served.hub.calls.clear()
    fields = {"form_token": token, "sure": "yes", "verb": "cancel", "name": "t-one"}
    got = browser.post("/act", fields, Origin="http://evil.example")

    assert got.status == 403
    assert browser.served.hub.calls == []


def test_a_form_may_be_sent_to_no_other_path(browser: Browser) -> None:
    """The API takes JSON, which no form can send."""
    assert browser.post("/hub/tasks/t-one/cancel", {"reason": "x"}).status == 415


def test_a_form_without_end_is_cut_off(browser: Browser) -> None:
    """It is no way to fill the memory of the hub."""
    assert browser.post("/act", {"prompt": "x" * 1_100_000}).status == 413
