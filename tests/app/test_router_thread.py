"""The loop of a router inside a program: what is opened in it is opened once and closed, whoever stops waiting when."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future

import pytest

from ostler.app.router_thread import RouterThread

BOUND_S = 10.0


class Opened:
    def __init__(self, house: "House") -> None:
        self._house = house

    async def stop(self) -> None:
        self._house.stopped += 1
        if self._house.stop_fails:
            raise RuntimeError("it does not end")


class House:
    """Opens when it is let, and counts."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_open = threading.Event()
        self.opened = self.broken_off = self.stopped = 0
        self.refusals = 0
        self.stop_fails = False

    async def open(self) -> Opened:
        self.begun.set()
        try:
            while not self.may_open.is_set():  # noqa: ASYNC110 -- another thread lets it
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        if self.refusals:
            self.refusals -= 1
            raise ValueError("it cannot be opened")
        self.opened += 1
        return Opened(self)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def thread(house: House) -> Iterator[RouterThread[Opened]]:
    made = RouterThread(house.open, "a router")
    yield made
    if not made._loop.is_closed():
        made.close()


async def fine(_opened: Opened) -> str:
    return "fine"


def told(answer: "Future[str]") -> str:
    return answer.result(BOUND_S)


def begun(house: House, thread: RouterThread[Opened], work: Callable[[Opened], Awaitable[str]] = fine) -> "Future[str]":
    """A question that waits for what is being opened."""
    answer = thread.begin(work)
    assert house.begun.wait(BOUND_S)
    return answer


def test_who_gives_up_waiting_ends_nobody_elses_wait(house: House, thread: RouterThread[Opened]) -> None:
    """Nothing is half open, and nothing is opened twice."""
    first, second = begun(house, thread), thread.begin(fine)
    assert first.cancel()
    house.may_open.set()

    assert told(second) == told(thread.begin(fine)) == "fine"
    assert (house.opened, house.broken_off) == (1, 0)
    thread.close()
    assert house.stopped == 1


def test_an_end_breaks_off_what_is_being_opened(house: House, thread: RouterThread[Opened]) -> None:
    """Whoever waits for it is told, and it has the time to leave nothing behind."""
    answer = begun(house, thread)
    thread.close()
    with pytest.raises(CancelledError):
        told(answer)
    assert (house.opened, house.broken_off, house.stopped) == (0, 1, 0)
    assert not thread._thread.is_alive()


def test_what_cannot_be_opened_is_tried_again(house: House, thread: RouterThread[Opened]) -> None:
    """By the next who asks; whoever waited for it is told why there is none."""
    house.refusals = 1
    first, second = begun(house, thread), thread.begin(fine)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), thread._loop).result(BOUND_S)  # now both wait
    house.may_open.set()
    for answer in (first, second):
        with pytest.raises(ValueError, match="cannot be opened"):
            told(answer)

    assert told(thread.begin(fine)) == "fine"
    thread.close()
    assert (house.opened, house.stopped) == (1, 1)


def test_the_end_ends_what_is_under_way(house: House, thread: RouterThread[Opened]) -> None:
    """Also where what is open does not end well: that is told, and the thread is over all the same."""
    at_work = threading.Event()

    async def for_ever(_opened: Opened) -> str:
        at_work.set()
        await asyncio.Event().wait()
        return "never"

    house.may_open.set()
    house.stop_fails = True
    answer = thread.begin(for_ever)
    assert at_work.wait(BOUND_S)

    with pytest.raises(RuntimeError, match="does not end"):
        thread.close()
    with pytest.raises(CancelledError):
        told(answer)
    assert house.stopped == 1
    assert not thread._thread.is_alive()


def test_one_who_comes_with_the_end_opens_nothing(house: House, thread: RouterThread[Opened]) -> None:
    """Nobody would close it."""
    house.may_open.set()
    asyncio.run_coroutine_threadsafe(thread._end(), thread._loop).result(BOUND_S)
    with pytest.raises(CancelledError):
        told(thread.begin(fine))
    assert house.opened == 0
