"""Every page as a poor browser gets it: what it says, what it never holds, and what it says when there is nothing."""

import re
from html.parser import HTMLParser
from itertools import count

import pytest

from ostler.domain.errors import NotFoundError
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.hub.board_views import Find
from ostler.web.pages.site import PATHS
from ostler.web.pages.view import PLACE_OF_TOKEN
from ostler.web.pages_door import PAGE_PATHS
from tests.web import board_samples, call_samples, samples
from tests.web.hub_samples import HUBS
from tests.web.pages.browsing import Browser
from tests.web.recording_hub import ServedHub

NAMES = {"{id}": "t-one", "{run}": "r-1", "/calls/{id}": f"/calls/{call_samples.CALL_ID}"}
ADDRESSES = [NAMES.get(path) or path.replace("{id}", "t-one").replace("{run}", "r-1") for path in PATHS]
VOID = {"meta", "link", "input", "rect", "line", "circle", "path", "br", "hr"}
fresh = (f"now={number}" for number in count())
"""A query that makes a page another one, so that it is not the one of a moment ago."""


class Shape(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value is not None]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()


@pytest.fixture
def browser(served: ServedHub) -> Browser:
    served.hub.tasks_by_id["r-1.a"] = samples.task("r-1.a", TaskState.RUNNING, batch="r-1", started_ms=samples.NOW_MS)
    return Browser(served)


def test_the_door_opens_to_every_page_and_to_nothing_else() -> None:
    """What the application routes and what the site knows are the same."""
    others = {"/live", "/live.json", "/static/{name}", "/login", "/logout", "/act"}

    assert set(PAGE_PATHS) - others == set(PATHS)


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_page_is_whole(browser: Browser, path: str) -> None:
    """It comes, its marks are closed, no name is given twice, and it has one heading of the first rank."""
    got = browser.get(path)
    shape = Shape(got.text)

    assert got.status == 200
    assert (shape.wrong, shape.open) == ([], [])
    assert sorted({name for name in shape.ids if shape.ids.count(name) > 1}) == []
    assert sum(tag == "h1" for tag, _ in shape.tags) == 1


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_page_holds_nothing_that_its_policy_forbids(browser: Browser, path: str) -> None:
    """No script and no style inside it, nothing from elsewhere, no address that begins at the root of a server; the
    one way out is a link to another hub, which is not told where somebody came from.
    """
    got = browser.get(path)
    shape = Shape(got.text)
    addresses = [
        value
        for _, attrs in shape.tags
        for name, value in attrs.items()
        if name in {"src", "href", "action"} and value is not None
    ]

    assert "default-src 'none'" in got.headers["content-security-policy"]
    assert "unsafe" not in got.headers["content-security-policy"]
    assert [attrs for _, attrs in shape.tags if "style" in attrs] == []
    assert [name for _, attrs in shape.tags for name in attrs if name.startswith("on")] == []
    assert [tag for tag, attrs in shape.tags if tag == "style" or (tag == "script" and not attrs.get("src"))] == []
    out = [attrs for tag, attrs in shape.tags if tag == "a" and attrs.get("rel") == "noreferrer"]
    outward = {attrs["href"] for attrs in out}
    assert outward == ({f"{row.url}/" for row in (*HUBS.hubs, *HUBS.others)} if path == "/fleet" else set())
    assert [address for address in addresses if re.match(r"[a-z]+:|/", address) and address not in outward] == []


@pytest.mark.parametrize("path", ADDRESSES)
def test_everything_that_can_be_used_has_a_name(browser: Browser, path: str) -> None:
    """Fields have labels, pictures have words or are left out, forms with a token have one of this browser."""
    text = browser.get(path).text
    shape = Shape(text)
    labelled = {attrs.get("for") for tag, attrs in shape.tags if tag == "label"}
    fields = [attrs for tag, attrs in shape.tags if tag in {"input", "select", "textarea"}]
    nameless = [
        attrs
        for attrs in fields
        if attrs.get("type") not in {"hidden", "radio", "checkbox"} and attrs.get("id") not in labelled
    ]
    pictures = [attrs for tag, attrs in shape.tags if tag == "svg"]

    assert nameless == []
    assert [
        one
        for one in pictures
        if one.get("role") == "img" and not (one.get("aria-label") or "gantt" in (one.get("class") or ""))
    ] == []
    assert [one for one in pictures if one.get("role") != "img" and one.get("aria-hidden") != "true"] == []
    assert "place-of-the-form-token" not in text


