"""How far a leader trusts its lease: from when it asked, less a margin, and no further."""

import asyncio
import time

import msgspec
import pytest
import structlog

from ostler.app.http import Door
from ostler.app.turns import MARGIN, Lease, _checked, _reached_at, named_twice
from ostler.config.settings import HubSettings
from ostler.domain.errors import InvalidInputError
from ostler.domain.hubs import HubRow
from ostler.store.errors import StoreError


class FakeSeat:
    """Answers renewals by a list; the last answer goes on for ever."""

    def __init__(self, *answers: bool | StoreError) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def renew(self, epoch: int, lease_ms: int) -> bool:
        assert (epoch, lease_ms) == (3, 150)
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, StoreError):
            raise answer
        return answer


def lease(seat: FakeSeat, asked_s: float | None = None) -> Lease:
    return Lease(seat, 3, 150, time.monotonic() if asked_s is None else asked_s)  # type: ignore[arg-type]


def test_a_lease_is_trusted_from_the_moment_it_was_asked_for() -> None:
    """An answer that took longer than the lease gives no right at all."""
    assert lease(FakeSeat(True)).closed_because() == ""
    assert "another one may lead" in lease(FakeSeat(True), time.monotonic() - 0.15 * (1 - MARGIN)).closed_because()


async def test_a_lease_that_is_renewed_is_trusted_on() -> None:
    """For as long as the database says so; then holding it ends."""
    seat = FakeSeat(True, True, True, True, True, False)
    held = lease(seat)

    await asyncio.wait_for(held.hold(), 5)

    assert seat.asked == 6


async def test_a_lease_that_another_hub_has_is_trusted_no_more() -> None:
    """From the moment that this is known, not only when it would have ended."""
    held = Lease(FakeSeat(False), 3, 150, time.monotonic() + 3_600)  # type: ignore[arg-type]
    assert held.closed_because() == ""

    await asyncio.wait_for(held.hold(), 5)

    assert held.closed_because()


class Hanging(FakeSeat):
    """A database behind a wire that was cut: no answer, and no end."""

    async def renew(self, epoch: int, lease_ms: int) -> bool:
        await asyncio.get_running_loop().create_future()
        return await super().renew(epoch, lease_ms)


async def test_a_wire_that_was_cut_is_not_waited_for() -> None:
    """The lease is given up in time although nobody says no."""
    held = lease(Hanging(True))

    await asyncio.wait_for(held.hold(), 5)

    assert held.closed_because()


async def test_after_a_pause_of_the_machine_it_is_asked_once_more() -> None:
    """A lease that nobody took meanwhile is gone on with: the row says so, and nothing was led by anybody else."""
    seat = FakeSeat(True, False)
    held = lease(seat, time.monotonic() - 60)
    assert held.closed_because()

    await asyncio.wait_for(held.hold(), 5)

    assert seat.asked == 2


async def test_a_lease_that_is_over_and_not_to_be_had_is_let_go_of_at_once() -> None:
    """One question more, not one after the other."""
    seat = FakeSeat(StoreError("away"))

    await asyncio.wait_for(lease(seat, time.monotonic() - 60).hold(), 5)

    assert seat.asked == 1


@pytest.mark.parametrize("url", ["den.lan:7433", "https://den", "http://", "http://den:many", "den"])
def test_an_address_that_no_hub_could_be_reached_at_is_refused(url: str) -> None:
    """At the start, with the setting and what would be one."""
    with pytest.raises(InvalidInputError, match=r"hub\.advertise: .*http://HOST:PORT"):
        _checked(url)


def test_a_name_that_another_hub_has_is_told() -> None:
    """Not that of this hub itself, started again at its address, nor of one that died at another."""
    own = HubRow(name="den", url="http://den:7433", version="1", started_ms=0)
    there = msgspec.structs.replace(own, url="http://box:7433", seen_ago_ms=2_000)
    died = msgspec.structs.replace(there, seen_ago_ms=60_000)
    other = msgspec.structs.replace(there, name="box")

    assert named_twice([own, died, other], own) == ""
    assert "hub den is the name of the hub at http://box:7433" in named_twice([other, there], own)
    assert named_twice([msgspec.structs.replace(died, leads=True)], own)


def test_an_address_that_is_one_stays() -> None:
    """And none is none."""
    assert [_checked(url) for url in ("", "http://den:7433", "http://den")] == ["", "http://den:7433", "http://den"]


async def test_a_database_that_does_not_answer_ends_the_trust_in_time() -> None:
    """Renewing is tried until the lease can no longer be trusted, not longer."""
    seat = FakeSeat(StoreError("away"))
    held = lease(seat)
    began = time.monotonic()

    await asyncio.wait_for(held.hold(), 5)

    assert held.closed_because()
    assert 0.1 < time.monotonic() - began < 2


async def test_a_lease_that_cannot_be_renewed_is_told_of_once() -> None:
    """It is tried ten times a second, and told again when the reason is another; and that it is over, too."""
    away, busy = StoreError("away"), StoreError("too many connections")
    with structlog.testing.capture_logs() as told:
        held = lease(FakeSeat(away, away, away, busy, True, False), time.monotonic() + 60)
        await asyncio.wait_for(held.hold(), 5)

    assert [(line["log_level"], line.get("error")) for line in told] == [
        ("warning", "away"),
        ("warning", "too many connections"),
        ("info", None),
    ]


async def test_a_database_that_comes_back_in_time_changes_nothing() -> None:
    """One renewal that failed is made up for by the next."""
    seat = FakeSeat(StoreError("away"), True, True, True, False)

    await asyncio.wait_for(lease(seat).hold(), 5)

    assert seat.asked == 5


@pytest.mark.parametrize(("host", "starts"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_a_hub_is_reached_where_it_listens(host: str, starts: str) -> None:
    """On one address it is that one."""
    door = Door(host, 0)
    door.open().close()

    assert _reached_at(HubSettings(host=host), door) == door.url
    assert door.url.startswith(starts)
    door.close()


def test_a_hub_that_listens_everywhere_is_reached_by_its_name() -> None:
    """Never by an address that means another machine for everybody else."""
    door = Door("0.0.0.0", 0)  # noqa: S104 - what is tested
    door.open().close()

    url = _reached_at(HubSettings(host="0.0.0.0"), door)  # noqa: S104 - as above
    assert "127.0.0.1" not in url
    assert "0.0.0.0" not in url  # noqa: S104 - as above
    assert url.endswith(f":{door.port}")
    door.close()
