"""A server that answers each connection with bytes from a script, and keeps what it was asked."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.web.recording_hub import PATIENCE_S

Script = Callable[[socket.socket], None]
"""Does with one connection, after its request was read, whatever the test is about. Closing is done for it."""


class ScriptedServer:
    """Serves one connection for each script, in order."""

    def __init__(self, listener: socket.socket, scripts: tuple[Script, ...]) -> None:
        self.requests: list[str] = []
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._listener = listener
        self._scripts = scripts

    def serve(self) -> None:
        """Answer as many connections as there are scripts; refuse all that come after them."""
        for left, script in zip(reversed(range(len(self._scripts))), self._scripts, strict=True):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE_S)
                self.requests.append(_request(connection))
                if not left:
                    self._listener.close()  # before the answer: who has it may come again at once
                script(connection)
        self._listener.close()


def sends(*parts: bytes) -> Script:
    """Answer with these bytes, part by part."""

    def script(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return script


def answers(body: bytes, status: str = "200 OK", headers: bytes = b"") -> Script:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode()
    return sends(head + headers + b"\r\n" + body)


def resets(connection: socket.socket) -> None:
    """Break the connection off hard, as a crash does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def hangs_up(_connection: socket.socket) -> None:
    """Close the connection without a word."""


@contextmanager
def scripted(*scripts: Script) -> Iterator[ScriptedServer]:
    """A scripted server on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        server = ScriptedServer(listener, scripts)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who still waits for a connection
            thread.join(PATIENCE_S)
        assert not thread.is_alive()


def _request(connection: socket.socket) -> str:
    """The whole request: head, and as much body as it says."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(65_536)
        if not piece:
            return raw.decode(errors="replace")
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < size:
        body += connection.recv(65_536)
    return (head + b"\r\n\r\n" + body).decode()
