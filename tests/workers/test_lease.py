"""Tests of the trust window."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.workers.lease import TrustWindow


def test_nothing_is_trusted_before_the_first_answer() -> None:
    """A window without an acknowledged heartbeat is closed."""
    assert TrustWindow().left_ms(0) <= 0
    assert TrustWindow().reaper_left_ms(0) <= 0


def test_the_window_counts_from_the_sending() -> None:
    """The time an answer took is not trusted: the hub's lease began before it was heard of."""
    window = TrustWindow()

    window.acknowledge(sent_us=1_000_000, lease_ms=10_000)

    assert window.left_ms(3_000_000) == 6_000
    assert window.reaper_left_ms(3_000_000) == 7_000
    assert window.beat_interval_s == 10 / 3


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    """An old answer that comes late shortens nothing that a newer one has given."""
    window = TrustWindow()

    window.acknowledge(sent_us=5_000_000, lease_ms=10_000)
    window.acknowledge(sent_us=1_000_000, lease_ms=10_000)

    assert window.left_ms(5_000_000) == 8_000


@given(sent_us=st.integers(0, 10**12), lease_ms=st.integers(1, 10**6), drift=st.floats(0.91, 1.1), at=st.floats(0, 2))
def test_whoever_is_trusted_is_alive_to_the_hub(sent_us: int, lease_ms: int, drift: float, at: float) -> None:
    """While the daemon or the reaper counts the window as open, the hub's lease has not ended, with clocks that differ
    by up to a tenth; and the daemon always acts before the reaper.
    """
    window = TrustWindow()
    window.acknowledge(sent_us=sent_us, lease_ms=lease_ms)
    elapsed_us = int(lease_ms * 1000 * at)
    hub_elapsed_ms = elapsed_us * drift / 1000

    now_us = sent_us + elapsed_us
    if window.reaper_left_ms(now_us) > 0:
        assert hub_elapsed_ms < lease_ms
    assert window.left_ms(now_us) <= window.reaper_left_ms(now_us)


@given(lease_ms=st.integers(-5, 10**6))
def test_heartbeats_never_spin(lease_ms: int) -> None:
    """However short the lease a hub gives, heartbeats keep a distance."""
    window = TrustWindow()
    window.acknowledge(sent_us=0, lease_ms=lease_ms)

    assert window.beat_interval_s >= 0.05


@given(lease_ms=st.integers(1_000, 10**6), heartbeat_ms=st.integers(0, 10**6))
def test_heartbeats_come_as_often_as_the_hub_asked(lease_ms: int, heartbeat_ms: int) -> None:
    """And never so seldom that two lost ones would cost the lease."""
    window = TrustWindow(heartbeat_ms)
    window.acknowledge(sent_us=0, lease_ms=lease_ms)

    assert window.beat_interval_s * 3 <= lease_ms / 1000 + 1e-9
    assert heartbeat_ms < 50 or window.beat_interval_s <= heartbeat_ms / 1000
