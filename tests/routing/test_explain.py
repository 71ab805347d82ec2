"""A decision reads as an answer to "why there?" and "why not yet?"."""

from msgspec.structs import replace

from ostler.domain.catalog import ChoiceRule
from ostler.domain.decision import Verdict
from ostler.domain.fleet import Health
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.routing.decide import decide
from ostler.routing.explain import Section, explain, plain
from ostler.routing.facts import describe
from tests.routing.fleets import (
    DEAR,
    FOUR_TIERS,
    LARGE,
    NOW,
    SMALL,
    THREE_TIERS,
    facts,
    fleet,
    report,
    request,
    view,
    with_models,
    with_tier,
)

S, D = SMALL.name, DEAR.name


def section(verdict: Verdict, title: str) -> Section:
    return next(part for part in explain(verdict) if part.title == title)


def titles(verdict: Verdict) -> list[str]:
    return [part.title for part in explain(verdict)]


def test_a_route_is_explained_from_words_to_place() -> None:
    """Summary, classification with its signals, the ladder, every candidate with every term, what else was possible."""
    spec = TaskSpec(id="t", prompt="debug the function in the scheduler", file_hints=("a.py",))
    snapshot = fleet(
        view("near", "deepseek-chat", local=False, spec={"provider": "deepseek"}),
        view("far", "deepseek-chat"),
        view("off", "deepseek-chat", local=False, health=Health.DOWN, message="connection refused"),
        reports={"far": report("far", cpu_percent=95.0)},
    )
    verdict = decide(request(describe(spec, FOUR_TIERS)), snapshot, FOUR_TIERS)
    assert titles(verdict) == [
        "",
        "Classification",
        "Ladder",
        "Candidates",
        "Terms",
        "Not possible",
        "What would change it",
    ]
    assert section(verdict, "").lines == (verdict.decision.summary,)
    assert "type coding (by its words)" in section(verdict, "Classification").lines
    assert "signal: coding words: debug, function" in section(verdict, "Classification").lines
    assert "T0 -> T2 (classification): coding needs at least T2" in section(verdict, "Ladder").lines
    totals, parts = section(verdict, "Candidates").table, section(verdict, "Terms").table
    assert totals is not None
    assert parts is not None
    assert [row[:2] for row in totals.rows] == [("*", "near"), ("", "far")]
    assert set(verdict.decision.candidates[0].terms) <= {*totals.columns, *parts.columns}
    assert section(verdict, "Not possible").lines == ("off/deepseek-chat is down (connection refused) [T2]",)
    assert section(verdict, "What would change it").lines[0].startswith("far/deepseek-chat is next, ")


def test_an_explicit_disagreement_is_shown() -> None:
    """The stated complexity is used, and the heuristic's answer stands beside it."""
    spec = TaskSpec(id="t", prompt="refactor the scheduler", complexity=Complexity.STANDARD)
    lines = section(
        decide(request(describe(spec, THREE_TIERS)), fleet(view("a", S)), THREE_TIERS), "Classification"
    ).lines
    assert "complexity standard (as stated)" in lines
    assert "the stated complexity differs from the heuristic's (complex)" in lines


def test_a_stated_tier_shows_what_classification_would_ask() -> None:
    """The record does not hide that a task runs below its minimum by choice."""
    task = facts(Complexity.COMPLEX, tier="standard")
    lines = section(decide(request(task), fleet(view("a", S)), THREE_TIERS), "Ladder").lines
    assert lines[0] == "asks for standard; its classification alone would ask for complex"


def test_the_margin_is_the_difference_in_seconds_and_money() -> None:
    """The runner-up's distance is the difference of the recorded costs."""
    snapshot = fleet(view("a", S), view("b", S), reports={"a": report("a", cpu_percent=20.0)})
    verdict = decide(request(), snapshot, THREE_TIERS)
    first, second = verdict.decision.candidates
    behind = second.terms["cost_s"] - first.terms["cost_s"]
    assert section(verdict, "What would change it").lines == (
        f"b/{S} is next, {behind:.1f} s behind in seconds and money together",
    )