def test_home_has_three_bands_with_one_click_answers(browser: Browser) -> None:
    """What needs you with its answer, what runs with its cost and basis, what waits with its countdown."""
    words = browser.get("/").words

    assert "Needs you 8" in words or "Needs you 7" in words
    assert "title of task" in words
    assert "Try again" in words
    assert "Check now" in words
    assert "Name a horse" in words
    assert "qwen on box" in words
    assert "$0.0013 held, estimated" in words
    assert "12 wait for a model to be loaded qwen is to be loaded on box" in words
    assert "about 4 min" in words


def test_an_empty_home_says_what_to_do_next(browser: Browser) -> None:
    """A command that can be copied, and a button."""
    home = board_samples.EMPTY_HOME
    status = samples.STATUS
    import msgspec

    bare = msgspec.structs.replace(status, counts={}, waiting=(), in_flight=0, calls_running=0, idle_because="")
    browser.served.hub.board.home_now = msgspec.structs.replace(home, status=bare)
    words = browser.get(f"/?{next(fresh)}").words

    assert "Nothing needs you." in words
    assert "ostler submit" in words
    assert "Nothing waits." in words


def test_when_nothing_runs_the_page_says_why(browser: Browser) -> None:
    """The binding reason in words, and where to look."""
    import msgspec

    quiet = msgspec.structs.replace(board_samples.HOME.status, calls_running=0)
    wait = Wait(code=WaitCode.BUDGET, since_ms=0, detail="limit day is reached")
    row = msgspec.structs.replace(board_samples.WAITING, wait=wait)
    home = msgspec.structs.replace(board_samples.HOME, status=quiet, running=(), running_count=0, waiting=(row,))
    browser.served.hub.board.home_now = home
    words = browser.get(f"/?{next(fresh)}").words

    assert "Nothing runs, why?" in words
    assert "12 tasks wait, because a limit of the budget is reached." in words
    assert "limit day is reached" in words
    assert "Look at the limits" in words


def test_a_task_shows_its_attempts_its_route_and_the_whole_trace(browser: Browser) -> None:
    """The line to begin with; in the trace candidates, refusals, expected and actual; the badge with its reason."""
    words = browser.get("/tasks/t-one").words

    assert "Attempt 1" in words
    assert "does not count" in words
    assert "the stream was cut" in words
    assert "fallback" in words
    assert "standard is down" in words
    assert "Candidates" in words
    assert "Not possible" in words
    assert "expected actual" in words
    assert "$0.0013 priced" in words
    assert "the first half" in words


def test_the_list_of_tasks_asks_for_what_the_filter_says(browser: Browser) -> None:
    """Words, a group of states, a run, a place to go on from."""
    browser.get("/tasks?q=horse&state=bad&batch=r-1&before=17")
    (query,) = [call[1] for call in browser.served.hub.board.asked if call[0] == "find"]

    assert query == Find(
        text="horse",
        states=(TaskState.DEAD_LETTER, TaskState.EXPIRED, TaskState.FAILED),
        batch="r-1",
        limit=50,
        before_seq=17,
    )


def test_a_list_without_a_match_says_so(browser: Browser) -> None:
    """And the way back to all."""
    words = browser.get("/tasks?q=nothing").words

    assert "No task is like that." in words
    assert "Show all tasks" in words


@pytest.mark.parametrize("before", ["", "x", "-1", "9" * 30])
def test_a_number_that_is_none_is_as_if_it_was_not_there(browser: Browser, before: str) -> None:
    """An address typed by hand is no error."""
    browser.get(f"/tasks?before={before}&{next(fresh)}")

    assert browser.served.hub.board.asked[-1][1].before_seq is None


