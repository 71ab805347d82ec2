"""Long answers step by step, driven by hand: backpressure, heartbeats, errors at the start, clients that vanish."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from starlette.types import Message

from ostler.domain.errors import InvalidInputError
from ostler.domain.event import Event
from ostler.domain.tasks import TaskSpec
from ostler.web.stream import ClientGoneError, send_events, until_gone
from tests.web.asking import ask, blocks, listening
from tests.web.recording_hub import PATIENCE_S, ServedHub, eventually


class Source:
    """A stream of events that knows how far it was read and whether it was closed."""

    def __init__(self, *events: Event, error: Exception | None = None, ends: bool = True) -> None:
        self.read = 0
        self.closed = False
        self._events = events
        self._error = error
        self._ends = ends

    async def __call__(self) -> AsyncIterator[Event]:
        try:
            for event in self._events:
                self.read += 1
                yield event
            if self._error is not None:
                raise self._error
            if not self._ends:
                await asyncio.Event().wait()
        finally:
            self.closed = True


class Client:
    """The other end of an ASGI connection: takes messages when it is let, hangs up when it is told."""

    def __init__(self, *, slow: bool = False) -> None:
        self.messages: list[Message] = []
        self.may_take = asyncio.Semaphore(0 if slow else 1_000)
        self._gone = asyncio.Event()
        self._taken = asyncio.Condition()

    async def send(self, message: Message) -> None:
        await self.may_take.acquire()
        self.messages.append(message)
        async with self._taken:
            self._taken.notify_all()

    async def has_taken(self, text: str) -> None:
        """Wait until a text has arrived."""
        async with asyncio.timeout(PATIENCE_S), self._taken:
            await self._taken.wait_for(lambda: text in self.text)

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def hang_up(self) -> None:
        self._gone.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()


def event(seq: int) -> Event:
    """An event with a sequence number."""
    return Event(name="x", at_ms=1, seq=seq)


async def test_events_are_sent_in_order_and_the_answer_is_completed() -> None:
    """Head, retry hint, each event once, and an end that says so."""
    client, source = Client(), Source(event(1), event(2))

    await send_events(client.send, source(), 60)

    assert client.messages[0]["status"] == 200
    assert [line for line in client.text.splitlines() if line.startswith("id")] == ["id: 1", "id: 2"]
    assert client.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_slow_reader_holds_back_its_own_stream() -> None:
    """Nothing is buffered for a client that does not read: at most one event is taken ahead."""
    client, source = Client(slow=True), Source(*(event(seq) for seq in range(1, 50)))
    sending = asyncio.ensure_future(send_events(client.send, source(), 60))
    for _ in range(20):
        await asyncio.sleep(0)
        assert source.read <= 1

    for _ in range(5):
        client.may_take.release()
        await asyncio.sleep(0.001)
    assert source.read <= len(client.messages)

    sending.cancel()
    await asyncio.wait({sending})


async def test_silence_brings_a_comment_and_loses_no_event() -> None:
    """A heartbeat does not cancel the wait for the next event."""
    gate = asyncio.Event()

    async def late() -> AsyncIterator[Event]:
        await gate.wait()
        yield event(7)

    client = Client()
    sending = asyncio.ensure_future(send_events(client.send, late(), 0.001))
    await client.has_taken(": still here\n\n: still here\n\n: still here")
    gate.set()
    await sending

    assert client.text.count("id: 7\n") == 1


async def test_an_error_at_the_start_is_no_half_answer() -> None:
    """What is wrong from the start is raised before anything is sent, so that it can be answered as an error."""
    client, source = Client(), Source(error=InvalidInputError("no such event"))

    with pytest.raises(InvalidInputError):
        await send_events(client.send, source(), 60)

    assert client.messages == []


async def test_a_source_is_closed_when_its_client_is_gone() -> None:
    """The hub's iterator is not left to the garbage collector."""
    client, source = Client(), Source(event(1), ends=False)
    serving = asyncio.ensure_future(until_gone(client.receive, send_events(client.send, source(), 60)))
    await client.has_taken("id: 1")

    client.hang_up()

    with pytest.raises(ClientGoneError):
        await serving
    assert source.closed


async def test_a_source_is_closed_when_its_client_leaves_while_it_is_sent_to() -> None:
    """Also when an event was taken and could not be handed over."""
    client, source = Client(slow=True), Source(event(1), event(2), ends=False)
    client.may_take.release()
    client.may_take.release()
    serving = asyncio.ensure_future(until_gone(client.receive, send_events(client.send, source(), 60)))
    await client.has_taken("retry")

    client.hang_up()

    with pytest.raises(ClientGoneError):
        await serving
    assert source.closed
    assert "id: 1" not in client.text


