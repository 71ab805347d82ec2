"""The main ways through the dashboard, by a person with a real browser at a real hub."""

import re

from playwright.sync_api import Browser, expect

from tests.browser.stage import Stage, live, needs_browser, opened
from tests.e2e.process import until

pytestmark = needs_browser
PATIENT = 20_000
CHANGED = "document.dispatchEvent(new Event('visibilitychange'));"


def test_a_task_is_typed_in_and_watched_to_its_end(chrome: Browser, stage: Stage) -> None:
    """From the button on the start page to the output, without loading a page again."""
    page = opened(chrome, stage.url)
    page.get_by_role("link", name="New task").first.click()
    page.get_by_label("What is to be done").fill("Name three horses.")
    page.get_by_label("Title").fill("Three horses")
    page.get_by_role("button", name="Hand in").click()
    expect(page.get_by_role("heading", name="Three horses", level=1)).to_be_visible()
    expect(page.locator(".page-head .state")).to_have_text("succeeded", timeout=PATIENT)
    expect(page.get_by_role("region", name="Output")).to_contain_text("[simulated ")

    assert re.search(r"/tasks/t-\w+$", page.url)


def test_a_task_runs_where_it_fell_back_to_and_the_trace_tells_why(chrome: Browser, stage: Stage) -> None:
    """Its machine is silent: it waits, leaves its tier by one step, and the page shows all of it as it happens."""
    stage.pause_machine(stage.barn)
    try:
        until(lambda: stage.hub.client.status().endpoints_up == 1, "the machine is missed")
        stage.submit("falls", title="Falls back")
        page = opened(chrome, f"{stage.url}/tasks/falls")
        expect(page.locator(".page-head .badge.fallback")).to_be_visible(timeout=PATIENT)
        card = page.locator("li details.route", has=page.locator("summary .fallback")).first
        expect(card.locator("summary")).to_contain_text("yard · stallion:70b")
        expect(card.get_by_text("Candidates")).to_be_hidden()
        card.locator("summary").click()
        expect(card.get_by_role("heading", name="Candidates")).to_be_visible()
        expect(card.get_by_role("heading", name="Ladder")).to_be_visible()
        expect(card.locator(".reason")).to_contain_text("small")
        expect(card.locator("dd", has_text="µs")).to_be_visible()
        expect(page.locator(".page-head .state")).to_have_text("succeeded", timeout=PATIENT)
        expect(page.get_by_role("table", name="Expected and actual of attempt 1")).to_be_visible()
        expect(card.get_by_role("heading", name="Candidates")).to_be_visible()
    finally:
        stage.resume_machine(stage.barn)
        until(lambda: stage.hub.client.status().endpoints_up == 2, "the machine is back")


def test_a_new_attempt_leaves_what_was_opened_open(chrome: Browser, stage: Stage) -> None:
    """It comes above the one that is read; nothing moves from one to the other."""
    stage.submit("again", title="Tries again", kind="command", argv=["sh", "-c", "sleep 1; exit 7"], prompt="")
    page = opened(chrome, f"{stage.url}/tasks/again")
    first = page.locator("#card-1")
    first.locator("summary").click()
    expect(first.get_by_role("heading", name="Ladder")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("Attempt 2"))).to_be_visible()
    expect(first.get_by_role("heading", name="Ladder")).to_be_visible()
    expect(page.locator("#card-2")).not_to_have_attribute("open", "")


def test_a_page_that_nobody_sees_lets_go_of_its_connection(chrome: Browser, stage: Stage) -> None:
    """And is live again, and up to date, when it is looked at."""
    page = opened(chrome, f"{stage.url}/tasks")
    live(page)
    hide = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => %s}); " + CHANGED
    page.evaluate("() => { " + hide % "true" + " }")
    expect(page.locator("#pulse")).to_have_attribute("data-pulse", "still")
    stage.submit("unseen", title="While nobody looked", requires=["nobody"])
    page.evaluate("() => { " + hide % "false" + " }")
    expect(page.locator("#task-unseen")).to_be_visible()
    live(page)
    stage.hub.client.cancel("unseen")