def test_the_fleet_shows_memory_queues_and_time(browser: Browser) -> None:
    """Hosts with what is in their memory, what waits for which model, what swapping cost and what was saved."""
    words = browser.get("/fleet").words

    for host in samples.HOSTS.hosts:
        assert host.name in words
    assert "Time lost" in words
    assert "Saved 9.5 min against first-in-first-out, simulated, as of " in words
    assert "Queue by model" in words


def test_the_fleet_shows_the_hubs_of_every_pool(browser: Browser) -> None:
    """With who leads, what it has to do, and a link to it, wherever the pool."""
    got = browser.get("/fleet")

    assert "lab (this one) box:7433 leads 1.2k 17 0.1.0" in got.words
    assert "night mill:7433 leads 0.0.9" in got.words
    assert 'href="http://mill:7433/"' in got.text
    assert "weir:7433 stands by" in got.words
    assert "yew:7433 silent" in got.words


def test_money_shows_unknown_prices_apart(browser: Browser) -> None:
    """In words, not by colour alone."""
    got = browser.get("/money")

    assert "2 calls charged conservatively" in got.words
    assert "Prices that nobody knows" in got.words
    assert 'class="r unknown"' in got.text
    assert "degraded" in got.words
    assert "$7.00 by own machines, at the price of anthropic/haiku" in got.words
    assert "near its end" in got.words
    assert "$1.00 in other pools of $5.00" in got.words
    assert "together with pools barn, lab, which hold $0.40 for what comes" in got.words


def test_learning_shows_what_changed_and_offers_to_undo_it(browser: Browser) -> None:
    """Before and after, with the evidence."""
    words = browser.get("/learning").words

    assert "good enough: nothing proven → low" in words
    assert "low: 9 of 9" in words
    assert "Undo" in words


def test_a_planned_run_is_drawn_above_what_happened(browser: Browser) -> None:
    """One picture, whose looks come from the style sheet."""
    got = browser.get("/pipelines/r-1")

    assert got.text.count('<svg class="gantt"') + got.text.count('class="gantt"') >= 1
    assert "planned" in got.words
    assert "actual" in got.words
    assert "<style" not in got.text


def test_calls_are_filtered_as_the_form_says(browser: Browser) -> None:
    """And an empty list has words of its own."""
    browser.get("/calls?model=sonnet&endpoint=gpu&key=agent&failed=yes")
    query = browser.served.asked("live_calls")[-1][0]
    words = browser.get("/calls?key=nobody").words

    assert (query.model, query.endpoint, query.key, query.failed) == ("sonnet", "gpu", "agent", True)
    assert "No call is like that." in words


def test_what_a_person_wrote_cannot_become_part_of_the_page(browser: Browser) -> None:
    """A title with marks in it is shown as it is."""
    evil = "<script>alert(1)</script><b title='x'>"
    browser.served.hub.tasks_by_id["evil"] = samples.task("evil", title=evil)
    got = browser.get("/tasks/evil")

    assert "<script>alert" not in got.text
    assert evil.split("<b", maxsplit=1)[0] in got.words or "alert(1)" in got.words


def test_nobody_can_write_what_becomes_the_token_of_who_looks(browser: Browser) -> None:
    """A title that is called as its place in the page is shown as it is, and the token stands in forms alone."""
    browser.served.hub.tasks_by_id["sly"] = samples.task("sly", title=f"give me {PLACE_OF_TOKEN}")
    token, page = browser.form_token(), browser.get("/tasks/sly")

    assert f"give me {PLACE_OF_TOKEN}" in page.words
    assert page.text.count(token) == page.text.count(f'name="form_token" value="{token}"') > 0


def test_a_page_that_is_not_there_is_a_page(browser: Browser) -> None:
    """For a person with a way on; a script gets the error as before."""
    got = browser.get("/nowhere")

    assert got.status == 404
    assert "there is no such page" in got.words
    assert "To the start page" in got.words
    assert "application/json" in browser.get("/nowhere", Accept="application/json").headers["content-type"]


def test_what_the_hub_says_is_shown_with_its_remedy(browser: Browser) -> None:
    """An error of ours is no blank page."""
    browser.served.fails_with(NotFoundError("there is no task x", remedy="look at the list"))
    got = browser.get("/tasks/x")

    assert got.status == 404
    assert "there is no task x" in got.words
    assert "look at the list" in got.words