async def test_a_source_that_is_no_generator_needs_no_closing() -> None:
    """Any asynchronous iterator will do."""

    class Two:
        def __init__(self) -> None:
            self._left = [event(2), event(1)]

        def __aiter__(self) -> "Two":
            return self

        async def __anext__(self) -> Event:
            if not self._left:
                raise StopAsyncIteration
            return self._left.pop()

    client = Client()
    assert not isinstance(Two(), AsyncGenerator)

    await send_events(client.send, Two(), 60)

    assert client.text.count("id: ") == 2


async def test_work_that_ends_gives_its_result() -> None:
    """A client that stays gets the answer, and nobody waits for it to leave."""
    client = Client()

    async def work() -> int:
        await asyncio.sleep(0)
        return 42

    assert await until_gone(client.receive, work()) == 42


async def test_work_that_fails_raises_its_own_error() -> None:
    """The error is the work's, not one about the client."""

    async def work() -> None:
        raise InvalidInputError("bad")

    with pytest.raises(InvalidInputError):
        await until_gone(Client().receive, work())


async def test_cancelling_from_outside_stops_the_work() -> None:
    """A server that shuts down leaves nothing running behind the answer."""
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    serving = asyncio.ensure_future(until_gone(Client().receive, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    serving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await serving
    assert stopped.is_set()


@pytest.mark.parametrize("turns", range(5))
async def test_cancelling_twice_leaves_nothing_running(turns: int) -> None:
    """The second time while the work takes its time to end: nobody waits for the client any more either."""

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)

    serving = asyncio.ensure_future(until_gone(Client().receive, work()))
    for _ in range(2):
        await asyncio.sleep(0)
    serving.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait({serving})
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("turns", range(5))
async def test_a_stream_that_is_cancelled_twice_is_closed(turns: int) -> None:
    """Not left to the garbage collector: what it follows is let go of at once."""
    client, source = Client(), Source(event(1), ends=False)
    stream = source()
    sending = asyncio.ensure_future(send_events(client.send, stream, 60))
    await client.has_taken("id: 1")
    sending.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait({sending})
    for _ in range(5):
        await asyncio.sleep(0)
    assert source.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_an_error_of_the_stream_is_answered_as_one(served: ServedHub) -> None:
    """Over HTTP too: status and four parts instead of an empty stream."""
    served.fails_with(InvalidInputError("the event is too old", where="after"))

    got = ask(served, "GET", "/hub/events/stream?after=1")

    assert (got.status, got.error["message"]) == (400, "the event is too old")


def test_many_listeners_each_get_every_event(served: ServedHub) -> None:
    """Streams do not take events from each other."""
    found: list[list[str]] = []

    def listen() -> None:
        with listening(served, "/hub/events/stream?after=0") as answer:
            found.append(blocks(answer, 4)[1:])

    threads = [threading.Thread(target=listen) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: served.hub.followers == 5, "all listen")
    served.hub.emit(event(3))
    for thread in threads:
        thread.join(PATIENCE_S)

    assert [[block.split("\n")[0] for block in one] for one in found] == [["id: 1", "id: 2", "id: 3"]] * 5


def test_requests_at_once_get_their_own_answers(served: ServedHub) -> None:
    """Answers are not mixed up between connections."""
    answers: dict[str, str] = {}

    def one(task_id: str) -> None:
        answers[task_id] = ask(served, "POST", f"/hub/tasks/{task_id}/pause").body["id"]

    threads = [threading.Thread(target=one, args=(f"t-{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert answers == {f"t-{number}": f"t-{number}" for number in range(20)}


def test_a_client_that_leaves_in_the_middle_of_its_body_asks_nothing(served: ServedHub) -> None:
    """Half a submit is no submit, and the server goes on."""
    head = (
        b"POST /hub/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as raw:
        raw.sendall(head + b'{"tasks": [')

    assert ask(served, "GET", "/hub/status").status == 200
    assert served.asked("submit") == []


SENT = [
    ("{}", "text/plain"),
    ('{"tasks": [{"id": "a"}]}', "application/json"),
    ("{", "application/json"),
]


def test_several_requests_may_share_a_connection(served: ServedHub) -> None:
    """Also after an error, and after a body that was refused unread."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    statuses = []
    try:
        for body, kind in SENT:
            connection.request("POST", "/hub/tasks", body, {"Content-Type": kind})
            with connection.getresponse() as answer:
                statuses.append(answer.status)
                json.loads(answer.read())
    finally:
        connection.close()

    assert statuses == [415, 201, 400]
    assert served.asked("submit") == [((TaskSpec(id="a"),),)]
