"""Token buckets by key: how often each of many clients may do something. Pure: the caller says what time it is.

A bucket holds `burst` tokens and is filled with `per_s` of them each second. One number is kept for each key: the
instant at which its bucket will be full again (the virtual scheduling of cell rates). A key whose bucket is full is
like one that was never seen, so it may be forgotten; that is done when `KEYS_MAX` are known. Where none of them is full
the longest known gives way: a client that makes up keys by the thousand wins nothing with it but a burst for each.

`take` is O(1), amortised. Taking in order of time is not needed: an earlier instant than the last one waits as if it
were that one.
"""

KEYS_MAX = 10_000
"""Keys that are remembered; each is some 150 bytes."""


class Buckets:
    """Buckets of one size. `per_s` of 0 = no limit."""

    def __init__(self, per_s: float, burst: float, keys_max: int = KEYS_MAX) -> None:
        self._each_s = 1.0 / per_s if per_s > 0 else 0.0
        self._room_s = max(1.0, burst) * self._each_s
        self._keys_max = keys_max
        self._full_s: dict[str, float] = {}
        """By key: when its bucket is full again."""

    def __len__(self) -> int:
        return len(self._full_s)

    def take(self, key: str, now_s: float, count: float = 1.0) -> float:
        """Take tokens: 0 when they were there; else nothing is taken, and the seconds after which they would be."""
        if not self._each_s:
            return 0.0
        full_s = max(self._full_s.get(key, now_s), now_s) + count * self._each_s
        wait_s = full_s - now_s - self._room_s
        if wait_s > 1e-9:  # noqa: PLR2004 -- what is left of adding and taking away
            return wait_s
        if key not in self._full_s and len(self._full_s) >= self._keys_max:
            self._forget(now_s)
        self._full_s[key] = full_s
        return 0.0

    def wait_s(self, key: str, now_s: float) -> float:
        """How long until one token is there; takes none."""
        if key not in self._full_s:
            return 0.0
        return max(0.0, self._full_s[key] + self._each_s - now_s - self._room_s)

    def _forget(self, now_s: float) -> None:
        self._full_s = {key: full_s for key, full_s in self._full_s.items() if full_s > now_s}
        while len(self._full_s) >= self._keys_max:
            del self._full_s[next(iter(self._full_s))]