def test_a_running_task_is_cancelled_and_is_asked_about_first(chrome: Browser, stage: Stage) -> None:
    """The first answer leaves it alone; the second ends it, and the page shows it without being loaded again."""
    stage.submit("long", title="A long wait", kind="command", argv=["sleep", "60"], prompt="")
    page = opened(chrome, stage.url)
    row = page.locator("#run-long")
    expect(row).to_be_visible(timeout=PATIENT)
    row.get_by_role("button", name="Cancel: A long wait").click()
    dialog = page.get_by_role("dialog", name="Cancel long?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Leave it").click()
    expect(dialog).to_be_hidden()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Cancel: A long wait").click()
    dialog.get_by_role("button", name="Cancel task").click()
    expect(page.get_by_text("long is cancelled")).to_be_visible()
    expect(row).to_have_count(0, timeout=PATIENT)


def test_what_needs_a_person_is_answered_with_one_click(chrome: Browser, stage: Stage) -> None:
    """It stands in the first band; after the click it is gone from there, and has been tried again."""
    fails = ["python3", "-c", "raise SystemExit(3)"]
    stage.submit("hard", title="Cannot succeed", kind="command", argv=fails, prompt="", max_attempts=1)
    until(lambda: stage.hub.client.task("hard").task.state.value == "dead_letter", "it is given up")
    page = opened(chrome, stage.url)
    need = page.locator("#need-given_up-hard")
    expect(need).to_contain_text("python3 exited with 3", timeout=PATIENT)
    need.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("hard is in the queue again")).to_be_visible()
    until(lambda: len(stage.hub.client.task("hard").attempts) == 2, "it was tried again")


def test_a_question_is_answered_where_it_stands(chrome: Browser, stage: Stage) -> None:
    """Typed into the row on the start page; the task goes on with it, and the row is gone."""
    stage.ask_a_person("asks", "Which horse?")
    page = opened(chrome, stage.url)
    need = page.locator("#need-task-asks")
    expect(need).to_contain_text("which one", timeout=PATIENT)
    page.get_by_label("Answer to Which horse?").fill("the grey one")
    need.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text("asks goes on with your answer")).to_be_visible()
    expect(need).to_have_count(0, timeout=PATIENT)
    stage.hub.client.cancel("asks")


def test_a_choice_is_one_click_with_its_owner_deadline_and_default_beside_it(chrome: Browser, stage: Stage) -> None:
    """On the start page and on the task's own. Another answer can be typed; whoever types one means it."""
    for name, title in (("clicked", "Which colour?"), ("typed", "Which gate?")):
        stage.ask_a_person(name, title, "left", "right", default="right")
    page = opened(chrome, stage.url)
    need = page.locator("#need-task-clicked")
    expect(need).to_contain_text("for ada", timeout=PATIENT)
    expect(need).to_contain_text("then “right” is taken")
    need.get_by_role("button", name="left: Which colour?").click()
    expect(page.get_by_text("clicked goes on with your answer")).to_be_visible()
    until(lambda: [one.text for one in stage.hub.client.task("clicked").task.answers] == ["left"], "it is answered")

    page.goto(f"{stage.url}/tasks/typed")
    expect(page.get_by_role("group", name="Answers to Which gate?").get_by_role("button")).to_have_count(2)
    page.get_by_label("Another answer to Which gate?").fill("over the wall")
    page.get_by_role("button", name="Answer", exact=True).click()
    until(lambda: [one.text for one in stage.hub.client.task("typed").task.answers] == ["over the wall"], "answered")
    for name in ("clicked", "typed"):
        stage.hub.client.cancel(name)


