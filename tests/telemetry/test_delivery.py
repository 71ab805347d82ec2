"""Alerts to the outside: signed, tried again, bounded; a real server, a real program, no waiting."""

import asyncio
import doctest
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from ostler.alerts.machine import Change, Told
from ostler.domain.alerts import Alert, AlertState, Severity
from ostler.domain.errors import ConflictError
from ostler.telemetry import delivery
from ostler.telemetry.delivery import (
    WAITING_MAX,
    AlertDelivery,
    DesktopPlace,
    LogPlace,
    Payload,
    TellError,
    WebhookPlace,
    payload_of,
)


def alert(subject: str = "standard", severity: Severity = Severity.CRITICAL) -> Alert:
    return Alert(
        rule="tier_down",
        subject=subject,
        state=AlertState.ACTIVE,
        severity=severity,
        message="gone",
        since_ms=1,
        raised_ms=2,
        times=1,
        updated_ms=2,
    )


RAISED = Change(told=Told.RAISED, alert=alert())
PAYLOAD = payload_of("alert.raised", alert(), "default")


class Received:
    """What a server was sent, and what it answers."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def server(*statuses: int) -> AsyncIterator[Received]:
    received = Received(*statuses)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", received.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    received.url = f"{site.name}/hook" if site.name.count(":") == 2 and not site.name.endswith(":0") else ""
    host, port = runner.addresses[0][:2]
    received.url = f"http://{host}:{port}/hook"
    try:
        yield received
    finally:
        await runner.cleanup()


class Untold:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, int, str]] = []

    async def __call__(self, change: Change, to: str, attempts: int, reason: str) -> None:
        self.told.append((change.alert.id, to, attempts, reason))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BACKOFF_S", (0.0, 0.0, 0.0))


@asynccontextmanager
async def delivering(
    received: Received, *, secret: str = "", least: Severity = Severity.WARNING
) -> AsyncIterator[tuple[AlertDelivery, Untold]]:
    untold = Untold()
    made = AlertDelivery(untold, "default")
    place = WebhookPlace("ops", received.url, secret=secret, least=least, session=made.session, now_s=lambda: 1_700.9)
    made.use([place])
    try:
        yield made, untold
    finally:
        await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is a server of the test
            await asyncio.sleep(0.002)


async def test_a_webhook_is_sent_what_happened_signed() -> None:
    """The documented body and headers; the signature is that of the body as it came."""
    async with server() as received, delivering(received, secret="s3cret") as (made, untold):
        made.tell(RAISED)
        await until(lambda: bool(received.requests))
        await made.stop()

    ((headers, body),) = received.requests
    said = json.loads(body)
    assert (said["event"], said["id"], said["severity"], said["hub"], said["test"]) == (
        "alert.raised",
        "tier_down:standard",
        "critical",
        "default",
        False,
    )
    assert set(said) == set(Payload.__struct_fields__)
    seconds, digest = (part.split("=", 1)[1] for part in headers["Ostler-Signature"].split(","))
    assert seconds == "1700"
    assert digest == hmac.new(b"s3cret", f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Ostler-Event"] == "alert.raised"
    assert untold.told == []


async def test_without_a_secret_nothing_is_signed() -> None:
    """A header that means nothing would be worse than none."""
    async with server() as received, delivering(received) as (made, _untold):
        made.tell(RAISED)
        await until(lambda: bool(received.requests))

    assert "Ostler-Signature" not in received.requests[0][0]


async def test_a_server_in_trouble_is_asked_again_with_the_same_name() -> None:
    """Until it takes the message; every try has the same delivery id."""
    async with server(500, 429, 503) as received, delivering(received) as (made, untold):
        made.tell(RAISED)
        await until(lambda: len(received.requests) == 4)
        await made.stop()

    assert len({headers["Ostler-Delivery"] for headers, _ in received.requests}) == 1
    assert untold.told == []


async def test_what_cannot_be_told_is_told_of_after_the_last_try() -> None:
    """Four tries, then an event; the next message begins anew."""
    async with server(500, 500, 500, 500) as received, delivering(received) as (made, untold):
        made.tell(RAISED)
        await until(lambda: bool(untold.told))
        made.tell(RAISED)
        await until(lambda: len(received.requests) == 5)

    assert untold.told == [("tier_down:standard", "webhook ops", 4, "it answered with status 500")]


@pytest.mark.parametrize("status", [400, 404, 410, 302])
async def test_an_answer_that_another_try_would_not_change(status: int) -> None:
    """4xx is final; a redirect is not followed, since it is not the address that the profile names."""
    tries = 1 if status >= 400 else 4
    async with server(*[status] * 4) as received, delivering(received) as (made, untold):
        made.tell(RAISED)
        await until(lambda: bool(untold.told))

    assert [told[2] for told in untold.told] == [tries]
    assert len(received.requests) == tries


async def test_an_address_where_nobody_is_becomes_an_event_too() -> None:
    """The reason is in it."""
    nowhere = Received()
    nowhere.url = "http://127.0.0.1:9/hook"
    async with delivering(nowhere) as (made, untold):
        made.tell(RAISED)
        await until(lambda: bool(untold.told))

    assert "127.0.0.1" in untold.told[0][3]


async def test_a_place_that_wants_the_worst_only_is_not_told_of_warnings() -> None:
    """`least` is compared, not equal."""
    async with server() as received, delivering(received, least=Severity.CRITICAL) as (made, _untold):
        made.tell(Change(told=Told.RAISED, alert=alert("quiet", Severity.WARNING)))
        made.tell(RAISED)
        await until(lambda: bool(received.requests))
        await made.stop()

    assert [json.loads(body)["subject"] for _, body in received.requests] == ["standard"]


async def test_what_waits_for_a_slow_place_is_bounded_and_the_oldest_gives_way() -> None:
    """A thousand alerts for an address that hangs cost a bounded number of rows, and hold up nobody else."""
    free, told = asyncio.Event(), []

    class Slow:
        name, least, tries = "slow", Severity.WARNING, 1

        async def tell(self, payload: Payload) -> str:
            await free.wait()
            told.append(payload.subject)
            return ""

    class Quick:
        name, least, tries = "quick", Severity.WARNING, 1
        seen = 0

        async def tell(self, payload: Payload) -> str:
            self.seen += 1
            return ""

    quick, made = Quick(), AlertDelivery(Untold())
    made.use([Slow(), quick])
    made.tell(Change(told=Told.RAISED, alert=alert("first")))
    await until(lambda: quick.seen == 1)
    for number in range(1_000):
        made.tell(Change(told=Told.RAISED, alert=alert(str(number))))
        if number % WAITING_MAX == 0:
            await until(lambda number=number: quick.seen == number + 2)  # type: ignore[misc]
    await until(lambda: quick.seen == 1_001)
    free.set()
    await made.stop()

    assert told == ["first", *(str(number) for number in range(950, 1_000))]


async def test_what_comes_when_the_last_one_was_just_told_is_told_too() -> None:
    """The sender has ended, and nobody has noticed yet: that moment loses nothing."""
    told = list[str]()
    made = AlertDelivery(Untold())

    class Place:
        name, least, tries = "ops", Severity.WARNING, 1

        async def tell(self, payload: Payload) -> str:
            told.append(payload.subject)
            if payload.subject == "first":
                later = Change(told=Told.RAISED, alert=alert("second"))
                asyncio.get_running_loop().call_soon(made.tell, later)
            return ""

    made.use([Place()])
    made.tell(Change(told=Told.RAISED, alert=alert("first")))
    await until(lambda: len(told) == 2)
    await made.stop()

    assert told == ["first", "second"]


async def test_an_event_that_cannot_be_kept_holds_up_no_alert_behind_it() -> None:
    """A store that fails when it is to keep that somebody could not be told: the log says so, the next one is told."""
    told = list[str]()

    class Place:
        name, least, tries = "ops", Severity.WARNING, 1

        async def tell(self, payload: Payload) -> str:
            if payload.subject == "first":
                raise TellError("gone", final=True)
            told.append(payload.subject)
            return ""

    async def full(change: Change, to: str, attempts: int, reason: str) -> None:
        raise ConflictError("the disk is full")

    made = AlertDelivery(full)
    made.use([Place()])
    with capture_logs() as lines:
        made.tell(Change(told=Told.RAISED, alert=alert("first")))
        made.tell(Change(told=Told.RAISED, alert=alert("second")))
        await until(lambda: told == ["second"])
        await made.stop()

    assert [line["event"] for line in lines] == ["an alert cannot be told"]


class Hangs:
    """Never comes back."""

    name, least, tries = "hangs", Severity.WARNING, 1

    async def tell(self, payload: Payload) -> str:
        await asyncio.Event().wait()
        return ""


async def test_stopping_waits_a_little_and_not_for_ever() -> None:
    """A hub that stops is not held up by an address that hangs; nothing is taken afterwards."""
    made = AlertDelivery(Untold())
    made.use([Hangs()])
    made.tell(RAISED)
    async with asyncio.timeout(10):
        await made.stop(0.01)
    made.tell(RAISED)
    await made.stop(0.01)


async def test_the_log_has_one_line_for_each() -> None:
    """A warning when it is raised, information when it is over."""
    with capture_logs() as lines:
        await LogPlace().tell(PAYLOAD)
        await LogPlace().tell(payload_of("alert.cleared", alert(), ""))

    assert [(line["log_level"], line["alert_event"]) for line in lines] == [
        ("warning", "alert.raised"),
        ("info", "alert.cleared"),
    ]
    assert lines[0]["event"] == "gone"


def program(tmp_path: Path, text: str) -> Callable[[str], str | None]:
    path = tmp_path / "notify-send"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return lambda name: str(path) if name == "notify-send" else None


async def test_the_desktop_is_shown_title_and_message(tmp_path: Path) -> None:
    """As arguments, never through a shell; a message that looks like an option is a message."""
    seen = tmp_path / "seen"
    place = DesktopPlace(program(tmp_path, f'printf "%s\\n" "$@" > {seen}'))
    odd = payload_of("alert.raised", alert("x; rm -rf"), "")

    assert await place.tell(odd) == "shown"

    lines = seen.read_text(encoding="utf-8").splitlines()
    assert lines[-3:] == ["--", "Ostler: tier_down:x; rm -rf", "gone"]
    assert "--urgency=critical" in lines


async def test_a_desktop_that_is_not_there_says_so(tmp_path: Path) -> None:
    """No program: final. A program that fails: the reason."""
    with pytest.raises(TellError, match="no notify-send") as error:
        await DesktopPlace(lambda _: None).tell(PAYLOAD)
    assert error.value.final
    with pytest.raises(TellError, match="ended with 3"):
        await DesktopPlace(program(tmp_path, "exit 3")).tell(PAYLOAD)


async def test_a_desktop_that_is_waited_for_no_longer_leaves_no_program(tmp_path: Path) -> None:
    """A hub that stops has less patience than a notification may take."""
    seen = tmp_path / "seen"
    made = AlertDelivery(Untold())
    made.use([DesktopPlace(program(tmp_path, f"echo $$ > {seen}.new; mv {seen}.new {seen}; exec sleep 60"))])
    made.tell(RAISED)
    await until(seen.exists)
    await made.stop(0.0)

    with pytest.raises(ProcessLookupError):
        os.kill(int(seen.read_text(encoding="utf-8")), 0)


async def test_a_stop_that_is_broken_off_closes_the_connections() -> None:
    """Those of the webhooks, with which nobody speaks any more."""
    made = AlertDelivery(Untold())
    made.use([Hangs()])
    session = made.session()
    made.tell(RAISED)
    stopping = asyncio.ensure_future(made.stop(60.0))
    for _ in range(3):
        await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping})

    assert session.closed
    await made.stop(0.0)


async def test_a_test_asks_every_place_once() -> None:
    """And says how it went at each, without trying again."""
    async with server(500) as received, delivering(received) as (made, untold):
        made.use([LogPlace(), WebhookPlace("ops", received.url, session=made.session)])
        went = await made.test(alert())

    assert [(one.to, one.told) for one in went] == [("log", True), ("webhook ops", False)]
    assert json.loads(received.requests[0][1])["test"] is True
    assert (len(received.requests), untold.told) == (1, [])


async def test_connections_are_made_only_when_there_is_a_webhook() -> None:
    """A hub without one loads no client."""
    made = AlertDelivery(Untold())
    await made.stop()

    assert made._session is None
    assert isinstance(made.session(), ClientSession)
    await made.stop()


def test_the_examples_of_the_docs_hold() -> None:
    """Doctests of the module."""
    assert doctest.testmod(delivery).failed == 0
