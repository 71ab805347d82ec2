"""One client cannot take the hub from the others: so many requests a second, so many at once, so many wrong tokens."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec
import pytest

from ostler.app.http import Door, Guards, Listener
from ostler.app.turnstile import BURST_S, Turnstile
from ostler.config.settings import HubSettings
from ostler.hub.sign_ins import SignIns
from ostler.server.head import DateLine
from ostler.server.request import Request
from tests.hub.house import House, house

EVERYWHERE = "0.0.0.0"  # noqa: S104 - on a free port, for the length of a test


class Wire:
    """A connection that keeps what is sent."""

    is_full = False

    def __init__(self) -> None:
        self.date = DateLine()
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    async def drained(self) -> None:
        raise AssertionError("it is never full")

    def pause(self) -> None:
        raise AssertionError("nothing is read")

    def resume(self) -> None:
        raise AssertionError("nothing is read")

    def answered(self, request: Request) -> None:
        assert request.finished

    def cut(self) -> None:
        raise AssertionError("each answer is whole")


class Stage:
    """A turnstile with a clock that is moved by hand; what gets through is answered with 200."""

    def __init__(self, per_second: int = 3, at_once: int = 4) -> None:
        self.now_s = 0.0
        self.refusals: Counter[str] = Counter()
        self.holds: asyncio.Event | None = None
        self.sign_ins = SignIns(10, lambda: self.now_s)
        settings = HubSettings(requests_per_second=per_second, max_open_requests=at_once)
        self.turnstile = Turnstile(settings, self.sign_ins, lambda: self.now_s, lambda why: self.refusals.update([why]))

    async def ask(self, address: str = "10.0.0.1", token: str = "", path: str = "/hub/status") -> tuple[int, bytes]:
        """The status and all of one answer."""
        wire = Wire()
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        request = Request(wire, "GET", path.encode(), headers, "1.1")
        request.path, request.client, request.whole = path, (address, 1), True

        async def go() -> None:
            if self.holds is not None:
                await self.holds.wait()
            await request.answer(200, b"")

        await self.turnstile.serve(request, go)
        return request.status, wire.sent

    async def many(self, count: int, **asked: str) -> Mapping[int, int]:
        """How often which status came."""
        return Counter([(await self.ask(**asked))[0] for _ in range(count)])


async def test_a_client_may_ask_a_burst_and_then_so_many_a_second() -> None:
    """What is more is answered with 429, when to come back, and what to do."""
    stage = Stage(3)
    assert await stage.many(3 * BURST_S) == {200: 3 * BURST_S}
    status, answer = await stage.ask()
    assert status == 429
    assert b"\r\nretry-after: 1\r\n" in answer
    body = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["error"]
    assert body["code"] == "too_many_requests"
    assert "hub.requests_per_second" in body["remedy"]
    stage.now_s += 2

    assert await stage.many(10) == {200: 6, 429: 4}
    assert stage.refusals == {"rate": 5}


async def test_each_client_has_its_own_count() -> None:
    """Another address, a token that is known to be valid, and each session of a worker with such a token."""
    stage = Stage(1)
    await stage.many(2 * BURST_S)
    stage.sign_ins.passed("10.0.0.1", "mine")

    assert await stage.many(1) == {429: 1}
    assert await stage.many(1, address="10.0.0.2") == {200: 1}
    assert await stage.many(1, token="mine") == {200: 1}
    assert await stage.many(BURST_S + 1, token="mine", path="/hub/workers/s-1/poll") == {200: BURST_S, 429: 1}
    assert await stage.many(1, token="mine", path="/hub/workers/s-2/poll") == {200: 1}
    assert await stage.many(1, token="mine") == {200: 1}


@pytest.mark.parametrize("path", ["/hub/status", "/hub/workers/{n}/poll"])
async def test_what_a_client_makes_up_wins_it_nothing(path: str) -> None:
    """Other tokens, other sessions: without a token that was valid there it is its address that counts."""
    stage = Stage(1)
    found = Counter([(await stage.ask(token=f"t{n}", path=path.format(n=n)))[0] for n in range(30)])

    assert found == {200: BURST_S, 429: 30 - BURST_S}


async def test_so_many_requests_of_a_client_may_be_open_at_once() -> None:
    """Streams and polls are held for long; each that ends makes room for another."""
    stage = Stage(100, at_once=4)
    stage.holds = asyncio.Event()
    open_ones = [asyncio.ensure_future(stage.ask()) for _ in range(4)]
    await asyncio.sleep(0)
    assert (await stage.ask())[0] == 429
    other = asyncio.ensure_future(stage.ask("10.0.0.2"))
    await asyncio.sleep(0)
    assert not other.done()
    stage.holds.set()

    assert [status for status, _ in await asyncio.gather(*open_ones, other)] == [200] * 5
    assert await stage.many(4) == {200: 4}
    assert stage.refusals == {"open_requests": 1}


async def test_one_that_fails_counts_as_open_no_more() -> None:
    """A handler that breaks, and a client that hangs up, leave nothing behind."""
    stage = Stage(100, at_once=1)
    request = Request(Wire(), "GET", b"/x", [], "1.1")
    request.client = ("10.0.0.1", 1)

    async def breaks() -> None:
        raise RuntimeError("broken")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken"):
            await stage.turnstile.serve(request, breaks)
    assert await stage.many(1) == {200: 1}


async def test_a_look_at_its_health_always_passes() -> None:
    """Else a flood would look like a death to whoever restarts it."""
    assert await Stage(1).many(100, path="/healthz") == {200: 100}


async def test_without_limits_everything_passes() -> None:
    """0 = any number."""
    assert await Stage(0, 0).many(500) == {200: 500}


@pytest.fixture
async def built() -> AsyncIterator[House]:
    """A hub to serve."""
    async with house() as running:
        yield running


@pytest.mark.parametrize("how", ["the API", "a cookie", "the form to sign in"])
async def test_guessing_ends_after_some_guesses_at_each_door(built: House, how: str) -> None:
    """Over real HTTP beyond loopback. Who had signed in goes on; every door counts the guesses at the others."""
    refused: Counter[str] = Counter()
    settings = HubSettings(sign_in_failures_per_minute=3)
    listener = Listener(
        built.hub, Door(EVERYWHERE, 0), guards=Guards.of(settings, lambda reason: refused.update([reason]))
    )
    await listener.start()
    made = await built.hub.tokens.make("me", "admin")
    status_url = f"{listener.url}/hub/status"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def asked(token: str) -> int:
            async with client.get(status_url, headers={"Authorization": f"Bearer {token}"}) as answer:
                await answer.read()
                return answer.status

        async def guess(number: int) -> int:
            token = f"guess-{number}"
            if how == "the API":
                return await asked(token)
            if how == "a cookie":
                request = client.get(listener.url, headers={"Cookie": f"ostler_seat={token}"}, allow_redirects=False)
            else:
                request = client.post(f"{listener.url}/login", data={"token": token}, allow_redirects=False)
            async with request as answer:
                text = await answer.text()
                if answer.status == 429:
                    assert "too many sign-ins" in text.lower()
                return answer.status

        assert await asked(made.token) == 200
        wrong = 303 if how == "a cookie" else 401
        assert [await guess(number) for number in range(6)] == [wrong] * 3 + [429] * 3
        assert await asked(made.token) == 200
        assert await asked("another guess") == 429
    await listener.stop()

    assert refused == {"sign_in": 4}


async def test_a_flood_over_http_is_refused_and_another_kind_of_client_goes_on(built: House) -> None:
    """What the command line gets is an error with its remedy; a batch of ten thousand tasks is one request."""
    settings = HubSettings(requests_per_second=2)
    listener = Listener(built.hub, Door("127.0.0.1", 0), guards=Guards.of(settings))
    await listener.start()
    async with aiohttp.ClientSession() as client:
        found: Counter[int] = Counter()
        for _ in range(2 * BURST_S + 5):
            async with client.get(f"{listener.url}/hub/status") as answer:
                found[answer.status] += 1
                wait = answer.headers.get("Retry-After")
        async with client.get(f"{listener.url}/healthz") as answer:
            assert answer.status == 200
    await listener.stop()

    assert found[200] in (2 * BURST_S, 2 * BURST_S + 1)
    assert (found[429] >= 4, wait) == (True, "1")
