"""Alerts to the outside: the log, the desktop, webhooks. Nobody waits for it, and what cannot be told is told of.

Each place has a short line of its own (`WAITING_MAX`; the oldest gives way) and one sender, so that a slow webhook
holds up no other place. A webhook is tried `TRIES` times; a desktop once. What stays untold becomes an event.

A webhook is a POST of JSON with a stable shape (`Payload`). Its headers: `Ostler-Event` (`alert.raised` or
`alert.cleared`), `Ostler-Delivery` (the same for every try of one message), and, where a secret is set,
`Ostler-Signature: t=SECONDS,v1=HEX` with the HMAC-SHA256 of `SECONDS.BODY`, so that a receiver can refuse what is
forged or old.
"""

import asyncio
import hashlib
import hmac
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from ostler.alerts.machine import Change, Told
from ostler.domain.alerts import Alert, Severity
from ostler.version import __version__

if TYPE_CHECKING:
    import aiohttp

WAITING_MAX = 50
TRIES = 4
BACKOFF_S = (1.0, 5.0, 25.0)
TIMEOUT_S = 10.0
DESKTOP_TIMEOUT_S = 5.0
_OK_MIN, _OK_MAX = 200, 299
_REFUSED_MIN, _REFUSED_MAX = 400, 499
_LATER = frozenset({408, 425, 429})
"""Answers of the class 4xx that another try may change."""
_WORST = {Severity.WARNING: 0, Severity.CRITICAL: 1}


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook is sent."""

    event: str
    id: str
    rule: str
    subject: str
    severity: Severity
    state: str
    message: str
    value: float
    bound: float
    times: int
    raised_ms: int | None
    cleared_ms: int | None
    hub: str
    test: bool = False


class TellError(Exception):
    """It could not be told; the text says why. `final`: trying again is no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Place(Protocol):
    """Where alerts are told. `tries`: at most so often."""

    name: str
    least: Severity
    tries: int

    async def tell(self, payload: Payload) -> str:
        """Tell it once; how it went in a few words. Raises `TellError`."""
        ...


class LogPlace:
    """The hub's log."""

    name = "log"
    least = Severity.WARNING
    tries = 1

    def __init__(self) -> None:
        self._log = structlog.get_logger("ostler.alerts")

    async def tell(self, payload: Payload) -> str:
        """One line."""
        say = self._log.info if payload.event == "alert.cleared" else self._log.warning
        fields = {"alert": payload.id, "severity": payload.severity.value}
        say(payload.message or payload.rule, alert_event=payload.event, **fields)
        return "written"


class DesktopPlace:
    """A notification on the desktop of the hub's user, by `notify-send`."""

    name = "desktop"
    least = Severity.WARNING
    tries = 1

    def __init__(self, find: Callable[[str], str | None] = shutil.which) -> None:
        self._find = find

    async def tell(self, payload: Payload) -> str:
        """One notification."""
        program = self._find("notify-send")
        if program is None:
            raise TellError("there is no notify-send here", final=True)
        urgency = "critical" if payload.severity is Severity.CRITICAL else "normal"
        over = " is over" if payload.event == "alert.cleared" else ""
        # `--` ends the options: a message that begins with a dash is still a message.
        words = ("--app-name=Ostler", f"--urgency={urgency}", "--", f"Ostler: {payload.id}{over}", payload.message)
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(DESKTOP_TIMEOUT_S):
                code = await process.wait()
        except TimeoutError:
            raise TellError("notify-send does not come back") from None
        finally:
            if process.returncode is None:  # also where it is waited for no longer
                process.kill()
                await process.wait()
        if code:
            raise TellError(f"notify-send ended with {code}; is there a desktop?")
        return "shown"


class WebhookPlace:
    """An address that is posted to."""

    tries = TRIES

    def __init__(
        self,
        name: str,
        url: str,
        *,
        secret: str = "",
        least: Severity = Severity.WARNING,
        session: Callable[[], "aiohttp.ClientSession"],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = f"webhook {name}"
        self.least = least
        self._url = url
        self._secret = secret.encode()
        self._session = session
        self._now_s = now_s

    async def tell(self, payload: Payload) -> str:
        """One request. An answer of the class 4xx is final, but for 408, 425 and 429."""
        body = msgspec.json.encode(payload)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"ostler/{__version__}",
            "Ostler-Event": payload.event,
            "Ostler-Delivery": delivery_id(payload),
        }
        if self._secret:
            headers["Ostler-Signature"] = signature(self._secret, int(self._now_s()), body)
        from aiohttp import ClientError  # noqa: PLC0415 - see `AlertDelivery.session`

        try:
            # Whoever answers with another address is not the one that the profile names.
            async with self._session().post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (ClientError, OSError, TimeoutError) as error:
            raise TellError(str(error) or type(error).__name__) from None
        if not _OK_MIN <= status <= _OK_MAX:
            raise TellError(f"it answered with status {status}", final=_is_final(status))
        return f"status {status}"


