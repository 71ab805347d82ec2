"""Which fault strikes which call."""

import pytest

from ostler.simulate.faults import CallFaults, Fault, FaultBoard, FaultKind


def test_without_faults_nothing_happens() -> None:
    """Not to calls, not to loads, not to the server."""
    board = FaultBoard()

    assert board.strike_call("m") == CallFaults()
    assert board.strike_load("m") is None
    assert not board.is_down(0)


def test_a_fault_strikes_as_often_as_it_says() -> None:
    """Then calls pass again, and the board shows that it is spent."""
    board = FaultBoard([Fault(kind=FaultKind.SERVER_ERROR, times=2)])

    refused = [board.strike_call("m").refusal is not None for _ in range(3)]

    assert refused == [True, True, False]
    assert [fault.times for fault in board.faults] == [0]


def test_a_fault_may_be_meant_for_one_model() -> None:
    """However its name is spelt."""
    board = FaultBoard([Fault(kind=FaultKind.STALL, model="m:latest", after_tokens=4)])

    assert board.strike_call("other") == CallFaults()
    assert board.strike_call("m").in_stream == ((4, FaultKind.STALL),)


def test_faults_of_a_stream_come_in_the_order_of_their_tokens() -> None:
    """Whatever the order they were given in."""
    late, early = (
        Fault(kind=FaultKind.CUT_STREAM, after_tokens=9),
        Fault(kind=FaultKind.MALFORMED_CHUNK, after_tokens=2),
    )

    struck = FaultBoard([late, early, Fault(kind=FaultKind.SLOW_FIRST_TOKEN, delay_s=1.5)]).strike_call("m")

    assert struck.in_stream == ((2, FaultKind.MALFORMED_CHUNK), (9, FaultKind.CUT_STREAM))
    assert struck.delay_ms == 1500


def test_a_refused_call_uses_up_no_other_fault() -> None:
    """What was to strike its stream is kept for the next."""
    board = FaultBoard([Fault(kind=FaultKind.CUT_STREAM, times=1), Fault(kind=FaultKind.RATE_LIMITED, times=1)])

    assert board.strike_call("m").refusal is not None
    assert board.strike_call("m").in_stream == ((0, FaultKind.CUT_STREAM),)


def test_flapping_follows_the_clock() -> None:
    """Up first, from the moment the fault was set."""
    board = FaultBoard()
    board.replace([Fault(kind=FaultKind.FLAPPING, up_s=2, down_s=1)], 10_000)

    assert [board.is_down(10_000 + ms) for ms in (0, 1999, 2000, 2999, 3000, 5000)] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_an_outage_counts_its_answers() -> None:
    """`unavailable` with `times` is over after so many requests."""
    board = FaultBoard([Fault(kind=FaultKind.UNAVAILABLE, times=1)])

    assert [board.is_down(0), board.is_down(0)] == [True, False]


@pytest.mark.parametrize(
    "settings", [{"times": -1}, {"after_tokens": -1}, {"delay_s": -0.1}, {"retry_after_s": -1}, {"up_s": 0}]
)
def test_a_fault_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    """When it is made, not when it would strike."""
    with pytest.raises(ValueError, match="must"):
        Fault(kind=FaultKind.STALL, **settings)  # type: ignore[arg-type]
