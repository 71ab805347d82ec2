"""What the hub answers about keys and calls of the gateway, as data. See `views` for units."""

from collections.abc import Mapping

import msgspec

from ostler.domain.decision import Decision
from ostler.domain.live import CallRecord
from ostler.domain.tasks import Priority


class KeyWish(msgspec.Struct, frozen=True, kw_only=True):
    """A key to make. Empty `models` and `tiers` = any; names may be aliases."""

    name: str
    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    task: str = ""
    priority: Priority = Priority.HIGH
    limit_micro_usd: int | None = None
    limit_window: str = "total"
    local_only: bool = False


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key with what it may do and what it did. The key itself is not known here."""

    name: str
    created_ms: int
    revoked_ms: int | None = None
    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    task: str = ""
    priority: Priority = Priority.HIGH
    local_only: bool = False
    limit_micro_usd: int | None = None
    limit_window: str = "total"
    spent_micro_usd: int = 0
    """In its window of now; calls of unknown price count as nothing."""
    window_ends_ms: int | None = None
    calls: int = 0
    """In all."""
    last_used_ms: int | None = None


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """All keys by name, the revoked ones too."""

    keys: tuple[KeyRow, ...]
    now_ms: int


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; `key` is shown this once, only its hash is kept."""

    key: str
    row: KeyRow


class CallList(msgspec.Struct, frozen=True, kw_only=True):
    """Calls, newest first, without prompts and answers."""

    calls: tuple[CallRecord, ...]
    now_ms: int


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one call: its record, the decision behind it, and both in words."""

    record: CallRecord
    headline: str
    lines: tuple[str, ...]
    decision: Decision | None = None
    """Made for the first call that asked the same at the same state of the fleet."""
    now_ms: int


class ModelUse(msgspec.Struct, frozen=True, kw_only=True):
    """What calls that a model answered came to."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    unpriced: int = 0
    """Calls whose price is not known; they are not in the cost."""


class CallTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Calls since the hub started."""

    calls: int = 0
    failures: Mapping[str, int] = {}
    """By class."""
    models: Mapping[str, ModelUse] = {}
    unwritten: int = 0
    dropped: int = 0
    """Records that were never written."""
