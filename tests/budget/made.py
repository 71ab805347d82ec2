"""Amounts, scopes and a naive ledger, as the tests of money need them."""

from collections.abc import Callable, Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from ostler.budget.ledger import account_of, entry_for
from ostler.domain.commands import Adjust, LedgerCommand, Release, Reserve, Settle
from ostler.domain.ledger import NOTHING, Amount, LedgerEntry, Scopes, Span, Spent
from ostler.domain.limits import ScopeKind

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
USD = 1_000_000


def at(zone: str, *parts: int) -> int:
    """An instant by the clock of a zone."""
    year, month, day, hour, minute = (*parts, 0, 0)[:5]
    return int(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def usd(dollars: float) -> Amount:
    """Money without tokens."""
    return Amount(micro_usd=round(dollars * USD))


def spent_of(used: float = 0.0, held: float = 0.0) -> Callable[[Span], Spent]:
    """Sums that are the same whatever is asked; dollars."""
    return lambda span: Spent(used=usd(used), held=usd(held))


class NaiveLedger:
    """Entries in a list; every sum is added up from the attempts, one by one."""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []

    def add(self, command: LedgerCommand) -> bool:
        """Whether it added an entry. Bounds are not looked at."""
        entry = entry_for(command, account_of(self.of(command.attempt)))
        if entry is not None:
            self.entries.append(entry)
        return entry is not None

    def of(self, attempt: str) -> list[LedgerEntry]:
        """Entries of an attempt."""
        return [entry for entry in self.entries if entry.attempt == attempt]

    def attempts(self) -> Iterable[str]:
        """All attempts by name."""
        return sorted({entry.attempt for entry in self.entries})

    def spent(self, span: Span) -> Spent:
        """A sum, in dollars, tokens and requests."""
        used, held = [], []
        for attempt in self.attempts():
            account = account_of(self.of(attempt))
            assert account is not None
            if span.counts(account.scopes, account.charged_ms):
                used.append(account.charged)
                held.append(account.held)
        return Spent(used=total(used), held=total(held))


def total(amounts: Iterable[Amount]) -> Amount:
    """Added up field by field."""
    found = list(amounts)
    return Amount(**{name: sum(getattr(one, name) for one in found) for name in NOTHING.__struct_fields__})


ATTEMPTS = st.sampled_from(["a1", "a2", "a3", "a4"])
COUNTS = st.integers(min_value=0, max_value=5_000)
AMOUNTS = st.builds(
    Amount, micro_usd=COUNTS, input_tokens=COUNTS, cache_read_tokens=COUNTS, cache_write_tokens=COUNTS,
    output_tokens=COUNTS, reasoning_tokens=COUNTS, requests=st.integers(0, 3),
    covered_micro_usd=COUNTS,
)  # fmt: skip
SCOPES = st.builds(
    Scopes,
    provider=st.sampled_from(["", "anthropic", "openai"]),
    tier=st.sampled_from(["", "cheap", "dear"]),
    session=st.sampled_from(["", "s1", "s2"]),
    tick=st.sampled_from(["", "tick 1"]),
)
INSTANTS = st.integers(min_value=NOW_MS - 40 * 24 * HOUR_MS, max_value=NOW_MS)
RESERVES = st.builds(Reserve, attempt=ATTEMPTS, at_ms=INSTANTS, amount=AMOUNTS, scopes=SCOPES)
SETTLES = st.builds(Settle, attempt=ATTEMPTS, at_ms=INSTANTS, amount=AMOUNTS, scopes=SCOPES, ambiguous=st.booleans())
RELEASES = st.builds(Release, attempt=ATTEMPTS, at_ms=INSTANTS)
ADJUSTS = st.builds(Adjust, attempt=ATTEMPTS, ref=st.sampled_from(["bill", "late"]), at_ms=INSTANTS, amount=AMOUNTS)
COMMANDS = st.one_of(RESERVES, SETTLES, RELEASES, ADJUSTS)
SPANS = st.builds(
    lambda scope, value, start, length: Span(
        scope=scope,
        value="" if scope is ScopeKind.ALL else value,
        start_ms=start * 900_000,
        end_ms=(start + length) * 900_000,
    ),
    st.sampled_from([ScopeKind.ALL, ScopeKind.PROVIDER, ScopeKind.TIER, ScopeKind.SESSION]),
    st.sampled_from(["anthropic", "openai", "cheap", "dear", "s1", "s2"]),
    st.integers((NOW_MS - 41 * 24 * HOUR_MS) // 900_000, NOW_MS // 900_000),
    st.integers(1, 40 * 96),
)
