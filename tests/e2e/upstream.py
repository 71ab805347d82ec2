"""A server of models that counts how many calls it is given at once, and notices who hangs up."""

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "counted"


class Counts:
    """What it has seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0
        """The most calls at once."""
        self.begun = 0
        self.ended = 0
        """Calls that were answered."""

    def begin(self) -> None:
        with self._lock:
            self.now += 1
            self.begun += 1
            self.most = max(self.most, self.now)

    def end(self, *, good: bool) -> None:
        with self._lock:
            self.now -= 1
            self.ended += good


def _handler(counts: Counts, lasts_s: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "tests"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            counts.begin()
            there = self._works()
            counts.end(good=there)
            if there:
                message = {"role": "assistant", "content": "counted"}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
                head = {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL}
                self._say(head | {"choices": [choice], "usage": usage})

        def _works(self) -> bool:
            """Take the time of an answer; whether somebody waits for it to the end."""
            end = time.monotonic() + lasts_s
            while (left := end - time.monotonic()) > 0:
                if select.select([self.connection], [], [], left)[0]:
                    return bool(self.connection.recv(1, socket.MSG_PEEK))
            return True

        def _say(self, body: object) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


@contextmanager
def upstream(lasts_s: float) -> Iterator[tuple[str, Counts]]:
    """Its address and what it counts; each call lasts so long."""
    counts = Counts()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(counts, lasts_s))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", counts
    finally:
        server.shutdown()
        server.server_close()
