"""Clients of the gateway in each format, on a plain HTTP client: what arrives is judged as the format's own rules say.

An answer is `whole` only if its end marker was seen (a streamed one) or it is one complete document. Otherwise there
must be an error that its client can see: a status, an error event, or a connection that breaks off.
"""

import http.client
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.gateway.upstream import Json

TIMEOUT_S = 20.0
PROMPT = "Which colours do horses have?"


@dataclass
class Got:
    """An answer as its client sees it."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    text: str = ""
    whole: bool = False
    error: str = ""
    """Message of the error, wherever it stood; empty = none was seen."""
    error_kind: str = ""

    def __str__(self) -> str:
        return (
            f"status {self.status}, whole {self.whole}, error {self.error!r}, text {self.text!r}\n{self.raw[-2000:]!r}"
        )


@dataclass(frozen=True)
class Client:
    """One format as a client speaks it."""

    name: str
    path: str
    body: Callable[[str, str], Json]
    """Model and prompt -> a request without `stream`."""
    read_whole: Callable[[Json, Got], None]
    read_event: Callable[[Any, Got], None]
    lines: bool = False
    """Its streams are lines of JSON, not server-sent events."""

    def ask(
        self,
        url: str,
        model: str,
        *,
        stream: bool,
        key: str = "",
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> Got:
        """One request, read to its end."""
        body = {**self.body(model, PROMPT), "stream": stream, **fields}
        got = send(url, self.path, body, {**(headers or {}), **({"authorization": f"Bearer {key}"} if key else {})})
        if got.status:
            self._read(got, stream)
        return got

    def _read(self, got: Got, stream: bool) -> None:
        if got.status != http.client.OK:
            _read_error(json.loads(got.raw), got)
        elif not stream:
            try:
                self.read_whole(json.loads(got.raw), got)
                got.whole = not got.error
            except json.JSONDecodeError:
                got.error = got.error or "half a document"
        else:
            for data in got.raw.splitlines() if self.lines else _events(got.raw):
                if data == b"[DONE]":
                    got.whole = True
                elif data:
                    self.read_event(json.loads(data), got)


def send(url: str, path: str, body: Json, headers: Mapping[str, str]) -> Got:
    """POST a document; a connection that breaks off is an error that the client sees."""
    address = urlsplit(url)
    assert address.hostname is not None
    got = Got()
    with closing(http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT_S)) as connection:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
        try:
            answer = connection.getresponse()
            got.status = answer.status
            got.headers = {name.lower(): value for name, value in answer.getheaders()}
            got.raw = answer.read()
        except http.client.IncompleteRead as error:
            got.raw, got.error = error.partial, "the connection broke off"
        except ConnectionError as error:
            got.error = str(error)
    return got


def _events(raw: bytes) -> list[bytes]:
    return [line.removeprefix(b"data: ") for line in raw.splitlines() if line.startswith(b"data: ")]


def _read_error(body: Any, got: Got) -> None:  # noqa: ANN401 -- any JSON
    error = body.get("error", body)
    if isinstance(error, str):
        got.error = error
    else:
        got.error = str(error.get("message", ""))
        got.error_kind = str(error.get("code") or error.get("type") or "")


def _chat_body(model: str, prompt: str) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


def _anthropic_body(model: str, prompt: str) -> Json:
    return {**_chat_body(model, prompt), "max_tokens": 200}


def _responses_body(model: str, prompt: str) -> Json:
    return {"model": model, "input": prompt}


def _generate_body(model: str, prompt: str) -> Json:
    return {"model": model, "prompt": prompt}


def _chat_whole(body: Json, got: Got) -> None:
    got.text = body["choices"][0]["message"]["content"] or ""


def _chat_event(event: Json, got: Got) -> None:
    if event.get("error"):
        _read_error(event, got)
    for choice in event.get("choices") or ():
        got.text += choice["delta"].get("content") or ""


def _responses_whole(body: Json, got: Got) -> None:
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    got.text = "".join(part["text"] for part in parts if part["type"] == "output_text")
    if body["status"] not in {"completed", "incomplete"}:
        _read_error(body, got)


def _responses_event(event: Json, got: Got) -> None:
    match event["type"]:
        case "response.output_text.delta":
            got.text += event["delta"]
        case "response.completed" | "response.incomplete":
            got.whole = True
        case "response.failed":
            _read_error(event["response"], got)
        case "error":
            _read_error(event, got)


def _anthropic_whole(body: Json, got: Got) -> None:
    got.text = "".join(block["text"] for block in body["content"] if block["type"] == "text")


def _anthropic_event(event: Json, got: Got) -> None:
    match event["type"]:
        case "content_block_delta":
            got.text += event["delta"].get("text", "")
        case "message_stop":
            got.whole = True
        case "error":
            _read_error(event, got)


def _ollama_event(event: Json, got: Got) -> None:
    if "error" in event:
        _read_error(event, got)
        return
    got.text += event["message"]["content"] if "message" in event else event.get("response", "")
    got.whole = got.whole or bool(event.get("done"))


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client("openai-chat", "/v1/chat/completions", _chat_body, _chat_whole, _chat_event),
        Client("openai-responses", "/v1/responses", _responses_body, _responses_whole, _responses_event),
        Client("anthropic", "/v1/messages?beta=true", _anthropic_body, _anthropic_whole, _anthropic_event),
        Client("ollama-chat", "/api/chat", _chat_body, _ollama_event, _ollama_event, lines=True),
        Client("ollama-generate", "/api/generate", _generate_body, _ollama_event, _ollama_event, lines=True),
    )
}