def _is_final(status: int) -> bool:
    return _REFUSED_MIN <= status <= _REFUSED_MAX and status not in _LATER


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """The value of `Ostler-Signature`.

    >>> signature(b"key", 5, b"{}")[:10]
    't=5,v1=9be'
    """
    digest = hmac.new(secret, b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def delivery_id(payload: Payload) -> str:
    """The same for every try of one message, another for any other message."""
    return hashlib.sha256(msgspec.json.encode(payload)).hexdigest()[:32]


def payload_of(event: str, alert: Alert, hub: str, *, test: bool = False) -> Payload:
    """An alert as the outside is told of it."""
    return Payload(
        event=event,
        id=alert.id,
        rule=alert.rule,
        subject=alert.subject,
        severity=alert.severity,
        state=alert.state.value,
        message=alert.message,
        value=alert.value,
        bound=alert.bound,
        times=alert.times,
        raised_ms=alert.raised_ms,
        cleared_ms=alert.cleared_ms,
        hub=hub,
        test=test,
    )


class Went(msgspec.Struct, frozen=True, kw_only=True):
    """How a test went at one place."""

    to: str
    told: bool
    detail: str


class _Line:
    """One place: what waits for it, and who sends it."""

    def __init__(self, place: Place, untold: Callable[[Change, str, int, str], Awaitable[None]], hub: str) -> None:
        self.place = place
        self._untold = untold
        self._hub = hub
        self._waiting: deque[Change] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._stopped = False

    def put(self, change: Change) -> None:
        """Have it told."""
        if self._stopped or _WORST[change.alert.severity] < _WORST[self.place.least]:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
        self._waiting.append(change)
        if self._sending is None:
            self._begin()

    def _begin(self) -> None:
        self._sending = asyncio.create_task(self._send(), name=f"alerts to {self.place.name}")
        self._sending.add_done_callback(self._sent)

    async def stop(self, patience_s: float) -> None:
        """Tell what waits, at most so long."""
        self._stopped = True
        if self._sending is not None:
            try:
                await asyncio.wait({self._sending}, timeout=patience_s)
            finally:
                if self._sending is not None:
                    self._sending.cancel()
                    await asyncio.gather(self._sending, return_exceptions=True)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("ostler.alerts").error("an alert cannot be told", to=self.place.name, error=str(error))
        if self._waiting and not task.cancelled():
            self._begin()  # what came when the last one was just told, or waits behind one that could not be

    async def _send(self) -> None:
        while self._waiting:
            change = self._waiting.popleft()
            event = "alert.raised" if change.told is Told.RAISED else "alert.cleared"
            payload = payload_of(event, change.alert, self._hub)
            for attempt in range(1, self.place.tries + 1):
                try:
                    await self.place.tell(payload)
                    break
                except TellError as error:
                    if error.final or attempt == self.place.tries:
                        await self._untold(change, self.place.name, attempt, str(error))
                        break
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S)) - 1])


class AlertDelivery:
    """All places that alerts are told at. Needs a running event loop."""

    def __init__(self, untold: Callable[[Change, str, int, str], Awaitable[None]], hub: str = "") -> None:
        self._untold = untold
        self._hub = hub
        self._lines: list[_Line] = []
        self._session: aiohttp.ClientSession | None = None

    def use(self, places: Sequence[Place]) -> None:
        """Tell these from now on; what waits for others is still told."""
        self._lines = [_Line(place, self._untold, self._hub) for place in places]

    def session(self) -> "aiohttp.ClientSession":
        """The connections of all webhooks."""
        import aiohttp  # noqa: PLC0415 - a quarter of a second that a hub without webhooks need not pay

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self._session

    def tell(self, change: Change) -> None:
        """Have it told everywhere; returns at once."""
        for line in self._lines:
            line.put(change)

    async def test(self, alert: Alert) -> list[Went]:
        """Tell a test everywhere now, once each, and say how that went."""
        payload = payload_of("alert.raised", alert, self._hub, test=True)

        async def ask(place: Place) -> Went:
            try:
                return Went(to=place.name, told=True, detail=await place.tell(payload))
            except TellError as error:
                return Went(to=place.name, told=False, detail=str(error))

        return list(await asyncio.gather(*(ask(line.place) for line in self._lines)))

    async def stop(self, patience_s: float = 2.0) -> None:
        """Tell what waits, at most so long, and close all connections. Safe to repeat."""
        try:
            await asyncio.gather(*(line.stop(patience_s) for line in self._lines))
        finally:
            if self._session is not None:
                await self._session.close()


def webhooks(
    named: Mapping[str, tuple[str, str, Severity]], session: Callable[[], "aiohttp.ClientSession"]
) -> list[Place]:
    """Places by name: address, secret, least severity."""
    return [
        WebhookPlace(name, url, secret=secret, least=least, session=session)
        for name, (url, secret, least) in sorted(named.items())
    ]
