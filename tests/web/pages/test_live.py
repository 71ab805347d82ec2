"""Keeping open pages up to date: what changed is sent, what did not is not, by events or when asked."""

import asyncio
import contextlib
import http.client
import json
import re
import time
from collections.abc import Mapping
from types import SimpleNamespace

import msgspec
import pytest

from ostler.domain.errors import ConflictError, OstlerError
from ostler.domain.event import Event
from ostler.hub.api import HubApi
from ostler.web.pages import live, look
from ostler.web.pages.live import Pulse, Told, changes, known_of
from ostler.web.pages.look import Looks
from ostler.web.pages.render import Region, Renderer
from ostler.web.pages.site import PATHS
from ostler.web.pages.view import Ask, Role, View
from tests.web import alert_samples, board_samples
from tests.web.pages.browsing import Browser
from tests.web.recording_hub import PATIENCE_S, RecordingHub, ServedHub

MARK = re.compile(r'class="region" id="([\w-]+)" data-mark="(\w+)"')


def known(text: str) -> str:
    return ",".join(f"{name}:{mark}" for name, mark in MARK.findall(text))


def changed_home(served: ServedHub) -> None:
    home = served.hub.board.home_now
    served.hub.board.home_now = msgspec.structs.replace(home, needs=home.needs[:1])


def test_a_page_that_shows_everything_is_told_nothing(served: ServedHub) -> None:
    """The hashes that the page came with are those of now."""
    browser = Browser(served)
    page = browser.get("/?quiet=1").text
    answer = json.loads(browser.get(f"/live.json?page=/%3Fquiet%3D1&known={known(page)}").text)

    assert len(MARK.findall(page)) == 4
    assert answer == {"regions": []}


def test_only_what_changed_is_told(served: ServedHub) -> None:
    """One band is another than before: its region comes, whole and with the token of this browser."""
    browser = Browser(served)
    page = browser.get("/?one=1").text
    shown = known(page)
    changed_home(served)
    answer = json.loads(browser.get(f"/live.json?page=/%3Fone%3D2&known={shown}").text)
    regions = {region["name"]: region for region in answer["regions"]}

    assert set(regions) == {"home-needs", "home-banner"}
    assert browser.form_token() in regions["home-needs"]["text"]


def test_who_shows_nothing_is_told_everything(served: ServedHub) -> None:
    """After a restart of the hub, or with an old page."""
    answer = json.loads(Browser(served).get("/live.json?page=/&known=nonsense").text)

    assert [region["name"] for region in answer["regions"]] == [
        "home-banner",
        "home-needs",
        "home-running",
        "home-waiting",
    ]


def test_an_open_page_is_told_by_an_event_of_the_stream(served: ServedHub) -> None:
    """What is other than what the browser shows comes at once, without a question."""
    page = Browser(served).get("/?stream=1").text
    shown = known(page)
    changed_home(served)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    connection.request("GET", f"/live?page=/%3Fstream%3D2&known={shown}")
    with contextlib.closing(connection), connection.getresponse() as answer:
        lines = iter(answer.readline, b"")
        names = [line for line in (next(lines).decode() for _ in range(8)) if line.startswith("event:")]
        status, kind = answer.status, answer.headers["Content-Type"]

    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    assert names[0] == "event: region\n"


@pytest.mark.parametrize("path", ["/live", "/live.json"])
@pytest.mark.parametrize("page", ["http://[", "//[", "/nowhere", ""])
def test_an_address_that_is_no_page_has_nothing_to_tell(served: ServedHub, path: str, page: str) -> None:
    """Not found, and no mistake of ours."""
    assert Browser(served).get(f"{path}?page={page}").status == 404


def test_a_page_that_is_not_there_has_no_stream(served: ServedHub) -> None:
    """An error, not a stream that says nothing for ever."""
    browser = Browser(served)

    assert browser.get("/live?page=/nowhere").status == 404
    assert browser.get("/live.json?page=/nowhere", Accept="application/json").status == 404


