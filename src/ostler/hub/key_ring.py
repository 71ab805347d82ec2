"""Keys of the gateway in memory: which key a caller presents, and whether it may still spend.

A lookup is one SHA-256 and one dictionary. What a key has done, and spent in its window, is kept here too: read from
the store once, added to with every finished call, and begun anew when the window is over. A call counts in the window
in which it came in. Calls under way are not counted here until they end: that many at once do not pass a limit together
is seen to where their money is held (`gateway.question.own_limits`).
"""

from collections.abc import Callable, Iterable, Mapping

from ostler.domain.errors import LimitReachedError, NotAllowedError
from ostler.domain.live import CallRecord, GatewayKey, KeySpend
from ostler.domain.money import exact_usd_text
from ostler.domain.states import FailureClass
from ostler.hub.tokens import token_hash
from ostler.hub.windows import Window, instant_text, window_of

PREFIX = "ost-"
"""Every key begins with it, so that a key that leaked is recognised as one."""


class KeyUse:
    """What a key has done: calls in all, when the newest came in, and what it has spent in its newest window."""

    __slots__ = ("calls", "has_refused", "last_ms", "micro_usd", "window")

    def __init__(self, window: Window, micro_usd: int = 0, calls: int = 0, last_ms: int | None = None) -> None:
        self.window = window
        self.micro_usd = micro_usd
        self.calls = calls
        self.last_ms = last_ms
        self.has_refused = False
        """Whether a call was refused because it might have passed the key's limit."""


class KeyRing:
    """All keys: those that are not revoked by hash, and by name what each has done. Used on one event loop."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._by_hash: dict[str, GatewayKey] = {}
        self._by_name: dict[str, GatewayKey] = {}
        self._uses: dict[str, KeyUse] = {}

    def load(self, keys: Iterable[GatewayKey], spent: Mapping[str, int], used: KeySpend | None = None) -> None:
        """Take up the stored keys, with what each has spent in its window of now, and what all did since ever."""
        now_ms, used = self._now_ms(), used or KeySpend(since_ms=0)
        for key in keys:
            name = key.name
            self.put(key)
            window = window_of(key.limit_window, now_ms)
            self._uses[name] = KeyUse(window, spent.get(name, 0), used.calls.get(name, 0), used.last_ms.get(name))

    def put(self, key: GatewayKey) -> None:
        """A key is new or has changed; a revoked one opens nothing from now on."""
        self._by_name[key.name] = key
        if key.revoked_ms is None:
            self._by_hash[key.key_hash] = key
        else:
            self._by_hash.pop(key.key_hash, None)

    def close(self, name: str) -> bool:
        """Let a key open nothing from now on; whether it was open. Its revocation is stored by who asks."""
        key = self._by_name.get(name)
        return key is not None and self._by_hash.pop(key.key_hash, None) is not None

    def every_key(self) -> list[GatewayKey]:
        """All of them by name, the revoked ones too."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def named(self, name: str) -> GatewayKey | None:
        """The key of this name, if there ever was one."""
        return self._by_name.get(name)

    def find(self, raw_key: str) -> GatewayKey | None:
        """The key that a caller presents, if there is one and it is not revoked."""
        return self._by_hash.get(token_hash(raw_key)) if raw_key.startswith(PREFIX) else None

    def check(self, key: GatewayKey) -> None:
        """Whether a key may be used now. Raises `NotAllowedError` for one that was revoked, `LimitReachedError`."""
        if key.key_hash not in self._by_hash:
            raise NotAllowedError(f"the key {key.name} was revoked", remedy="ask for another one")
        if key.limit_micro_usd is not None:
            use = self.use(key)
            if use.micro_usd >= key.limit_micro_usd:
                raise _limit_reached(key, use, self._now_ms())

    def charge(self, record: CallRecord) -> None:
        """A call with a key has ended. It costs nothing any more when its window is over already."""
        key = self._by_name.get(record.key)
        if key is None:
            return
        use = self.use(key)
        use.calls += 1
        if use.last_ms is None or record.at_ms > use.last_ms:
            use.last_ms = record.at_ms
        if record.failure is FailureClass.QUOTA and not record.attempts and f"key {key.name}" in record.message:
            use.has_refused = True
        if record.cost_micro_usd and record.at_ms >= use.window.since_ms:
            use.micro_usd += record.cost_micro_usd

    def use(self, key: GatewayKey) -> KeyUse:
        """What a key has done until now, and spent in its window of now."""
        now_ms = self._now_ms()
        use = self._uses.get(key.name)
        if use is None:
            use = self._uses[key.name] = KeyUse(window_of(key.limit_window, now_ms))
        elif use.window.ends_ms is not None and now_ms >= use.window.ends_ms:
            use.window, use.micro_usd = window_of(key.limit_window, now_ms), 0
        return use


def _limit_reached(key: GatewayKey, use: KeyUse, now_ms: int) -> LimitReachedError:
    limit, ends_ms = exact_usd_text(key.limit_micro_usd or 0), use.window.ends_ms
    what = f"the key {key.name} has spent {exact_usd_text(use.micro_usd)} of {limit}"
    if ends_ms is None:
        return LimitReachedError(f"{what} in all", remedy="make a key with a higher limit")
    return LimitReachedError(
        f"{what} for this {key.limit_window}",
        remedy=f"its {key.limit_window} ends at {instant_text(ends_ms)}; until then use another key",
        retry_after_ms=max(0, ends_ms - now_ms),
    )
