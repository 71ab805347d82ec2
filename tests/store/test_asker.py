"""Questions that are given up: whatever was opened for one is closed, whenever the end comes."""

import asyncio
import gc
from itertools import product

import psycopg
import pytest

from ostler.store.asker import Asker
from ostler.store.postgres_engine import place_of


class Opened:
    """A question that opens something, and what became of it."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.opened = 0
        self.closed = 0

    async def asked(self) -> str:
        await self.may_answer.wait()
        self.opened += 1
        return "answer"

    async def close(self, answer: str) -> None:
        assert answer == "answer"
        self.closed += 1


def an_asker(limit_s: float = 60.0) -> Asker:
    return Asker(place_of("postgresql://nobody@127.0.0.1:9/none"), limit_s, "test")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("before_end", range(6))
@pytest.mark.parametrize("before_answer", range(4))
@pytest.mark.parametrize("given_up", ["cancelled", "late"])
async def test_what_was_given_up_is_closed_or_never_opened(given_up: str, before_answer: int, before_end: int) -> None:
    """However few turns of the loop lie between giving up, the answer, and the end."""
    asker, question = an_asker(60.0 if given_up == "cancelled" else 0.01), Opened()
    asking = asyncio.ensure_future(asker.in_time(question.asked, question.close))
    await turns(3)
    if given_up == "cancelled":
        asking.cancel()
    else:
        await asyncio.wait({asking})
    await turns(before_answer)
    question.may_answer.set()
    await turns(before_end)
    await asker.close()

    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert isinstance(asking.exception() if not asking.cancelled() else None, psycopg.OperationalError | None)
    assert question.closed == question.opened


async def test_an_answer_in_time_is_the_askers_to_close() -> None:
    """Nothing is closed behind his back."""
    asker, question = an_asker(), Opened()
    question.may_answer.set()

    assert await asker.in_time(question.asked, question.close) == "answer"
    await asker.close()
    assert (question.opened, question.closed) == (1, 0)


async def test_one_that_is_never_answered_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it does not obey at once: the driver asks the server first."""
    monkeypatch.setattr("ostler.store.asker.LEFT_BEHIND_S", 0.01)
    told: list[str] = []

    async def stubborn() -> str:
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told.append("end")
                if len(told) == 2:
                    raise
        raise AssertionError

    asker, question = an_asker(0.01), Opened()
    with pytest.raises(psycopg.OperationalError, match=r"no answer within 0\.01 s"):
        await asker.in_time(stubborn, question.close)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert told == ["end", "end"]
    await asker.close()


class Line:
    """A connection that counts."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("has_asked", [True, False])
async def test_an_end_of_everything_leaves_no_connection(has_asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few turns of the loop lie between a question, its cancel, and the end of the loop with all its tasks."""
    lines: list[Line] = []

    async def connected(_place: object, _name: str) -> Line:
        await turns(1)
        lines.append(Line())
        return lines[-1]

    async def rows(line: Line, _text: str, _values: object) -> list[object]:
        try:
            await turns(2)
        except BaseException:
            await line.close()
            raise
        return []

    monkeypatch.setattr("ostler.store.asker.connected", connected)
    monkeypatch.setattr("ostler.store.asker.rows", rows)
    for before_cancel, before_end in product(range(1, 6), range(4)):
        asker = an_asker()
        if has_asked:
            await asker.ask("SELECT 1")
        asking = asyncio.ensure_future(asker.ask("SELECT 2"))
        await turns(before_cancel)
        asking.cancel()
        await turns(before_end)
        await asker.close()

        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        assert [line.closed for line in lines] == [True] * len(lines), (before_cancel, before_end)
    gc.collect()  # what was never begun warns here, and a warning fails the test