def test_a_lost_connection_is_told_and_made_good(chrome: Browser, stage: Stage) -> None:
    """Without a stream the page asks every few seconds; without an answer it says that it is lost, and keeps what it
    shows; when it is answered again it catches up with what it missed.
    """
    page = opened(chrome, f"{stage.url}/tasks")
    live(page)
    pulse = page.locator("#pulse")
    page.route("**/live?**", lambda route: route.abort())
    page.route("**/live.json?**", lambda route: route.abort())
    page.context.set_offline(True)
    stage.hub.kill()
    expect(pulse).to_have_attribute("data-pulse", "lost", timeout=PATIENT)
    page.context.set_offline(False)
    stage.start()
    page.unroute("**/live.json?**")
    stage.submit("missed", title="Handed in meanwhile", requires=["nobody"])
    expect(page.locator("#task-missed")).to_be_visible(timeout=PATIENT)
    expect(pulse).to_have_attribute("data-pulse", "polling")
    page.unroute("**/live?**")
    live(page)
    stage.hub.client.cancel("missed")


def test_an_open_page_outlives_a_restart_of_the_hub(chrome: Browser, stage: Stage) -> None:
    """It says that it is lost, comes back by itself, and forms that were open still work."""
    stage.submit("waits", title="Waits for a worker", requires=["nobody"])
    page = opened(chrome, stage.url)
    live(page)
    page.evaluate("() => { window.untouched = true; }")
    stage.hub.kill()
    expect(page.locator("#pulse")).to_have_attribute("data-pulse", "lost", timeout=PATIENT)
    stage.start()
    live(page)
    page.goto(f"{stage.url}/tasks/waits")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("waits is paused")).to_be_visible()
    expect(page.locator(".page-head .state")).to_have_text("paused", timeout=PATIENT)
    stage.hub.client.cancel("waits")


def test_a_page_without_a_script_can_be_read_and_used(chrome: Browser, stage: Stage) -> None:
    """Forms lead to a question, the question to the deed, the deed back."""
    stage.submit("plain", title="Without a script", requires=["nobody"])
    page = opened(chrome, f"{stage.url}/tasks/plain", script=False)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Cancel plain?")).to_be_visible()
    page.get_by_role("button", name="Cancel task").click()
    expect(page.get_by_text("plain is cancelled")).to_be_visible()

    assert stage.hub.client.task("plain").task.state.value == "cancelled"


def test_a_model_is_drained_from_the_fleet(chrome: Browser, stage: Stage) -> None:
    """From the menu beside it; the bar of the memory follows."""
    stage.submit("loads", title="Loads it")
    until(lambda: stage.hub.client.task("loads").task.state.value == "succeeded", "the model is loaded")
    page = opened(chrome, f"{stage.url}/fleet")
    host = page.get_by_role("region", name="barn", exact=True)
    expect(host.get_by_role("img", name=re.compile("Memory of barn: mare:3b"))).to_be_visible()
    host.get_by_label("What to do with mare:3b on barn").click()
    host.get_by_role("button", name="Drain: mare:3b").click()
    page.get_by_role("button", name="Drain model").click()
    expect(page.get_by_text("leaves barn when its calls have ended")).to_be_visible()
    expect(host.get_by_text("Nothing is loaded.")).to_be_visible(timeout=PATIENT)


def test_words_and_states_narrow_the_list(chrome: Browser, stage: Stage) -> None:
    """The search keeps the state, the state keeps the search."""
    stage.submit("needle", title="A needle", requires=["nobody"])
    page = opened(chrome, f"{stage.url}/tasks")
    page.get_by_label("Search tasks").fill("needle")
    page.get_by_label("Search tasks").press("Enter")
    expect(page.locator(".row.task")).to_have_count(1)
    page.get_by_role("link", name="Succeeded").click()
    expect(page.get_by_text("No task is like that.")).to_be_visible()
    page.get_by_role("link", name="Open", exact=True).click()
    expect(page.locator(".row.task")).to_have_count(1)
    stage.hub.client.cancel("needle")
