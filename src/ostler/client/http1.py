"""One HTTP/1.1 exchange on a connection of its own: what the command line needs of HTTP, and no more.

`http.client` does the same and costs 25 ms of imports (its headers are e-mail's), a quarter of what a short verb may
take. Here a request is sent whole, the connection is closed after the answer, and a body ends as its header says: by
length, by chunks, or with the connection. Everything that was not said completely is an error, never a short answer.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from urllib.parse import urlsplit

LINE_MAX = 65_536
BODY_BYTES_MAX = 1024 * 1024 * 1024
PIECE_BYTES = 256 * 1024
INTERIM_MAX = 100
_LINES = re.compile(r"[\r\n\0]")
_BREAKS = re.compile(r"[\s\0]")
HEADERS_MAX = 200
_CONTINUE = range(100, 200)


class NotHttpError(OSError):
    """What came back is not HTTP, or broke off in the middle."""


class Site:
    """Host, port and path prefix of a base address. Raises `ValueError` when the address has no valid port."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.name = parts.netloc.rpartition("@")[2]
        self.prefix = parts.path.rstrip("/")

    def connect(self, timeout_s: float) -> socket.socket:
        """A connected socket; each later wait on it is bounded by `timeout_s`. Raises `OSError`."""
        connection = socket.create_connection((self.host, self.port), timeout_s)
        if not self.secure:
            return connection
        import ssl  # noqa: PLC0415 - 20 ms that a loopback hub does not need

        try:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=self.host)
        except OSError:
            connection.close()
            raise


class Answer:
    """Status and headers (names in lower case) of an answer whose body is still to be read."""

    def __init__(self, status: int, headers: Mapping[str, str], reader: BufferedReader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    def read(self) -> bytes:
        """The whole body. Raises `NotHttpError` when it breaks off or is larger than `BODY_BYTES_MAX`."""
        pieces, size = [], 0
        for piece in self._pieces():
            size += len(piece)
            if size > BODY_BYTES_MAX:
                raise NotHttpError(f"the answer is larger than {BODY_BYTES_MAX} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def lines(self) -> Iterator[bytes]:
        """Lines of the body as they come, without their line ends; a last line without one is broken and left out."""
        rest = b""
        for piece in self._pieces():
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > LINE_MAX * 16:
                raise NotHttpError("a line without end")
            yield from whole

    def _pieces(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
        elif "content-length" in self.headers:
            yield from _exactly(self._reader, _number(self.headers["content-length"], 10))
        else:
            while piece := self._reader.read1():
                yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := _number(_line(self._reader).partition(";")[0], 16):
            yield from _exactly(self._reader, size)
            _line(self._reader)
        _headers(self._reader)  # what follows the last chunk means nothing to us


@contextmanager
def exchange(connection: socket.socket, request: bytes) -> Iterator[Answer]:
    """Send a request and give the answer; closes the connection.

    Raises `ConnectionResetError` when it ends before anything was answered, `NotHttpError` when what comes is no HTTP,
    and `OSError`.
    """
    with connection, connection.makefile("rb") as reader:
        connection.sendall(request)
        status = _status(reader)
        headers = _headers(reader)
        for _ in range(INTERIM_MAX):
            if status not in _CONTINUE:
                break
            status, headers = _status(reader), _headers(reader)
        else:
            raise NotHttpError("it announces an answer without end")
        yield Answer(status, headers, reader)


def request_text(site: Site, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A whole request. Raises `NotHttpError` for a path or a header that would be more than one line, or two words."""
    lines = [f"{method} {site.prefix}{path} HTTP/1.1", f"Host: {site.name}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if _BREAKS.search(path) or any(_LINES.search(line) for line in lines):
        raise NotHttpError("a name in the question cannot stand in an address")
    if body is not None or method == "POST":
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


def _status(reader: BufferedReader) -> int:
    try:
        first = reader.readline(LINE_MAX)
    except ConnectionResetError:
        first = b""
    if not first:
        raise ConnectionResetError("it closed the connection without an answer")
    version, _, rest = first.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise NotHttpError("what answers there is no web server")
    return int(rest[:3])


def _headers(reader: BufferedReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    while text := _line(reader):
        if len(headers) == HEADERS_MAX:
            raise NotHttpError("the answer has too many headers")
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _line(reader: BufferedReader) -> str:
    raw = reader.readline(LINE_MAX)
    if not raw.endswith(b"\n"):
        raise NotHttpError("the answer broke off")
    return raw.rstrip(b"\r\n").decode("latin-1")


def _exactly(reader: BufferedReader, size: int) -> Iterator[bytes]:
    """So many bytes, in pieces: what is said to come may be more than there is memory for."""
    while size:
        piece = reader.read(min(size, PIECE_BYTES))
        if not piece:
            raise NotHttpError("the answer broke off")
        size -= len(piece)
        yield piece


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        number = -1
    if number < 0:
        raise NotHttpError("the answer says no valid length")
    return number
