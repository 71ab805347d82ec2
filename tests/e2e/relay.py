"""A TCP relay between a worker and its hub that can be cut, and that can hold requests or lose their answers.

It reads just enough of HTTP to tell which request passes: the first line of each. What it holds, it holds until it is
let go; what is cut is neither refused nor closed, as when a cable is pulled.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_S = 0.02


class Relay:
    """Listens on a port of its own and speaks to `target`."""

    def __init__(self, target: str) -> None:
        self.target = target
        """`host:port`; may be changed when a hub was started anew elsewhere."""
        self.is_cut = False
        self.held: set[str] = set()
        """Last parts of paths whose requests do not reach the hub."""
        self.unanswered: set[str] = set()
        """Last parts of paths whose requests reach the hub; instead of an answer the connection breaks."""
        self.seen: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = True
        self._passing: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        """What a worker is told."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Let go of everything. Closing a socket alone does not wake who waits at it in another thread."""
        self._open = False
        _shut(self._listener)
        self._accepting.join(5)
        for one in list(self._passing):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # whoever reads it closes it

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        while self.is_cut and self._open:
            time.sleep(_LOOK_S)
        host, _, port = self.target.partition(":")
        try:
            far = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._passing |= {near, far}
        newest = [""]
        threading.Thread(target=self._back, args=(far, near, newest), daemon=True).start()
        with contextlib.suppress(OSError):
            while self._open and (piece := near.recv(65536)):
                verb = _verb(piece)
                if verb is not None:
                    self.seen.append(verb)
                    newest[0] = verb
                while (self.is_cut or verb in self.held) and self._open:
                    time.sleep(_LOOK_S)
                far.sendall(piece)
        _shut(near, far)
        self._passing -= {near, far}

    def _back(self, far: socket.socket, near: socket.socket, newest: list[str]) -> None:
        with contextlib.suppress(OSError):
            while piece := far.recv(65536):
                while self.is_cut and self._open:
                    time.sleep(_LOOK_S)
                if newest[0] in self.unanswered:
                    break
                near.sendall(piece)
        _shut(near, far)


def _verb(piece: bytes) -> str | None:
    """The last part of the path of a request that begins here."""
    line = piece.split(b"\r\n", 1)[0]
    if not line.startswith((b"POST ", b"GET ")):
        return None
    return line.split(b" ")[1].rsplit(b"/", 1)[-1].decode()


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """A relay to a hub."""
    made = Relay(url.removeprefix("http://"))
    try:
        yield made
    finally:
        made.close()
