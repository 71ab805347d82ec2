"""A simulated upstream that plays scripts byte for byte, on plain asyncio streams: what an HTTP library would mend or
refuse to send can be sent here, and what the other side does with its connection is seen as it happens.

A `Play` turns a request into steps: bytes to write, pauses, and ways to end. Requests for an answer take the next play
of the script, then the default one for ever; requests for lists and counts (what a prober asks) have fixed answers that
use up nothing. Every request for an answer is recorded with what became of it.

The server runs in a thread of its own; the records are read by the test's thread, which waits with `eventually`.
"""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 10.0
HEADER_LIMIT_BYTES = 1 << 20
PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}

Json = dict[str, Any]


class Ending(Enum):
    """What happens to the connection instead of going on."""

    RESET = "reset"
    """RST: the other side sees the connection break."""
    CLOSE = "close"
    """FIN, wherever the answer stands."""
    HANG = "hang"
    """Nothing more is sent, the connection stays open until the other side gives up."""


@dataclass(frozen=True)
class Pause:
    """Seconds in which nothing is sent."""

    seconds: float


@dataclass(frozen=True)
class Held:
    """Nothing is sent until somebody sets it."""

    until: threading.Event


@dataclass(frozen=True)
class Frame:
    """One event of a stream: its bytes, counted when they were written."""

    data: bytes


Step = bytes | Frame | Pause | Held | Ending


@dataclass
class Call:
    """A request for an answer and what became of it. Instants are those of `time.monotonic`."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    begun_s: float
    play: str = ""
    frames_sent: int = 0
    ended_s: float | None = None
    gave_up: bool = False
    """The other side closed the connection before the answer was whole."""

    @property
    def json(self) -> Json:
        """The body as JSON."""
        decoded = json.loads(self.body)
        assert isinstance(decoded, dict)
        return decoded

    @property
    def key(self) -> str:
        """The key it was sent with, wherever the format puts it."""
        return self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.ended_s is not None


class Dialect:
    """What an upstream must know of a format to be one; see `tests.gateway.dialects`."""

    name: str
    answers: tuple[str, ...]
    """Paths whose requests are for an answer."""

    def fixed(self, method: str, path: str, body: bytes) -> Json | None:
        """The fixed answer of another path; `None` = there is no such path."""
        raise NotImplementedError


Play = Callable[[Call, Any], Sequence[Step]]
"""Called with the request and the upstream's dialect."""


@dataclass
class _Script:
    default: Play
    coming: list[Play] = field(default_factory=list)


class Upstream:
    """One upstream of one dialect on a loopback port, as a context manager."""

    def __init__(self, dialect: Dialect, default: Play) -> None:
        self.dialect = dialect
        self.calls: list[Call] = []
        self.other_requests: list[tuple[str, str]] = []
        self.connections_open = 0
        self.port = 0
        self._default = default
        self._script = _Script(default)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"upstream-{dialect.name}", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its base address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, *plays: Play, then: Play | None = None) -> None:
        """Play these for the coming requests, in order; `then` replaces the default play after them."""
        self._script = _Script(then or self._script.default, list(plays))

    def share_script(self, other: "Upstream") -> None:
        """Take plays from the script of another upstream, each once among the two."""
        self._script = other._script

    def forget(self) -> None:
        """Forget what was asked, play the default of the beginning again, and close all connections."""
        self._loop.call_soon_threadsafe(self._hang_up)
        eventually(self._is_quiet, "all connections are closed")
        self.calls, self.other_requests = [], []
        self._script = _Script(self._default)

    def wait_for(self, count: int) -> list[Call]:
        """Wait until `count` requests for an answer have come; they are returned."""
        eventually(lambda: len(self.calls) >= count, f"{count} calls at the {self.dialect.name} upstream")
        return self.calls[:count]

    def all_over(self) -> bool:
        """Whether no request is under way."""
        return all(call.over for call in self.calls)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the upstream does not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the upstream does not stop"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        talks = self._talks

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            self.connections_open += 1
            try:
                with contextlib.suppress(asyncio.CancelledError):  # that is how `_hang_up` ends it
                    await self._connection(reader, writer)
            finally:
                self.connections_open -= 1
                talks.discard(task)

        server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=HEADER_LIMIT_BYTES, backlog=2_048)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._hang_up()
        await asyncio.gather(*talks, return_exceptions=True)

    def _is_quiet(self) -> bool:
        if self.connections_open:
            self._loop.call_soon_threadsafe(self._hang_up)  # one may have come in meanwhile
        return self.connections_open == 0

    def _hang_up(self) -> None:
        for task in list(self._talks):
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            early = b""
            while (request := await _read_request(reader, early)) is not None:
                keeps, early = await self._answer(request, reader, writer)
                if not keeps:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side went away between two requests: nothing was asked
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[bool, bytes]:
        path = call.path.partition("?")[0]
        if call.method == "POST" and path.endswith(self.dialect.answers):
            script = self._script
            play = script.coming.pop(0) if script.coming else script.default
            call.play = getattr(play, "__name__", "")
            self.calls.append(call)
            steps = play(call, self.dialect)
        else:
            self.other_requests.append((call.method, call.path))
            fixed = self.dialect.fixed(call.method, path, call.body)
            steps = json_answer(200, fixed) if fixed is not None else json_answer(404, {"error": f"no {path} here"})
        playing = asyncio.ensure_future(_play(steps, call, writer))
        watching = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done() and not watching.result():
                call.gave_up = True
                return False, b""
            keeps = await playing
            return keeps, watching.result() if watching.done() else b""
        except ConnectionError:
            call.gave_up = True
            return False, b""
        finally:
            for task in (playing, watching):
                task.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)
            call.ended_s = time.monotonic()


async def _read_request(reader: asyncio.StreamReader, early: bytes) -> Call | None:
    try:
        head = early + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _version = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(method, path, headers, body, time.monotonic())


async def _chunks(reader: asyncio.StreamReader) -> Any:  # noqa: ANN401 -- an async iterator of bytes
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()


async def _play(steps: Sequence[Step], call: Call, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection can be used again."""
    for step in steps:
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case Frame(data):
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))
                await writer.drain()
                call.frames_sent += 1
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Held(until):
                while not until.is_set():  # noqa: ASYNC110 -- another thread sets it
                    await asyncio.sleep(0.01)
            case Ending.HANG:
                await asyncio.Event().wait()
            case Ending.CLOSE:
                return False
            case Ending.RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return False
    return True


END_OF_CHUNKS = b"0\r\n\r\n"


def head(status: int, content_type: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of an answer whose body comes in chunks."""
    return _head(status, {"content-type": content_type, "transfer-encoding": "chunked", **(headers or {})})


def body_answer(status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> list[Step]:
    """A whole answer of known length."""
    fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    return [_head(status, fields), body]


def json_answer(status: int, content: object, headers: Mapping[str, str] | None = None) -> list[Step]:
    """A whole answer in JSON."""
    return body_answer(status, "application/json", json.dumps(content).encode(), headers)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Simulated')}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def eventually(condition: Callable[[], object], what: str, limit_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds; fail with `what` when it does not in time."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def at_most(seconds: float, what: str) -> Iterator[None]:
    """The block must not take longer than `seconds`."""
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    assert took <= seconds, f"{what} took {took:.2f} s, at most {seconds} s were allowed"
