"""A scripted provider: speaks OpenAI's chat protocol on a real port, now and then badly, and writes down what it bills.

What becomes of a call follows from the span of its attempt, so a seed plays the same script again. Everything that
went to work is billed in full, whether the answer arrives or not: that makes a lost answer dear. `calls` is the bill.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

MODEL = "scripted-model"
INPUT_TOKENS, INPUT_USD_PER_MTOK = 10, 1
OUTPUT_USD_PER_MTOK = 2
_WATCHED_S = 0.05


class Play(StrEnum):
    """What becomes of a call."""

    ANSWERED = "answered"
    SLOW = "slow"
    LOST = "lost"
    """Billed, and the connection ends before the first word."""
    HALF = "half"
    """Billed, and the connection ends in the middle."""
    BUSY = "busy"
    """Turned away with 503, and not billed."""
    LIMITED = "limited"
    """Turned away with 429, and not billed."""


WEIGHTS = {Play.ANSWERED: 74, Play.SLOW: 14, Play.LOST: 4, Play.HALF: 3, Play.BUSY: 3, Play.LIMITED: 2}
FREE = frozenset({Play.BUSY, Play.LIMITED})


@dataclass
class Call:
    """One call as the provider saw it. `key`: the process that asked; times are of the steady clock."""

    task: str
    span: str
    key: str
    play: Play
    output_tokens: int
    began_s: float
    ended_s: float = float("inf")

    @property
    def billed_micro_usd(self) -> int:
        """What the provider wants for it."""
        if self.play in FREE:
            return 0
        return INPUT_TOKENS * INPUT_USD_PER_MTOK + self.output_tokens * OUTPUT_USD_PER_MTOK


@dataclass(frozen=True)
class Together:
    """Two calls for one task at one time."""

    older: Call
    newer: Call


class Upstream:
    """The provider, in a thread of its own. Use it in a `with`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted provider", daemon=True)
        self._open: dict[str, list[Call]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls: list[Call] = []
        self.together: list[Together] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        port: int = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection may have another."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if lines[0].startswith("GET"):
            listing = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
            writer.write(_plain(200, listing))
            return True
        return await self._chat(reader, writer, headers, json.loads(body))

    async def _chat(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
        body: dict[str, object],
    ) -> bool:
        call = self._noted(headers, str(body["messages"]))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            if call.play in FREE:
                busy = call.play is Play.BUSY
                error = {"error": {"message": "the script says no", "type": "server_error"}}
                writer.write(_plain(503 if busy else 429, error, "" if busy else "retry-after: 1\r\n"))
                return False
            thinking_s = 0.4 if call.play is Play.SLOW else 0.05
            done, _ = await asyncio.wait({gone}, timeout=thinking_s)
            if done or call.play is Play.LOST:
                return False
            pieces = _pieces(call)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            writer.write("".join(pieces[: 2 if call.play is Play.HALF else None]).encode())
            await writer.drain()
            return False
        finally:
            gone.cancel()
            call.ended_s = time.monotonic()
            self._open[call.task].remove(call)

    def _noted(self, headers: dict[str, str], messages: str) -> Call:
        """Write the call down, and whether another one for its task is under way."""
        span = headers.get("traceparent", "").split("-")[2]
        play, output_tokens = self.script(span)
        call = Call(
            task=messages.partition("task<")[2].partition(">")[0],
            span=span,
            key=headers.get("authorization", "").removeprefix("Bearer "),
            play=play,
            output_tokens=output_tokens,
            began_s=time.monotonic(),
        )
        self.calls.append(call)
        beside = self._open.setdefault(call.task, [])
        for older in beside:
            self._loop.call_later(_WATCHED_S, self._judge, older, call)
        beside.append(call)
        return call

    def script(self, span: str) -> tuple[Play, int]:
        """What becomes of the call of an attempt, and how many tokens its answer has."""
        rng = random.Random(f"{self._seed} {span}")
        return rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0], rng.randint(3, 30)

    def _judge(self, older: Call, newer: Call) -> None:
        """Whether the older one was really still wanted: a client that is dead has hung up by now."""
        if older.ended_s > newer.began_s + _WATCHED_S / 2:
            self.together.append(Together(older, newer))


def _plain(status: int, body: object, more: str = "") -> bytes:
    text = json.dumps(body)
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n{more}"
    return f"{head}\r\n{text}".encode()


def _pieces(call: Call) -> list[str]:
    """The events of an answer: a word for each token, its end, the count, the mark of the end."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    words = [{"delta": {"role": "assistant", "content": "word "}, "index": 0, "finish_reason": None}]
    chunks: list[dict[str, object]] = [head | {"choices": words} for _ in range(call.output_tokens)]
    chunks.append(head | {"choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": call.output_tokens}
    chunks.append(head | {"choices": [], "usage": usage | {"total_tokens": INPUT_TOKENS + call.output_tokens}})
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
