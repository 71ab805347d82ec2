"""The mirror of the ledger: it says what the store says, from the start on and after every command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget import mirror as rules
from ostler.budget.book import LedgerBook
from ostler.budget.mirror import QUARTERS_KEPT_MS, Mirror, since_needed
from ostler.budget.windows import DAY_MS, LATEST_MS
from ostler.domain.commands import LedgerCommand, Release, Reserve, Settle
from ostler.domain.ledger import NOTHING, LedgerQuery, Scopes, Span
from ostler.domain.limits import Limit, ScopeKind, Window, WindowKind
from tests.budget.made import AMOUNTS, HOUR_MS, NOW_MS, SCOPES, SPANS, usd

ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)


def lives(count: int) -> st.SearchStrategy[list[list[LedgerCommand]]]:
    """Lives of attempts: a reservation, and mostly one end. Instants rise."""

    def life(name: str) -> st.SearchStrategy[list[LedgerCommand]]:
        start = st.integers(NOW_MS - 30 * DAY_MS, NOW_MS)
        return st.tuples(
            start,
            AMOUNTS,
            AMOUNTS,
            SCOPES,
            st.sampled_from(("none", "settle", "lost", "release", "late", "late release")),
        ).map(lambda drawn: _life(name, *drawn))

    return st.tuples(*(life(f"a{number}") for number in range(count))).map(list)


def _life(name: str, at_ms: int, held: object, used: object, scopes: Scopes, end: str) -> list[LedgerCommand]:
    reserve = Reserve(attempt=name, at_ms=at_ms, amount=held, scopes=scopes)  # type: ignore[arg-type]
    ends: dict[str, list[LedgerCommand]] = {
        "none": [],
        "settle": [Settle(attempt=name, at_ms=at_ms + HOUR_MS, amount=used)],  # type: ignore[arg-type]
        "lost": [Settle(attempt=name, at_ms=at_ms + HOUR_MS, amount=NOTHING, ambiguous=True)],
        "release": [Release(attempt=name, at_ms=at_ms + HOUR_MS)],
    }
    told_late: LedgerCommand = Settle(attempt=name, at_ms=at_ms + 2 * HOUR_MS, amount=used)  # type: ignore[arg-type]
    ends["late"] = [*ends["lost"], told_late]
    ends["late release"] = [*ends["release"], told_late]
    return [reserve, *ends[end]]


@given(lives(8), st.lists(SPANS, min_size=1, max_size=5), st.integers(0, 16))
def test_the_mirror_says_what_the_ledger_says(made: list[list[LedgerCommand]], spans: list[Span], restart: int) -> None:
    """After every command, asked before and anew, and also when it was taken up from the store in the middle."""
    commands = sorted((command for life in made for command in life), key=lambda command: command.at_ms)
    book, mirror = LedgerBook(), Mirror()
    for number, command in enumerate(commands):
        if number == restart:
            mirror = Mirror()
            lately = book.listed(LedgerQuery(newest_first=True))
            mirror.restore(book.summed(ScopeKind, 0), book.open_reservations(), lately)
        book.apply(command)
        mirror.take(command)
        for span in (ALL, *spans):
            assert mirror.spent(span) == book.spent(span), f"other sums after {command}"


def test_an_attempt_of_unknown_cost_is_remembered_until_somebody_tells() -> None:
    """Taken to be spent or given back; the newest word on it stands, also after a restart."""
    book, mirror = LedgerBook(), Mirror()
    whose, names = Scopes(provider="p"), ("lost", "back", "told", "open")
    commands: list[LedgerCommand] = [
        *(Reserve(attempt=name, at_ms=NOW_MS, amount=usd(1), scopes=whose) for name in names),
        Settle(attempt="lost", at_ms=NOW_MS, amount=NOTHING, ambiguous=True),
        Release(attempt="back", at_ms=NOW_MS),
        Settle(attempt="told", at_ms=NOW_MS, amount=NOTHING, ambiguous=True),
        Settle(attempt="told", at_ms=NOW_MS, amount=usd(2)),
    ]
    for command in commands:
        book.apply(command)
        mirror.take(command)
    again = Mirror()
    again.restore(book.summed(ScopeKind, 0), book.open_reservations(), book.listed(LedgerQuery(newest_first=True)))

    for one in (mirror, again):
        assert [one.unsure(name) for name in names] == [whose, whose, None, None]


def test_an_end_below_what_was_held_makes_room_and_a_reservation_never_does() -> None:
    """That is when those who wait for a limit are looked at."""
    mirror = Mirror()
    reserve = Reserve(attempt="a", at_ms=NOW_MS, amount=usd(0.10), scopes=Scopes())
    assert not mirror.take(reserve)
    assert not mirror.take(reserve), "a second word on it changes nothing"
    assert mirror.holds("a")
    assert mirror.take(Settle(attempt="a", at_ms=NOW_MS, amount=usd(0.07)))
    assert not mirror.holds("a")
    assert not mirror.take(Release(attempt="a", at_ms=NOW_MS))

    mirror.take(Reserve(attempt="b", at_ms=NOW_MS, amount=usd(0.10), scopes=Scopes()))
    assert not mirror.take(Settle(attempt="b", at_ms=NOW_MS, amount=usd(0.12)))
    assert mirror.spent(ALL).used.micro_usd == 190_000


def test_a_restart_takes_up_a_month_and_the_longest_window() -> None:
    """No less: a sum that is not there would be read as nothing."""
    fortnight = Limit(name="w", window=Window(kind=WindowKind.ROLLING, hours=100 * 24))
    ever = Limit(name="e", window=Window(kind=WindowKind.NONE))

    assert since_needed((ever,), NOW_MS) <= NOW_MS - QUARTERS_KEPT_MS
    assert since_needed((fortnight, ever), NOW_MS) <= NOW_MS - 100 * DAY_MS
    assert since_needed((), DAY_MS) == 0


def test_quarters_of_long_ago_are_forgotten_and_their_days_are_not() -> None:
    """What a hub keeps in memory does not grow by the hour for ever."""
    mirror = Mirror()
    days = 150
    for day in range(days):
        for hour in (0, 6, 12, 18):
            at_ms = NOW_MS - NOW_MS % DAY_MS + day * DAY_MS + hour * HOUR_MS
            mirror.take(Settle(attempt=f"{day}/{hour}", at_ms=at_ms, amount=usd(0.01)))
    quarters_kept = 4 * (QUARTERS_KEPT_MS // DAY_MS + 2)
    assert len(mirror) <= days + 1 + quarters_kept
    assert mirror.spent(ALL).used.micro_usd == 4 * days * 10_000


def of_task(name: str) -> Span:
    """All that a task has come to."""
    return Span(scope=ScopeKind.TASK, value=name, start_ms=0, end_ms=LATEST_MS)


def test_sums_of_single_tasks_are_kept_of_the_newest_and_of_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that runs for a year has charged a million tasks; only what is still of use is remembered of them."""
    monkeypatch.setattr(rules, "KEPT_SINGLE", 5)
    mirror = Mirror()
    mirror.take(Reserve(attempt="long/1", at_ms=NOW_MS, amount=usd(1), scopes=Scopes(task="long", batch="b")))
    for number in range(50):
        scopes = Scopes(task=f"t{number}", batch="b")
        mirror.take(Settle(attempt=f"t{number}/1", at_ms=NOW_MS, amount=usd(0.5), scopes=scopes))
        assert mirror.spent(of_task(f"t{number}")).used.micro_usd == 500_000
        assert len(mirror) <= 5 + 2 * 3 + 1, "six rows of all and of the batch, and those of single tasks"

    assert mirror.spent(of_task("long")).held.micro_usd == 1_000_000
    assert mirror.spent(of_task("t49")).used.micro_usd == 500_000
    assert mirror.spent(of_task("t3")).used.micro_usd == 0, "forgotten, also where it was asked before"
    batch = Span(scope=ScopeKind.BATCH, value="b", start_ms=0, end_ms=LATEST_MS)
    assert mirror.spent(batch).used.micro_usd == 25_000_000, "what has few values is not forgotten"


def test_a_task_that_is_charged_again_counts_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """So one that goes on for long is not forgotten for its age."""
    monkeypatch.setattr(rules, "KEPT_SINGLE", 3)
    mirror = Mirror()
    for number in range(12):
        for name in ("old", f"t{number}"):
            scopes = Scopes(task=name)
            mirror.take(Settle(attempt=f"{name}/{number}", at_ms=NOW_MS, amount=usd(0.25), scopes=scopes))

    assert mirror.spent(of_task("old")).used.micro_usd == 12 * 250_000
