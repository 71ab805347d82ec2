"""Keys of the gateway in memory: which key a caller presents, and whether it may still spend.

A lookup is one SHA-256 and one dictionary. What a key has spent in its window is kept here too: read from the store
once, added to with every finished call, and begun anew when the window is over. A call counts in the window in which
it came in. Calls under way are not counted until they end, so many at once can pass a limit by what they cost.
"""

from collections.abc import Callable, Iterable, Mapping

from ostler.domain.errors import LimitReachedError, NotAllowedError
from ostler.domain.live import CallRecord, GatewayKey
from ostler.domain.money import exact_usd_text
from ostler.hub.tokens import token_hash
from ostler.hub.windows import Window, instant_text, window_of

PREFIX = "ost-"
"""Every key begins with it, so that a key that leaked is recognised as one."""


class _Spent:
    """What a key has spent in the newest window it was looked at in."""

    __slots__ = ("micro_usd", "window")

    def __init__(self, window: Window, micro_usd: int) -> None:
        self.window = window
        self.micro_usd = micro_usd


class KeyRing:
    """All keys that are not revoked, by hash; what each has spent, by name. Used on one event loop."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._by_hash: dict[str, GatewayKey] = {}
        self._by_name: dict[str, GatewayKey] = {}
        self._spent: dict[str, _Spent] = {}

    def load(self, keys: Iterable[GatewayKey], spent: Mapping[str, int]) -> None:
        """Take up the stored keys, with what each has spent in its window of now, by name."""
        now_ms = self._now_ms()
        for key in keys:
            self.put(key)
            self._spent[key.name] = _Spent(window_of(key.limit_window, now_ms), spent.get(key.name, 0))

    def put(self, key: GatewayKey) -> None:
        """A key is new or has changed; a revoked one opens nothing from now on."""
        self._by_name[key.name] = key
        if key.revoked_ms is None:
            self._by_hash[key.key_hash] = key
        else:
            self._by_hash.pop(key.key_hash, None)

    def find(self, raw_key: str) -> GatewayKey | None:
        """The key that a caller presents, if there is one and it is not revoked."""
        return self._by_hash.get(token_hash(raw_key)) if raw_key.startswith(PREFIX) else None

    def check(self, key: GatewayKey, *, model: str = "", tier: str = "") -> None:
        """Whether a key may be used now, and for this model and tier (by their own names; empty = not asked).

        Raises `NotAllowedError` for a revoked key and for what the key is not for, `LimitReachedError`.
        """
        name = key.name
        if key.key_hash not in self._by_hash:
            raise NotAllowedError(f"the key {name} was revoked", remedy="ask for another one")
        if model and key.models and model not in key.models:
            raise NotAllowedError(f"the key {name} is not for {model}", where="model", remedy=_only(key.models))
        if tier and key.tiers and tier not in key.tiers:
            raise NotAllowedError(f"the key {name} is not for tier {tier}", where="tier", remedy=_only(key.tiers))
        if key.limit_micro_usd is not None:
            spent = self._current(key)
            if spent.micro_usd >= key.limit_micro_usd:
                raise _limit_reached(key, spent, self._now_ms())

    def charge(self, record: CallRecord) -> None:
        """A call with a key has ended. One whose window is over already counts for nothing any more."""
        key = self._by_name.get(record.key)
        if key is None or not record.cost_micro_usd:
            return
        spent = self._current(key)
        if record.at_ms >= spent.window.since_ms:
            spent.micro_usd += record.cost_micro_usd

    def spent(self, key: GatewayKey) -> tuple[int, Window]:
        """What a key has spent in its window, and which that is."""
        found = self._current(key)
        return found.micro_usd, found.window

    def _current(self, key: GatewayKey) -> _Spent:
        now_ms = self._now_ms()
        spent = self._spent.get(key.name)
        if spent is None or (spent.window.ends_ms is not None and now_ms >= spent.window.ends_ms):
            spent = self._spent[key.name] = _Spent(window_of(key.limit_window, now_ms), 0)
        return spent


def _only(names: tuple[str, ...]) -> str:
    return "it is for " + ", ".join(names)


def _limit_reached(key: GatewayKey, spent: _Spent, now_ms: int) -> LimitReachedError:
    limit, ends_ms = exact_usd_text(key.limit_micro_usd or 0), spent.window.ends_ms
    what = f"the key {key.name} has spent {exact_usd_text(spent.micro_usd)} of {limit}"
    if ends_ms is None:
        return LimitReachedError(f"{what} in all", remedy="make a key with a higher limit")
    return LimitReachedError(
        f"{what} for this {key.limit_window}",
        remedy=f"its {key.limit_window} ends at {instant_text(ends_ms)}; until then use another key",
        retry_after_ms=max(0, ends_ms - now_ms),
    )
