"""Spans to a receiver of OTLP: gathered, sent now and then, dropped rather than waited for.

    add(spans) -> waiting (at most WAITING_MAX, the oldest give way) -> one request at a time, BATCH spans each

What a receiver refuses for now (429, 502, 503, 504, no connection) is tried `TRIES` times; what it refuses for good is
dropped. Sent and dropped spans are counted. The usual variables of OpenTelemetry add headers.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import structlog

from ostler.telemetry.otlp import PATH, Span, body
from ostler.version import __version__

if TYPE_CHECKING:
    import aiohttp

WAITING_MAX = 20_000
BATCH = 512
EVERY_S = 2.0
TRIES = 3
PAUSE_S = 1.0
TIMEOUT_S = 10.0
_OK = range(200, 300)
_LATER = frozenset({429, 502, 503, 504})
HEADERS_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"


class SpanExporter:
    """Sends spans. Needs a running event loop; `stop` sends what waits."""

    def __init__(
        self,
        url: str,
        service: str,
        *,
        env: Mapping[str, str],
        count: Callable[[str, int], None],
        every_s: float = EVERY_S,
    ) -> None:
        self._url = url.rstrip("/") + ("" if url.rstrip("/").endswith(PATH) else PATH)
        parts = urlsplit(self._url)
        self._shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        """Without what may be a secret."""
        self._service = service
        self._headers = {"Content-Type": "application/json", **headers_of(env.get(HEADERS_VARIABLE, ""))}
        self._count = count
        self._every_s = every_s
        self._waiting: deque[Span] = deque()
        self._session: aiohttp.ClientSession | None = None
        self._running: asyncio.Task[None] | None = None
        self._full = asyncio.Event()
        self._told = False
        self._log = structlog.get_logger("ostler.traces")

    def start(self) -> None:
        """Send from now on."""
        self._running = asyncio.create_task(self._send_for_ever(), name="traces")

    def add(self, spans: Iterable[Span]) -> None:
        """Have spans sent; returns at once."""
        for span in spans:
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.popleft()
                self._count("dropped", 1)
            self._waiting.append(span)
        if len(self._waiting) >= BATCH:
            self._full.set()

    async def stop(self, patience_s: float = 3.0) -> None:
        """Send what waits, at most so long. Safe to repeat."""
        try:
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
                self._running = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await self._send_all()
        finally:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def _send_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._full.wait()
            self._full.clear()
            await self._send_all()

    async def _send_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            sent = False
            try:
                sent = await self._send(batch)
            finally:
                self._count("sent" if sent else "dropped", len(batch))

    async def _send(self, batch: list[Span]) -> bool:
        from aiohttp import ClientError  # noqa: PLC0415 - a quarter of a second that a hub without traces need not pay

        data = await asyncio.to_thread(body, batch, self._service, __version__)
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(PAUSE_S * attempt)
            try:
                async with self._open().post(self._url, data=data, headers=self._headers) as answer:
                    status = answer.status
            except (ClientError, OSError, TimeoutError, ValueError) as error:  # the last: a header that cannot be one
                reason = str(error) or type(error).__name__
                continue
            if status in _OK:
                self._told = False
                return True
            reason = f"it answered with status {status}"
            if status not in _LATER:
                break
        if not self._told:
            self._log.warning("traces cannot be sent; spans are dropped", url=self._shown, reason=reason)
        self._told = True
        return False

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - see `_send`

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self._session


def headers_of(text: str) -> dict[str, str]:
    """Headers as the variable of OpenTelemetry writes them.

    >>> headers_of("api-key=s3cret,x-team=a%20b"), headers_of("")
    ({'api-key': 's3cret', 'x-team': 'a b'}, {})
    """
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {unquote(name).strip(): unquote(value).strip() for name, _, value in pairs}
