"""Money after the fact: late reports correct it, and a restart tells nothing twice."""

import pytest

from ostler.domain.commands import Reserve
from ostler.domain.ledger import Amount, EntryKind, LedgerQuery, Scopes
from ostler.domain.limits import Limit, ScopeKind, Window, WindowKind
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import Complexity, Usage
from ostler.domain.work import Finished
from ostler.scheduling import signals as sig
from ostler.scheduling.actor import Scheduler
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Emit
from ostler.scheduling.purse import told
from tests.scheduling.rig import HandClock
from tests.scheduling.test_purse import ALL, ESTIMATE, last, money, month, rig


@pytest.mark.parametrize("restart", [False, True])
def test_a_late_report_corrects_what_was_taken_to_be_spent(*, restart: bool) -> None:
    """Its worker was given up, and what it held was charged; it comes back and says what it took. Once, however often
    it says so, and also when the hub was started anew in between.
    """
    made = rig(month(1_000_000))
    task = made.chat("t", Complexity.COMPLEX)
    session = made.rows[task].session or ""
    made.tell(sig.WorkerLeft(session_id=session))
    assert (money(made), last(made).ambiguous) == ((ESTIMATE, 0), True)
    if restart:
        made.scheduler = Scheduler(made.policy, HandClock())
        lately = made.ledger.listed(LedgerQuery(newest_first=True))
        sums = made.ledger.summed(ScopeKind, 0)
        made.scheduler.restore_money(sums, made.ledger.open_reservations(), lately, now_ms=made.now_ms)

    report = Finished(
        task_id=task, generation=1, at_ms=made.now_ms, ok=True, usage=Usage(input_tokens=1_000, output_tokens=10)
    )
    for _ in range(2):
        made.tell(sig.Reported(session_id=session, report=report))

    assert money(made) == (1_000 * 3 + 10 * 15, 0)
    assert (last(made).kind, last(made).ref, last(made).note) == (EntryKind.ADJUST, "late", "told by a late report")
    assert made.scheduler.books.money.spent(ALL) == made.ledger.spent(ALL)


def test_a_late_report_of_a_call_that_was_turned_away_gives_the_money_back() -> None:
    """Nobody charges for it; one without a count that may have run changes nothing."""
    for kind, charged in ((FailureClass.RATE_LIMIT, 0), (FailureClass.CUT, ESTIMATE)):
        made = rig(month(1_000_000))
        task = made.chat("t", Complexity.COMPLEX)
        session = made.rows[task].session or ""
        made.tell(sig.WorkerLeft(session_id=session))
        failure = Failure(kind=kind, message="no", at_ms=made.now_ms)
        report = Finished(task_id=task, generation=1, at_ms=made.now_ms, ok=False, failure=failure)
        made.tell(sig.Reported(session_id=session, report=report))

        assert money(made) == (charged, 0), kind


def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    """Of the limit of everybody and of each session alike; what gets worse afterwards is news."""
    limits = (
        Limit(name="month", soft=ESTIMATE, hard=10 * ESTIMATE),
        Limit(name="session", scope=ScopeKind.SESSION, window=Window(kind=WindowKind.NONE), soft=1, hard=3 * ESTIMATE),
    )
    made = rig(*limits)
    for name in ("a", "b"):
        made.chat(name, tier="complex", session="s1")
    before = [event for event in made.events if event.name == "alert.budget"]
    assert sorted(str(event.metadata["limit"]) for event in before) == ["month", "session"]

    again = Scheduler(made.policy, HandClock())
    reserved = made.ledger.open_reservations()
    again.restore_money(made.ledger.summed(ScopeKind, 0), reserved, now_ms=made.now_ms)
    turn = Turn(again.books, made.now_ms)

    def spend(session: str) -> list[tuple[object, object, object]]:
        turn.effects.clear()
        amount = Amount(micro_usd=ESTIMATE)
        told(turn, Reserve(attempt=f"x/{session}", at_ms=made.now_ms, amount=amount, scopes=Scopes(session=session)))
        events = [effect.event for effect in turn.effects if isinstance(effect, Emit)]
        return [(event.metadata["limit"], event.metadata["of"], event.metadata["level"]) for event in events]

    assert spend("s1") == [("session", "s1", "exhausted")]
    assert spend("s2") == [("session", "s2", "degraded")]
