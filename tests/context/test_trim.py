"""A trimmed talk fits where it can, and what belongs together stays together."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.context.trim import IMAGE_TOKENS, estimate, trimmed
from ostler.wire.talk import Ask, Image, Part, Text, Thinking, Tool, ToolResult, ToolUse, Turn


def said(role: str, *parts: Part | str) -> Turn:
    return Turn(role=role, parts=tuple(Text(text=part) if isinstance(part, str) else part for part in parts))


def call(number: int, words: int) -> list[Turn]:
    """A round of tools: thinking and a call, then its result."""
    name = f"t{number}"
    return [
        said("assistant", Thinking(text="x" * words, signature="s"), ToolUse(id=name, name="read", arguments="{}")),
        said("user", ToolResult(tool_use_id=name, parts=(Text(text="y" * words),))),
    ]


lengths = st.integers(0, 400)


@st.composite
def talks(draw: st.DrawFn) -> Ask:
    """Talks with system turns, questions, rounds of tools and answers; the last turn is the user's."""
    turns = [said("system", "s" * draw(lengths))] if draw(st.booleans()) else []
    number = 0
    for _ in range(draw(st.integers(0, 4))):
        turns.append(said("user", "q" * draw(lengths)))
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            turns += call(number, draw(lengths))
        turns.append(said("assistant", "a" * draw(lengths)))
    turns.append(said("user", "last " + "q" * draw(lengths)))
    for _ in range(draw(st.integers(0, 4))):
        number += 1
        turns += call(number, draw(lengths))
    return Ask(model="m", turns=tuple(turns), tools=(Tool(name="read", description="d" * draw(lengths)),))


def ids(ask: Ask, kind: type[ToolUse] | type[ToolResult]) -> list[str]:
    parts = [part for turn in ask.turns for part in turn.parts if isinstance(part, kind)]
    return [part.id if isinstance(part, ToolUse) else part.tool_use_id for part in parts]


@given(talks(), st.integers(0, 1_000))
def test_no_result_is_left_without_its_call_and_no_call_without_its_result(ask: Ask, limit: int) -> None:
    """Whatever has to go, they go together."""
    left = trimmed(ask, limit).ask
    assert ids(left, ToolUse) == ids(left, ToolResult)


@given(talks(), st.integers(0, 1_000))
def test_what_must_stay_stays_in_its_order(ask: Ask, limit: int) -> None:
    """System turns, tools, the newest question and the newest turn; the rest is a subsequence that a user begins."""
    left = trimmed(ask, limit).ask
    assert left.tools == ask.tools
    assert [turn for turn in left.turns if turn.role == "system"] == [t for t in ask.turns if t.role == "system"]
    assert left.turns[-1] == ask.turns[-1]
    assert any(turn.text.startswith("last ") for turn in left.turns)
    rest = iter(ask.turns)
    assert all(turn in rest for turn in left.turns), "turns changed their order"
    first = next(turn for turn in left.turns if turn.role != "system")
    assert first.role == "user"
    assert not any(isinstance(part, ToolResult) for part in first.parts)


@given(talks(), st.integers(0, 1_000))
def test_no_more_goes_than_has_to(ask: Ask, limit: int) -> None:
    """A talk that fits is left as it is; of one that does not, the count of what went is true."""
    result = trimmed(ask, limit)
    if estimate(ask) <= limit:
        assert result.ask is ask
    assert result.dropped_turns == len(ask.turns) - len(result.ask.turns)
    assert result.tokens == estimate(result.ask)


@given(talks())
def test_a_smaller_limit_never_leaves_more(ask: Ask) -> None:
    """Trimming is monotone."""
    left = [trimmed(ask, limit).tokens for limit in (0, 50, 200, 800)]
    assert left == sorted(left)


def test_whole_exchanges_go_before_rounds_of_the_newest_one() -> None:
    """The oldest question goes with its answer; the newest one's tools stay while that is enough."""
    ask = Ask(
        model="m",
        turns=(said("user", "o" * 400), said("assistant", "a" * 400), said("user", "n" * 40), *call(1, 400)),
    )
    result = trimmed(ask, 260)
    assert result.dropped_turns == 2
    assert [turn.role for turn in result.ask.turns] == ["user", "assistant", "user"]


def test_of_the_newest_exchange_the_oldest_rounds_go() -> None:
    """A long run of an agent keeps its question and its newest round."""
    ask = Ask(model="m", turns=(said("user", "fix it"), *call(1, 400), *call(2, 400), *call(3, 400)))
    result = trimmed(ask, 300)
    assert ids(result.ask, ToolUse) == ["t3"]
    assert result.ask.turns[0].text == "fix it"


def test_an_image_counts_as_what_it_costs() -> None:
    """Not as the length of its data."""
    ask = Ask(model="m", turns=(said("user", Image(media_type="image/png", data="x" * 400_000)),))
    assert estimate(ask) == IMAGE_TOKENS
