"""Messages that were made to fit do fit, and what belongs together stays together."""

import copy

from hypothesis import example, given
from hypothesis import strategies as st

from ostler.context.exchanges import Role
from ostler.context.fit import SHORTEST, fitted, shortened
from ostler.context.measure import usual
from ostler.context.messages import Message, role_of, text_of, tokens_of
from tests.context.talks import answered, asked, call, talks, words

budgets = st.integers(0, 1_500)
windows = st.one_of(st.none(), st.integers(1, 40))


@given(talks(), budgets, windows)
def test_the_budget_is_never_exceeded_by_what_may_go_or_be_cut(
    talk: list[Message], budget: int, window: int | None
) -> None:
    """What is too long all the same is a system message, calls with their thinking, and texts cut to the shortest."""
    found = fitted(talk, budget, usual, window=window)
    assert found.tokens == sum(tokens_of(message, usual) for message in found.messages)
    if not found.fits:
        long = [
            message
            for message in found.messages
            if role_of(message) is not Role.SYSTEM and len(text_of(message)) > SHORTEST
        ]
        assert long == [], "something could still have been cut"


@given(talks(), budgets, windows)
def test_no_result_is_orphaned_and_no_call_is_left_unanswered(
    talk: list[Message], budget: int, window: int | None
) -> None:
    """Calls and results go together, with the thinking before them."""
    left = list(fitted(talk, budget, usual, window=window).messages)
    assert asked(left) == answered(left)
    thinking = {str(message.get("reasoning_content")) for message in left if message.get("tool_calls")}
    assert thinking <= {str(message.get("reasoning_content")) for message in talk if message.get("tool_calls")}


@given(talks(), budgets, windows)
def test_fitting_twice_changes_nothing(talk: list[Message], budget: int, window: int | None) -> None:
    """What fits is left alone; what cannot fit is not cut further."""
    once = fitted(talk, budget, usual, window=window)
    twice = fitted(once.messages, budget, usual, window=window)
    assert twice.messages == once.messages
    assert twice.dropped == twice.cut == 0


@given(talks(), budgets, windows)
def test_the_system_message_and_the_newest_question_are_kept(
    talk: list[Message], budget: int, window: int | None
) -> None:
    """System messages are kept word for word, the newest question at least in part, and the order is that of before."""
    before = copy.deepcopy(talk)
    left = list(fitted(talk, budget, usual, window=window).messages)
    assert talk == before, "the caller's messages were changed in place"
    systems = [message for message in talk if role_of(message) is Role.SYSTEM]
    assert [message for message in left if role_of(message) is Role.SYSTEM] == systems
    assert any(text_of(message).startswith("last: ") for message in left)
    roles = iter([message.get("role") for message in talk])
    assert all(message.get("role") in roles for message in left)


@given(talks(), st.integers(1, 40))
def test_the_window_holds_where_whole_exchanges_let_it(talk: list[Message], window: int) -> None:
    """More than the window is left only of one exchange that has no more than one round."""
    left = fitted(talk, 10**9, usual, window=window).messages
    others = [message for message in left if role_of(message) is not Role.SYSTEM]
    if len(others) > window:
        assert sum(role_of(message) is Role.USER for message in others) == 1
        assert len(asked(list(others))) <= 1


@given(talks())
def test_a_talk_that_fits_is_left_as_it_is(talk: list[Message]) -> None:
    """The very same messages."""
    found = fitted(talk, 10**9, usual)
    assert found.messages == tuple(talk)
    assert all(mine is theirs for mine, theirs in zip(found.messages, talk, strict=True))


@given(st.text(max_size=2_000), st.integers(0, 400))
@example("x" * 81, 0)
def test_a_shortened_text_is_as_short_as_it_must_or_as_it_may(text: str, tokens: int) -> None:
    """Within its tokens, or no longer than the shortest there is; a text that fits is untouched."""
    found = shortened(text, tokens, usual)
    assert usual(found) <= tokens or len(found) <= SHORTEST
    if usual(text) <= tokens:
        assert found == text


def test_a_cut_text_says_how_much_is_missing_and_keeps_both_ends() -> None:
    """Beginning and end are where logs say what was run and what came of it."""
    found = shortened("begin " + "x" * 4_000 + " end", 100, usual)
    assert found.startswith("begin ")
    assert found.endswith(" end")
    kept = len(found) - len("\n[...  characters left out ...]\n") - len("3643")
    assert "characters left out" in found
    assert usual(found) <= 100
    assert kept > 300


def test_results_are_cut_before_questions() -> None:
    """The one long result of the newest round gives way, and the question stays whole."""
    question = {"role": "user", "content": "what is wrong with " + words(200)}
    found = fitted([question, *call(1, 1_200)], 300, usual)
    assert (found.dropped, found.cut) == (0, 1)
    assert found.messages[0] is question
    assert found.fits


def test_blocks_of_anthropic_are_kept_together_and_cut_inside() -> None:
    """A result that is a block of a user's message is never without its call, and its text gives way."""
    used = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    used["content"].append({"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}})  # type: ignore[attr-defined]
    back = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": words(4_000)}]}
    old = [{"role": "user", "content": "old"}, {"role": "assistant", "content": words(400)}]
    found = fitted([*old, {"role": "user", "content": "new"}, used, back], 200, usual)
    assert found.dropped == 2
    assert found.fits
    assert found.messages[1] is used
    block = found.messages[2]["content"][0]  # type: ignore[index]
    assert block["tool_use_id"] == "t1"
    assert "characters left out" in block["content"]


def test_an_image_counts_a_fixed_price_in_every_form() -> None:
    """Its data is no text."""
    data = "x" * 40_000
    forms: list[Message] = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]},
        {"role": "user", "content": [{"type": "image", "source": {"data": data}}]},
        {"role": "user", "content": "", "images": [data]},
        {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image", "source": data}]}]},
    ]
    assert [tokens_of(message, usual) for message in forms] == [1_000] * 4
