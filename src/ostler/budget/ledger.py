"""Reserve, settle, release, adjust as arithmetic: what a command adds to the ledger, and what that changes.

An attempt is open from its reservation to the first word on its end. The rules, by what is known of it:

| command | nothing | open | released | charged, ambiguous | charged |
|---|---|---|---|---|---|
| reserve | held | stays | stays | stays | stays |
| settle | charged | charged | charged late | charged late | stays |
| settle, ambiguous | charged | what it held | stays | stays | stays |
| release | - | released | stays | stays | stays |
| adjust | not found | replaced | replaced | replaced | replaced |

So every command may be repeated, and in whatever order reports of one attempt arrive, it is charged once, and never
forgotten once somebody knows what it cost. Only reserve and adjust are ever refused. The functions here are shared by
all stores; they hold no state.

Invariant: the sum of `Change`s of an attempt's entries is what its `Account` says.
"""

from collections.abc import Callable, Iterable

import msgspec

from ostler.domain.commands import Adjust, LedgerCommand, RefusalReason, Release, Reserve, Settle
from ostler.domain.ledger import NOTHING, Amount, Basis, Bound, EntryKind, LedgerEntry, Scopes, Span, Spent
from ostler.domain.limits import Unit

LATE = "late"
"""`ref` of the adjustment that a late report makes."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of one attempt."""

    attempt: str
    charged_ms: int
    scopes: Scopes
    reserved: LedgerEntry | None = None
    held: Amount = NOTHING
    charged: Amount = NOTHING
    is_open: bool = True
    """It holds money and nobody has said how it ended."""
    is_final: bool = False
    """It is known what it cost."""
    task_type: str = ""
    refs: frozenset[str] = frozenset()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry adds to the sums; each field may be negative."""

    used: Amount
    held: Amount


def follow(account: Account | None, entry: LedgerEntry) -> Account:
    """The account after one entry more."""
    if account is None:
        account = Account(
            attempt=entry.attempt, charged_ms=entry.charged_ms, scopes=entry.scopes, task_type=entry.task_type
        )
    if entry.kind is EntryKind.RESERVE:
        return msgspec.structs.replace(account, reserved=entry, held=entry.amount)
    return msgspec.structs.replace(
        account,
        held=NOTHING,
        charged=entry.amount,
        is_open=False,
        is_final=entry.kind is not EntryKind.RELEASE and not entry.ambiguous,
        refs=account.refs | {entry.ref} if entry.ref else account.refs,
    )


def account_of(entries: Iterable[LedgerEntry]) -> Account | None:
    """What the entries of one attempt, oldest first, add up to."""
    account = None
    for entry in entries:
        account = follow(account, entry)
    return account


def change(before: Account | None, after: Account) -> Change:
    """What the step from one account to the next adds to the sums."""
    was_used, was_held = (before.charged, before.held) if before is not None else (NOTHING, NOTHING)
    return Change(used=_less(after.charged, was_used), held=_less(after.held, was_held))


def _less(amount: Amount, other: Amount) -> Amount:
    """Mostly nothing is taken away, or everything."""
    if other is NOTHING:
        return amount
    return NOTHING if amount is other else plus(amount, other, -1)


def plus(amount: Amount, other: Amount, sign: int = 1) -> Amount:
    """The sum of two amounts, or their difference."""
    return Amount(
        micro_usd=amount.micro_usd + sign * other.micro_usd,
        input_tokens=amount.input_tokens + sign * other.input_tokens,
        cache_read_tokens=amount.cache_read_tokens + sign * other.cache_read_tokens,
        cache_write_tokens=amount.cache_write_tokens + sign * other.cache_write_tokens,
        output_tokens=amount.output_tokens + sign * other.output_tokens,
        reasoning_tokens=amount.reasoning_tokens + sign * other.reasoning_tokens,
        requests=amount.requests + sign * other.requests,
        covered_micro_usd=amount.covered_micro_usd + sign * other.covered_micro_usd,
    )


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a command: an entry to write, nothing (it was said before), or why it is refused."""

    entry: LedgerEntry | None = None
    reason: RefusalReason | None = None
    message: str = ""
    limit: str = ""


def judge(command: LedgerCommand, account: Account | None, spent: Callable[[Span], Spent]) -> Judged:
    """One command against what the ledger says now. Sums are asked for only where a reservation has bounds."""
    wrong = problem(command, account)
    if wrong is not None:
        return Judged(reason=wrong[0], message=wrong[1])
    entry = entry_for(command, account)
    if entry is not None and isinstance(command, Reserve):
        bound = passed(command.bounds, command.amount, spent)
        if bound is not None:
            message = limit_message(command, bound, spent(bound.span))
            return Judged(reason=RefusalReason.LIMIT, message=message, limit=bound.limit)
    return Judged(entry=entry)


