"""How long a worker may act on its own: the trust window.

A heartbeat that was sent at `t` and acknowledged with a lease of `L` keeps the session at the hub at least until
`t + L`, because the hub counts from a later moment: when it received it. The worker uses less than that:

    t ............ t + 80 % L ........ t + 90 % L ........ t + L
    sent           the daemon kills    the reaper kills    the hub may give the attempts to another worker
                   its attempts        (frozen daemon)

Invariant: clocks of two machines are never compared, only durations, and those may differ by a tenth of the lease.
"""

_DAEMON_SHARE = 0.8
_REAPER_SHARE = 0.9
_BEATS_PER_LEASE = 3
_BEAT_INTERVAL_MIN_S = 0.05

DEFAULT_LEASE_MS = 15_000


class TrustWindow:
    """The window of one session; all instants are of one stopwatch, in microseconds. `heartbeat_ms`: how often the hub
    wants to hear of it, 0 = as the lease asks for.
    """

    def __init__(self, heartbeat_ms: int = 0) -> None:
        self._heartbeat_ms = heartbeat_ms
        self.lease_ms = DEFAULT_LEASE_MS
        self._sent_us: int | None = None

    def acknowledge(self, sent_us: int, lease_ms: int) -> None:
        """A heartbeat sent at `sent_us` was answered. An answer that was overtaken by a newer one is no news."""
        if self._sent_us is None or sent_us >= self._sent_us:
            self._sent_us = sent_us
            self.lease_ms = lease_ms

    @property
    def beat_interval_s(self) -> float:
        """How often to send a heartbeat: as the hub asked, and so often that two in a row may be lost."""
        interval_s = self.lease_ms / 1000 / _BEATS_PER_LEASE
        if self._heartbeat_ms > 0:
            interval_s = min(interval_s, self._heartbeat_ms / 1000)
        return max(_BEAT_INTERVAL_MIN_S, interval_s)

    def left_ms(self, now_us: int) -> int:
        """How long the daemon may still let its attempts run; 0 or less: kill them."""
        return self._left_ms(now_us, _DAEMON_SHARE)

    def reaper_left_ms(self, now_us: int) -> int:
        """How long the reaper shall wait for the next beat."""
        return self._left_ms(now_us, _REAPER_SHARE)

    def _left_ms(self, now_us: int, share: float) -> int:
        if self._sent_us is None:
            return 0
        return int(self.lease_ms * share) - (now_us - self._sent_us) // 1000