def test_the_order_of_a_tier_is_named_when_it_decides() -> None:
    """A better score that comes later in the order is no contradiction."""
    policy = with_models(with_tier(THREE_TIERS, "standard", models=(S, LARGE.name), choose=ChoiceRule.FIRST), LARGE)
    snapshot = fleet(view("a", S), view("b", LARGE.name, warm=[LARGE.name]))
    lines = section(decide(request(), snapshot, policy), "What would change it").lines
    assert lines == (f"b/{LARGE.name} scores higher, but its model comes later in the tier's order",)


def test_a_fallback_says_what_brings_the_work_back() -> None:
    """Next to the reason in the ladder stands what would end it."""
    snapshot = fleet(view("gpu1", S, health=Health.DOWN), view("cloud", D, local=False))
    verdict = decide(request(waited_ms=5_000), snapshot, THREE_TIERS)
    reason = "no endpoint of standard is available: gpu1 is down, after 5 s"
    assert f"standard -> complex (availability): {reason}" in section(verdict, "Ladder").lines
    assert section(verdict, "What would change it").lines == (
        "an endpoint of standard that comes back: the next task goes there again",
        "nothing else could take it now",
    )


def test_a_hold_says_what_ends_it() -> None:
    """The instant when there is one, else the event, and whom it watches."""
    down = view("gpu1", S, health=Health.DOWN)
    waiting = decide(request(waited_ms=2_000), fleet(down, view("cloud", D, local=False)), THREE_TIERS)
    assert section(waiting, "What would change it").lines == (
        "the step to complex, in 3 s",
        "it looks again when one of these changes: cloud, gpu1",
    )
    limited = view("cloud", D, local=False, blocked_until_ms=NOW + 90_000)
    quota = decide(request(facts(Complexity.COMPLEX)), fleet(limited), THREE_TIERS)
    assert section(quota, "What would change it").lines[0] == "the end of the rate limit, in 1.5 min"
    full = decide(request(), replace(fleet(view("gpu1", S)), in_flight={"gpu1": 1}), THREE_TIERS)
    assert section(full, "What would change it").lines[0] == "a slot that becomes free"
    never = decide(request(facts(context_tokens=10**6)), fleet(view("gpu1", S)), THREE_TIERS)
    assert section(never, "What would change it").lines[0].startswith("another profile")
    assert section(never, "Not possible").lines[0].startswith(f"{S} needs a window of 1000000 tokens")


def test_long_lists_are_cut_and_counted() -> None:
    """Three names are enough in a sentence; the record's bound is said."""
    many = [view(f"gpu{number}", S, health=Health.DOWN) for number in range(70)]
    verdict = decide(request(waited_ms=1_000), fleet(*many, view("cloud", D, local=False)), THREE_TIERS)
    assert "gpu0, gpu1" not in verdict.decision.summary
    assert "and 67 more" in verdict.decision.summary
    assert section(verdict, "What would change it").lines[1].endswith("and 68 more")
    assert section(verdict, "Not recorded").lines == ("6 more were looked at",)


def test_a_command_needs_few_words() -> None:
    """No model, no candidates, nothing to change."""
    verdict = decide(request(facts(kind=TaskKind.COMMAND)), fleet(), THREE_TIERS)
    assert titles(verdict) == ["", "Ladder"]


def test_plain_text_is_aligned() -> None:
    """Columns start at the same place in every row, and nothing ends in blanks."""
    verdict = decide(request(), fleet(view("a", S), view("a-much-longer-name", S)), THREE_TIERS)
    lines = plain(explain(verdict))
    rows = [line for line in lines if S in line and "endpoint" not in line and line.startswith("  ")][:2]
    assert len({row.index(S) for row in rows}) == 1
    assert all(line == line.rstrip() for line in lines)