def passed(bounds: Iterable[Bound], amount: Amount, spent: Callable[[Span], Spent]) -> Bound | None:
    """The first bound that an amount would pass on top of what is spent and held; `None` when it may be held.

    A ceiling is reached at or above it, and then nothing is let through, not even what is free of this unit; below it
    an amount passes that leads to the ceiling exactly.
    """
    for bound in bounds:
        before = spent(bound.span).total(bound.unit)
        if before >= bound.ceiling or before + amount.in_unit(bound.unit) > bound.ceiling:
            return bound
    return None


def entry_for(command: LedgerCommand, account: Account | None) -> LedgerEntry | None:
    """The entry that a command adds, bounds aside; `None` when there is nothing to add. See the table above."""
    if isinstance(command, Reserve):
        return None if account is not None else _reserved(command)
    if isinstance(command, Settle):
        return _settled(command, account)
    if isinstance(command, Release):
        if account is None or not account.is_open:
            return None
        return _after(account, EntryKind.RELEASE, command.at_ms, NOTHING, note=command.note)
    if account is None or command.ref in account.refs:
        return None
    entry = _after(account, EntryKind.ADJUST, command.at_ms, command.amount, note=command.note)
    return msgspec.structs.replace(entry, ref=command.ref, basis=command.basis)


def problem(command: LedgerCommand, account: Account | None) -> tuple[RefusalReason, str] | None:
    """Why a command is refused for what it says itself."""
    if not isinstance(command, Release) and min(msgspec.structs.astuple(command.amount)) < 0:
        negative = [name for name, count in _counts(command.amount) if count < 0]
        return RefusalReason.ILLEGAL, f"attempt {command.attempt}: {', '.join(negative)} below 0"
    if isinstance(command, Adjust) and account is None:
        return RefusalReason.NOT_FOUND, f"the ledger has no attempt {command.attempt}"
    return None


def limit_message(command: Reserve, bound: Bound, spent: Spent) -> str:
    """What a refused reservation is told: the limit, what it has left, and what was asked for."""
    left = max(0, bound.ceiling - spent.total(bound.unit))
    part = ", this pool's part," if bound.shared else ""
    return (
        f"limit {bound.limit}: {command.amount.in_unit(bound.unit)} asked for, {left} left of {bound.ceiling}{part}"
        f" ({spent.used.in_unit(bound.unit)} used, {spent.held.in_unit(bound.unit)} held;"
        f" {'micro-dollars' if bound.unit in _MONEY else bound.unit.value})"
    )


_MONEY = frozenset({Unit.USD, Unit.WORTH})


def _counts(amount: Amount) -> list[tuple[str, int]]:
    return [(name, getattr(amount, name)) for name in amount.__struct_fields__]


def _reserved(command: Reserve) -> LedgerEntry:
    return LedgerEntry(
        attempt=command.attempt,
        kind=EntryKind.RESERVE,
        at_ms=command.at_ms,
        charged_ms=command.at_ms,
        amount=command.amount,
        basis=command.basis,
        scopes=command.scopes,
        task_type=command.task_type,
    )


def _settled(command: Settle, account: Account | None) -> LedgerEntry | None:
    if account is not None and (account.is_final or (command.ambiguous and not account.is_open)):
        return None
    late = account is not None and not account.is_open
    charged_ms, scopes, amount, task_type = command.at_ms, command.scopes, command.amount, ""
    if account is not None:
        charged_ms, scopes, task_type = account.charged_ms, account.scopes, account.task_type
        amount = account.held if command.ambiguous else amount
    return LedgerEntry(
        attempt=command.attempt,
        kind=EntryKind.ADJUST if late else EntryKind.SETTLE,
        at_ms=command.at_ms,
        charged_ms=charged_ms,
        amount=amount,
        basis=command.basis,
        scopes=scopes,
        ref=LATE if late else "",
        ambiguous=command.ambiguous,
        equivalent_micro_usd=command.equivalent_micro_usd,
        equivalent_of=command.equivalent_of,
        asked_tier=command.asked_tier,
        task_type=task_type,
        note=command.note,
    )


def _after(account: Account, kind: EntryKind, at_ms: int, amount: Amount, *, note: str) -> LedgerEntry:
    basis = account.reserved.basis if account.reserved is not None else None
    return LedgerEntry(
        attempt=account.attempt,
        kind=kind,
        at_ms=at_ms,
        charged_ms=account.charged_ms,
        amount=amount,
        basis=basis or Basis.UNKNOWN,
        scopes=account.scopes,
        note=note,
    )