def test_what_moves_by_itself_is_no_change() -> None:
    """The time since something is told by the page: a second later the region has the same hash."""
    renderer = Renderer()
    ask = Ask(path="/", role=Role.OPERATOR)

    def marks(now_ms: int) -> list[str]:
        home = msgspec.structs.replace(board_samples.HOME, now_ms=now_ms)
        data = {"home": home, "ranks": {}, "idle": None, "alerts": alert_samples.ALERTS.alerts}
        regions = ("home/needs.html", "home/running.html", "home/waiting.html")
        view = View(template="home.html", title="", section="", data=data, regions=regions)
        return [region.mark for region in renderer.regions(view, ask)]

    assert marks(board_samples.NOW_MS) == marks(board_samples.NOW_MS + 61_000)


async def test_however_many_look_the_hub_is_asked_once() -> None:
    """Twenty browsers at the same page at the same moment."""
    hub = RecordingHub()
    looks = Looks(hub, Renderer())
    ask = Ask(path="/", role=Role.OPERATOR)
    found = await asyncio.gather(*(looks.at(PATHS["/"], ask) for _ in range(20)))

    assert len({id(look) for look in found}) == 1
    assert hub.board.asked == [("home",)]


@pytest.mark.parametrize(("anew", "readings"), [(False, 1), (True, 2)])
async def test_a_page_that_takes_long_is_not_read_by_each_who_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, anew: bool, readings: int
) -> None:
    """Also when reading takes longer than a page is kept, as on a busy machine. Who wants it as of now has one reading
    that began after that, together with all others.
    """
    looks, began, now_s = Looks(RecordingHub(), Renderer()), 0, 100.0
    monkeypatch.setattr(look, "time", SimpleNamespace(monotonic=lambda: now_s))

    async def slow(api: HubApi, ask: Ask) -> View:
        nonlocal began, now_s
        began += 1
        await asyncio.sleep(0)  # all others come
        now_s += 5 * look.FRESH_S
        return await PATHS["/"](api, ask)

    ask = Ask(path="/", role=Role.OPERATOR)
    await asyncio.gather(*(looks.at(slow, ask, anew=anew) for _ in range(20)))

    assert began == readings


async def test_a_viewer_is_never_shown_the_page_of_an_operator() -> None:
    """What is kept is kept by role: forms are in one and not in the other."""
    looks = Looks(RecordingHub(), Renderer())
    texts = {
        role: "".join(region.text for region in (await looks.at(PATHS["/"], Ask(path="/", role=role))).regions)
        for role in Role
    }

    assert "data-act" in texts[Role.OPERATOR]
    assert "data-act" not in texts[Role.VIEWER]


class Beats:
    """A hub whose events are given by hand; an error among them is raised."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event | OstlerError | None] = asyncio.Queue()
        self.following = 0

    async def follow(self, after_seq: int | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201
        self.following += 1
        try:
            while (event := await self.events.get()) is not None:
                if isinstance(event, OstlerError):
                    raise event
                yield event
        finally:
            self.following -= 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rest between two looks, and beats without a pause."""
    monkeypatch.setattr(live, "SHORTEST_S", 0.0)
    monkeypatch.setattr(live, "BEAT_S", 0.001)
    monkeypatch.setattr(live, "CHECK_SEAT_S", 0.0)


async def always() -> bool:
    return True


async def test_a_stream_looks_when_something_happened_and_ends_with_the_hub(quick: None) -> None:
    """The first event makes it look again; the end of the hub's events ends it in good order."""
    hub, said = Beats(), ["a"]

    async def changed(known: Mapping[str, str]) -> Told:
        mark = said[-1]
        return Told(() if known.get("r") == mark else (Region("r", mark, f"text {mark}"),), 30.0, time.monotonic())

    pulse = Pulse(hub)  # type: ignore[arg-type]
    blocks = changes(pulse, changed, always, {})
    first = await anext(blocks)
    said.append("b")
    hub.events.put_nowait(Event(name="x", at_ms=0))
    second = await anext(blocks)
    while second.startswith(b"event: beat"):
        second = await anext(blocks)
    hub.events.put_nowait(None)
    rest = [block async for block in blocks]

    assert b"text a" in first
    assert b"text b" in second
    assert rest[-1].startswith(b"event: closing")
    assert hub.following == 0


