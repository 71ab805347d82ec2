"""Asking a served hub over real HTTP, header by header."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.web.recording_hub import PATIENCE_S, ServedHub


class Answer(NamedTuple):
    """Status, headers and decoded body."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> dict[str, str]:
        """The error, which has exactly the four parts of every error of Ostler."""
        assert set(self.body) == {"error"}
        assert set(self.body["error"]) == {"code", "message", "where", "remedy"}
        error: dict[str, str] = self.body["error"]
        return error


def ask(
    served: ServedHub,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    *,
    raw_text: bool = False,
) -> Answer:
    """One request. A body is called JSON unless `headers` say otherwise; `raw_text`: the answer is none."""
    sent = dict(headers or {})
    if body is not None and "Content-Type" not in sent:
        sent["Content-Type"] = "application/json"
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        raw = answer.read()
        assert raw_text or answer.headers["Content-Type"] == "application/json"
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            raw.decode() if raw_text else json.loads(raw) if raw else None,
        )
    finally:
        connection.close()


@contextmanager
def listening(
    served: ServedHub, path: str, headers: Mapping[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """An open event stream; hangs up at the end."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        with connection.getresponse() as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            yield answer
    finally:
        connection.close()


def blocks(answer: http.client.HTTPResponse, count: int) -> list[str]:
    """The next blocks of an event stream, as they were sent."""
    found: list[str] = []
    lines: list[str] = []
    while len(found) < count:
        line = answer.readline()
        assert line, "the stream ended"
        if line == b"\n":
            found.append("\n".join(lines))
            lines = []
        else:
            lines.append(line.decode().rstrip("\n"))
    return found
