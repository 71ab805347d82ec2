"""What the pages are to eyes, thumbs, keys and readers: no page is wider than its screen, all can be done by keys, the
tree of names says what the page says, and axe finds nothing serious.
"""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.stage import AXE, Stage, live, needs_browser, opened
from tests.e2e.process import until

pytestmark = needs_browser
PAGES = ["", "new", "tasks", "tasks/shown", "fleet", "money", "learning", "pipelines", "pipelines/night", "calls"]
TOO_SMALL = """() => [...document.querySelectorAll('main button, main .button, main nav a, .side nav a')]
    .filter(one => one.offsetParent)
    .map(one => [one.textContent.trim(), one.getBoundingClientRect().height])
    .filter(([, height]) => height < 34)"""
"""What is pressed and is too low for a thumb."""
SEEN_ANEW = """() => {
  for (const hidden of [true, false]) {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }
}"""
"""The page is hidden and shown: it asks for all that it does not show."""
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module", autouse=True)
def _something_to_see(stage: Stage) -> None:
    stage.submit("shown", title="Shown on every page")
    stage.submit(
        "night.a", title="A long run's first step with a rather long title", batch="night", requires=["nobody"]
    )
    stage.submit("night.b", batch="night", needs=["night.a"])
    until(lambda: stage.hub.client.task("shown").task.state.value == "succeeded", "something has happened")


@pytest.mark.parametrize(
    ("path", "phone", "dark"),
    [
        *((path, False, False) for path in PAGES),
        *((path, True, True) for path in ("", "tasks/shown", "fleet", "money")),
    ],
)
def test_axe_finds_nothing_serious(chrome: Browser, stage: Stage, path: str, phone: bool, dark: bool) -> None:
    """Contrast, names, roles, order: the rules that axe checks, with every trace and menu open."""
    page = opened(chrome, f"{stage.url}/{path}", phone=phone, dark=dark)
    page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true; }")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    told = [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:3]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]
    page.context.close()

    assert told == []


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone(chrome: Browser, stage: Stage, path: str) -> None:
    """What is wide scrolls by itself; what a thumb presses is large enough."""
    page = opened(chrome, f"{stage.url}/{path}", phone=True)
    width, inside = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    small = page.evaluate(TOO_SMALL)
    page.context.close()

    assert width <= inside
    assert small == []


def test_the_browser_has_nothing_to_complain_about(chrome: Browser, stage: Stage) -> None:
    """No page breaks its own policy, asks for what is not there, or trips over its script."""
    page = opened(chrome, stage.url)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in PAGES:
        page.goto(f"{stage.url}/{path}")
    page.context.close()

    assert complaints == []
    assert [url for url in asked if not url.startswith(stage.url)] == []


def test_everything_can_be_done_by_keys(chrome: Browser, stage: Stage) -> None:
    """Search, rows, opening, a trace, a question, its answer: without a mouse, and one sees where one is."""
    stage.submit("keys", title="Done by keys", requires=["nobody"])
    page = opened(chrome, stage.url)
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="Tasks", level=1)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    expect(page.locator(".row.task")).to_have_count(1)
    page.keyboard.press("j")
    focused = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Done by keys", level=1)).to_be_visible()
    page.keyboard.press("e")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent.trim()") == "Cancel":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Cancel keys?")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".page-head .state")).to_have_text("cancelled")
    page.context.close()

    assert focused == "solid"


def test_the_keys_are_listed_and_a_dialog_gives_the_focus_back(chrome: Browser, stage: Stage) -> None:
    """A question mark opens the list, Escape closes it."""
    page = opened(chrome, stage.url)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.context.close()


def test_a_key_that_is_typed_is_no_command(chrome: Browser, stage: Stage) -> None:
    """In a field every key is a letter."""
    page = opened(chrome, f"{stage.url}/new")
    page.get_by_label("What is to be done").fill("")
    page.get_by_label("What is to be done").press_sequentially("go ten /?")
    expect(page.get_by_label("What is to be done")).to_have_value("go ten /?")
    page.context.close()

    assert page.url.endswith("/new")


def test_the_tree_of_names_says_what_the_page_says(chrome: Browser, stage: Stage) -> None:
    """As a screen reader has it: landmarks, the three bands by name, rows as lists, buttons that say what they do."""
    page = opened(chrome, stage.url)
    expect(page.locator("body")).to_match_aria_snapshot(
        """
        - link "Skip to the page"
        - banner:
          - link "Ostler"
          - navigation "Pages":
            - list:
              - listitem:
                - link "Home"
              - listitem:
                - link "Tasks"
        - main:
          - heading "Home" [level=1]
          - search:
            - searchbox "Search tasks"
          - link "New task"
          - region /Needs you/:
            - heading /Needs you/ [level=2]
            - list
          - region /Running/:
            - heading /Running/ [level=2]
          - region /Waiting/:
            - heading /Waiting/ [level=2]
            - list:
              - listitem:
                - link /See why/
        """
    )
    page.context.close()


def test_the_page_of_a_task_has_a_tree_of_names(chrome: Browser, stage: Stage) -> None:
    """Attempts, route and comparison can be found by their headings and tables."""
    page = opened(chrome, f"{stage.url}/tasks/shown")
    expect(page.get_by_role("main")).to_match_aria_snapshot(
        """
        - main:
          - navigation "Way here"
          - heading "Shown on every page" [level=1]
          - region /Attempts/:
            - heading /Attempts/ [level=2]
            - list:
              - listitem:
                - heading /Attempt 1/ [level=3]
                - table "Expected and actual of attempt 1"
          - region "Output":
            - heading "Output" [level=2]
          - region "Asked for"
        """
    )
    page.context.close()


def test_what_a_person_does_is_left_alone_when_the_page_changes(chrome: Browser, stage: Stage) -> None:
    """An open trace stays open, the focus stays where it is, a half-typed word stays."""
    page = opened(chrome, f"{stage.url}/tasks/shown")
    live(page)
    card = page.locator("details.route").first
    card.locator("summary").click()
    card.locator("summary").focus()
    page.evaluate("() => { for (const one of document.querySelectorAll('[data-mark]')) one.dataset.mark = 'old'; }")
    page.evaluate(
        "() => { const odd = document.createElement('p'); odd.textContent = 'odd'; document.querySelector("
        "'#task-tries .timeline').before(odd); }"
    )
    page.evaluate(SEEN_ANEW)
    expect(page.get_by_text("odd", exact=True)).to_have_count(0)
    expect(card.get_by_role("heading", name="Candidates")).to_be_visible()
    focus = page.evaluate("() => document.activeElement.tagName")
    page.context.close()

    assert focus == "SUMMARY"


def test_times_go_on_by_themselves(chrome: Browser, stage: Stage) -> None:
    """Between two messages of the hub the seconds pass."""
    page: Page = opened(chrome, f"{stage.url}/tasks?q=shown")
    moment = page.locator(".row.task time").first
    before = moment.text_content()
    expect(moment).not_to_have_text(before or "")
    page.context.close()

    assert re.search(r"\d", before or "")


def test_the_scheme_can_be_chosen_and_is_kept(chrome: Browser, stage: Stage) -> None:
    """Auto follows the system; the choice holds on every page."""
    page = opened(chrome, stage.url, dark=True)
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Theme: auto").click()
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.goto(f"{stage.url}/money")
    kept = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.context.close()

    assert dark != light
    assert light == kept
