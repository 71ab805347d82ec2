"""Sums in three grains are the sums of the charges, whatever the span."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.buckets import Grain, buckets, pieces, places, rows_of
from ostler.budget.windows import LATEST_MS, QUARTER_MS
from ostler.domain.ledger import Scopes, Span
from ostler.domain.limits import ScopeKind
from tests.budget.made import INSTANTS, NOW_MS, SCOPES, SPANS

CHARGES = st.lists(st.tuples(SCOPES, INSTANTS, st.integers(1, 1000)), max_size=30)


@given(CHARGES, st.lists(SPANS, min_size=1, max_size=5))
def test_the_rows_of_a_span_add_up_to_its_charges(charges: list[tuple[Scopes, int, int]], spans: list[Span]) -> None:
    """For any charges and any span of quarter-hours: nothing is missing, nothing is counted twice."""
    rows: Counter[tuple[str, str, int, int]] = Counter()
    for scopes, at_ms, amount in charges:
        for key in buckets(scopes, at_ms):
            rows[key] += amount

    for span in (*spans, Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)):
        found = sum(
            amount
            for (scope, value, grain, start_ms), amount in rows.items()
            for piece in pieces(span)
            if (scope, value, grain) == (span.scope.value, span.value, piece.grain)
            and piece.low_ms <= start_ms < piece.high_ms
        )
        assert found == sum(amount for scopes, at_ms, amount in charges if span.counts(scopes, at_ms))


@given(SPANS)
def test_a_span_is_few_rows(span: Span) -> None:
    """At most three pieces, of quarters never more than two days' worth."""
    found = pieces(span)

    assert len(found) <= 3
    assert sum(piece.high_ms - piece.low_ms for piece in found) == span.end_ms - span.start_ms
    quarters = sum((piece.high_ms - piece.low_ms) // 900_000 for piece in found if piece.grain is Grain.QUARTER)
    assert quarters <= 192


def test_a_task_and_a_tick_have_one_row() -> None:
    """They are over soon: nobody asks for their hours, and a row for each would only grow the table."""
    keys = list(buckets(Scopes(provider="anthropic", task="t1", tick="k1"), NOW_MS))

    assert [key.grain for key in keys if key.scope in {"task", "tick"}] == [Grain.ALL, Grain.ALL]
    assert [key.grain for key in keys if key.scope == "provider"] == [Grain.ALL, Grain.QUARTER, Grain.DAY]
    assert {key.scope for key in keys} == {"all", "provider", "task", "tick"}


@given(SCOPES, INSTANTS)
def test_the_rows_of_a_charge_are_those_of_its_places(scopes: Scopes, at_ms: int) -> None:
    """Each place once; what a place has no value for has no row; a charge of the same quarter has the same rows."""
    found = places(scopes)
    quarter_ms = at_ms - at_ms % QUARTER_MS

    assert len({(place.scope, place.value) for place in found}) == len(found)
    assert {place.scope for place in found} == {
        kind.value for kind in ScopeKind if kind is ScopeKind.ALL or scopes.of(kind)
    }
    assert list(buckets(scopes, at_ms)) == [key for place in found for key in rows_of(place, quarter_ms)]
    assert places(scopes) is found, "they are reckoned once"