async def test_what_happens_while_a_page_rests_is_seen_right_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the page's own time is over: an event between the look and the wait is no event missed."""
    monkeypatch.setattr(live, "SHORTEST_S", 0.02)
    hub, looks = Beats(), list[float]()

    async def changed(known: Mapping[str, str]) -> Told:
        looks.append(time.monotonic())
        return Told((Region("r", str(len(looks)), "text"),), 60.0, looks[-1])

    blocks = changes(Pulse(hub), changed, always, {})  # type: ignore[arg-type]
    await anext(blocks)
    await asyncio.sleep(0)
    hub.events.put_nowait(Event(name="x", at_ms=0))
    async with asyncio.timeout(5):
        await anext(blocks)
    hub.events.put_nowait(None)
    await blocks.aclose()  # type: ignore[attr-defined]

    assert len(looks) == 2


async def test_a_wait_does_not_begin_when_something_happened_since_the_look() -> None:
    """Whichever of the pages that share a look it belongs to."""
    hub = Beats()
    pulse = Pulse(hub)  # type: ignore[arg-type]
    async with pulse.heard():
        looked_s = time.monotonic()
        hub.events.put_nowait(Event(name="x", at_ms=0))
        await asyncio.sleep(0.01)

        assert await pulse.wait(60.0, since_s=looked_s) == 0.0
        assert await pulse.wait(0.01, since_s=time.monotonic()) > 0.0


async def test_a_store_that_fails_for_a_moment_ends_no_page(quick: None) -> None:
    """The events are followed again, and what happens after it is told by an event as before."""
    hub = Beats()
    pulse = Pulse(hub)  # type: ignore[arg-type]
    async with pulse.heard(), asyncio.timeout(5):
        hub.events.put_nowait(ConflictError("the disk is full"))
        began_s = time.monotonic()
        hub.events.put_nowait(Event(name="x", at_ms=0))
        await pulse.wait(60.0, since_s=began_s)

        assert not pulse.over
        assert hub.following == 1


async def test_one_follower_serves_all_and_leaves_with_the_last() -> None:
    """Open pages cost the hub one follower together."""
    hub = Beats()
    pulse = Pulse(hub)  # type: ignore[arg-type]
    async with pulse.heard(), pulse.heard():
        await asyncio.sleep(0)
        during = hub.following

    assert (during, hub.following) == (1, 0)


async def test_who_was_signed_out_is_told_and_sent_away(quick: None) -> None:
    """A token that was revoked under an open page ends its stream."""
    hub = Beats()

    async def changed(known: Mapping[str, str]) -> Told:
        return Told((), 0.0, time.monotonic())

    async def refused() -> bool:
        return False

    blocks = [block async for block in changes(Pulse(hub), changed, refused, {})]  # type: ignore[arg-type]

    assert blocks[-1].startswith(b"event: signed-out")


async def test_trouble_of_the_hub_is_told_and_ends_the_stream(quick: None) -> None:
    """The browser tries again later."""
    hub = Beats()

    async def changed(known: Mapping[str, str]) -> Told:
        raise ConflictError("the disk is full")

    (block,) = [block async for block in changes(Pulse(hub), changed, always, {})]  # type: ignore[arg-type]

    assert b"the disk is full" in block


@pytest.mark.parametrize("text", ["", ",,,", "a", "a:b:c,:x"])
def test_what_a_browser_says_it_shows_is_never_an_error(text: str) -> None:
    """Nonsense is as if nothing was shown."""
    assert all(isinstance(mark, str) for mark in known_of(text).values())
