"""The comparison with first-in-first-out: rarely made, kept, never waited for long, and shown with its time."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import EndpointView
from ostler.domain.policy import Policy
from ostler.domain.ports import TaskDetail
from ostler.hub import comparison
from ostler.hub.comparison import FRESH_MS, OLD_MS, UNDER_WAY, Compared
from ostler.hub.host_desk import HostDesk
from ostler.hub.simulated import Saved
from tests.hub.house import House, house
from tests.scheduling.rig import local

SAVED = Saved(tasks=1, minutes=2.0, happened_wait_ms=1, fifo_wait_ms=2, fifo_swaps=3, said="simulated: 2 minutes saved")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no comparison that takes long: who looks waits for it, where a test does not say otherwise."""
    monkeypatch.setattr(comparison, "FIRST_WAIT_S", 60.0)
    monkeypatch.setattr(comparison, "NEXT_WAIT_S", 60.0)


class Made:
    """A comparison that is made when the test says so."""

    def __init__(self, found: Saved = SAVED) -> None:
        self.found = found
        self.asked: list[tuple[int, int]] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def __call__(self, history: Sequence[TaskDetail], _: Policy, views: Sequence[EndpointView]) -> Saved:
        self.asked.append((len(history), len(views)))
        self.begun.set()
        await self.go.wait()
        return self.found


def desk_of(built: House, made: Made | None) -> HostDesk:
    return HostDesk(built.pump, built.store, made)


async def test_the_comparison_is_kept_for_a_minute() -> None:
    """It costs something, so that a view which is redrawn each second must not pay for it each time."""
    async with house() as built:
        await built.desk.start(local("gpu"), "profile")
        made = Made()
        desk = desk_of(built, made)
        assert (await desk.hosts(saved=False)).saved is None
        assert [(await desk.hosts(saved=True)).saved for _ in range(3)] == [SAVED] * 3
        assert made.asked == [(0, 1)]
        built.clock.pass_ms(FRESH_MS)
        await desk.hosts(saved=True)
        assert made.asked == [(0, 1)] * 2


async def test_an_empty_comparison_is_not_kept() -> None:
    """A hub that has just done its first task does not go on to say that it did none."""
    async with house() as built:
        made = Made(msgspec.structs.replace(SAVED, tasks=0))
        desk = desk_of(built, made)
        await desk.hosts(saved=True)
        await desk.hosts(saved=True)

        assert made.asked == [(0, 0)] * 2


async def test_a_comparison_that_cannot_be_says_why() -> None:
    """The rest of the answer is there all the same."""

    async def refuse(*_: object) -> Saved:
        raise InvalidInputError("the profile has no endpoint to simulate")

    async with house() as built:
        await built.desk.start(local("gpu"), "profile")
        answer = await HostDesk(built.pump, built.store, refuse).hosts(saved=True)

        assert (answer.saved, answer.saved_at_ms, len(answer.hosts)) == (None, None, 1)
        assert "no endpoint to simulate" in answer.not_saved_because
        assert (await desk_of(built, None).hosts(saved=True)).not_saved_because == "this hub cannot simulate"


async def test_nobody_waits_for_one_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said to be under way, one is made however many look, and the next look after it has it, with its time."""
    monkeypatch.setattr(comparison, "FIRST_WAIT_S", 0.0)
    async with house() as built:
        made = Made()
        made.go.clear()
        desk = desk_of(built, made)
        looks = await asyncio.gather(*(desk.hosts(saved=True) for _ in range(3)))
        assert [(look.saved, look.not_saved_because) for look in looks] == [(None, UNDER_WAY)] * 3
        await made.begun.wait()
        began_ms = built.clock.now_ms()
        built.clock.pass_ms(5_000)
        made.go.set()
        monkeypatch.setattr(comparison, "FIRST_WAIT_S", 60.0)
        answer = await desk.hosts(saved=True)

        assert len(made.asked) == 1
        assert (answer.saved, answer.not_saved_because) == (SAVED, "")
        assert answer.saved_at_ms is not None
        assert answer.saved_at_ms <= began_ms


async def test_the_earlier_one_is_shown_while_the_next_is_made_unless_it_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the instant of which it speaks; an hour that was long ago is no last hour."""
    async with house() as built:
        made = Made()
        desk = desk_of(built, made)
        at_ms = built.clock.now_ms()
        await desk.hosts(saved=True)
        monkeypatch.setattr(comparison, "FIRST_WAIT_S", 0.0)
        monkeypatch.setattr(comparison, "NEXT_WAIT_S", 0.0)
        made.go.clear()
        built.clock.pass_ms(OLD_MS - 1_000)
        later = await desk.hosts(saved=True)
        built.clock.pass_ms(1_000)
        too_late = await desk.hosts(saved=True)
        await desk.stop()

        assert later.saved == SAVED
        assert later.saved_at_ms is not None
        assert at_ms <= later.saved_at_ms < at_ms + 1_000
        assert (too_late.saved, too_late.saved_at_ms, too_late.not_saved_because) == (None, None, UNDER_WAY)


async def test_one_that_is_being_made_ends_with_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of it is left behind, and no other one is begun."""
    monkeypatch.setattr(comparison, "FIRST_WAIT_S", 0.0)
    async with house() as built:
        made = Made()
        made.go.clear()
        desk = desk_of(built, made)
        await desk.hosts(saved=True)
        await made.begun.wait()
        await desk.stop()
        await desk.stop()

        assert desk._comparison._making is None
        assert (await desk.hosts(saved=True)).not_saved_because == "this hub cannot simulate"
        assert len(made.asked) == 1


async def test_what_nobody_expects_is_told_to_who_looks_and_not_kept() -> None:
    """It is not taken for an answer."""

    async def broken(*_: object) -> Saved:
        raise ZeroDivisionError

    async with house() as built:
        desk = HostDesk(built.pump, built.store, broken)
        with pytest.raises(ZeroDivisionError):
            await desk.hosts(saved=True)
        assert desk._comparison._newest is None
        assert Compared().why_not == ""


async def test_one_that_fails_when_nobody_waits_any_more_is_told_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by Python itself at the end of the process."""
    monkeypatch.setattr(comparison, "FIRST_WAIT_S", 0.0)
    go = asyncio.Event()

    async def broken(*_: object) -> Saved:
        await go.wait()
        raise ZeroDivisionError("nothing to divide by")

    async with house() as built:
        desk = HostDesk(built.pump, built.store, broken)
        assert (await desk.hosts(saved=True)).not_saved_because == UNDER_WAY
        with capture_logs() as logs:
            go.set()
            await desk._comparison._errands.wait()
            await asyncio.sleep(0)
        told = [(one["log_level"], one["kind"], one["error"]) for one in logs if one.get("kind") == "ZeroDivisionError"]
        assert told == [("warning", "ZeroDivisionError", "nothing to divide by")]
        await desk.stop()
