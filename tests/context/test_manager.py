"""`from ostler import ContextManager`: budgets of four tiers, the rolling window, compaction at every tenth tick."""

import asyncio
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler import ContextBudget, ContextManager, Tier
from ostler.context.manager import By
from ostler.context.measure import TokenRates, usual
from ostler.context.messages import Message, tokens_of
from ostler.domain.errors import InvalidInputError, UnreachableError
from ostler.domain.working_set import WorkingState
from tests.context.talks import talks


class Hot:
    def __init__(self) -> None:
        self.state = WorkingState(objectives=("mend the roof",))

    def text(self) -> str:
        return self.state.text()

    def add(self, kind: str, text: str) -> None:
        self.state = self.state.added(kind, text)


def chatted(turns: int, **settings: object) -> ContextManager:
    """A manager after so many questions, each with its answer."""
    manager = ContextManager("You mend roofs.", **settings)  # type: ignore[arg-type]
    for number in range(turns):
        manager.say("user", f"question {number}: what about slate?")
        manager.say("assistant", f"answer {number}: we decided on slate {number}.")
    return manager


@pytest.mark.parametrize(
    ("tier", "tokens"),
    [
        (Tier.LOCAL_CHEAP, 4_000),
        (Tier.LOCAL_STRONG, 16_000),
        (Tier.CHEAP_CLOUD, 16_000),
        (Tier.EXPENSIVE_CLOUD, 64_000),
        ("local_cheap", 4_000),
        ("T3", 64_000),
        (2, 16_000),
    ],
)
def test_each_tier_has_its_budget(tier: Tier | str | int, tokens: int) -> None:
    """4,000, 16,000, 16,000 and 64,000 tokens, by tier, name or number."""
    assert ContextManager(tier=tier).tokens == tokens


def test_sizes_are_settings() -> None:
    """`small`, `moderate` and `large` can be others, as long as they rise."""
    assert ContextBudget(small=1_000).tokens(Tier.LOCAL_CHEAP) == 1_000
    with pytest.raises(InvalidInputError, match="rising"):
        ContextBudget(small=20_000)
    with pytest.raises(InvalidInputError, match="no tier local_chaep"):
        ContextManager(tier="local_chaep")


def test_the_system_message_and_the_last_thirty_are_sent() -> None:
    """Of 40 messages the newest 30 go, with the system message before them, and nothing is forgotten."""
    manager = chatted(20, tier=Tier.EXPENSIVE_CLOUD)
    sent = manager.messages()
    assert sent[0] == {"role": "system", "content": "You mend roofs."}
    assert len(sent) == 31
    assert sent[1]["content"] == "question 5: what about slate?"
    assert len(manager.kept) == 40
    assert manager.records[-1].by is By.TRIM
    assert manager.records[-1].messages == 10


@given(talks(), st.integers(300, 3_000))
def test_a_view_keeps_to_the_budget_where_the_system_message_leaves_room(talk: list[Message], tokens: int) -> None:
    """With a working set and a summary on top."""
    manager = ContextManager(tokens=tokens, hot=Hot(), rates=TokenRates(margin_percent=0))
    manager.add(*talk)
    manager.summary = "It was about slate. " * 100
    view = manager.view()
    fixed = sum(tokens_of(message, usual) for message in view.messages if message["role"] == "system")
    calls = sum(tokens_of(message, usual) for message in view.messages if message.get("tool_calls"))
    assert view.tokens <= max(tokens, fixed + calls + 40)
    assert manager.kept == tuple(message for message in talk if message["role"] != "system")


def test_another_tier_sees_another_view_of_the_same_talk() -> None:
    """An escalation to a larger tier sends more, without anything being told again."""
    manager = ContextManager(tier=Tier.LOCAL_CHEAP)
    for _ in range(8):
        manager.say("user", "x" * 4_000)
        manager.say("assistant", "y" * 4_000)
    assert len(manager.messages()) < 5
    assert len(manager.messages(tier=Tier.EXPENSIVE_CLOUD)) == 16


def test_at_every_tenth_tick_older_messages_are_summarised_by_the_model() -> None:
    """Ticks 10 and 20; what was summarised is gone, the summary stands after the system message."""
    asked: list[str] = []

    def model(prompt: str) -> str:
        asked.append(prompt)
        return f"Slate was chosen ({len(asked)})."

    manager = chatted(15)
    manager.summarize = model
    made = [tick for tick in range(1, 21) if manager.tick() is not None or manager.say("user", "more") is not None]  # type: ignore[func-returns-value]
    assert made == [10, 20]
    assert "question 0" in asked[0]
    assert "Slate was chosen (1)." in asked[1], "the summary before is summarised again"
    assert manager.messages()[1]["content"] == "Summary of what was said before:\nSlate was chosen (2)."
    assert [record.by for record in manager.records if record.by is not By.TRIM] == [By.MODEL, By.MODEL]
    assert len(manager.kept) <= 30


@pytest.mark.parametrize("answer", ["", "   ", "much " * 3_000])
def test_a_summary_that_is_none_is_not_believed(answer: str) -> None:
    """Silence, or far more than was asked for: sentences are extracted instead, and the record says why."""
    manager = chatted(15)
    manager.summarize = lambda _: answer
    record = manager.compact()
    assert record is not None
    assert record.by is By.EXTRACT
    assert record.note.startswith("the model said")
    assert "we decided on slate" in manager.summary


def test_without_a_model_that_answers_sentences_are_extracted() -> None:
    """None given, or none reachable: the talk goes on, and the same talk gives the same summary."""

    def down(prompt: str) -> str:
        raise UnreachableError("no tier can be reached")

    plain, unlucky = chatted(15), chatted(15)
    unlucky.summarize = down
    first, second = plain.compact(), unlucky.compact()
    assert first is not None
    assert second is not None
    assert (first.by, second.by) == (By.EXTRACT, By.EXTRACT)
    assert (first.note, "no tier can be reached" in second.note) == ("no model was given", True)
    assert plain.summary == unlucky.summary != ""
    assert first.messages == 20


def test_nothing_old_needs_no_summary() -> None:
    """A short talk is left alone at the tenth tick."""
    manager = chatted(2)
    assert [manager.tick() for _ in range(10)] == [None] * 10
    assert len(manager.kept) == 4


def test_a_coroutine_may_ask_the_model_while_the_talk_goes_on() -> None:
    """What is said meanwhile is kept behind what was split off."""
    manager = chatted(15)

    async def model(prompt: str) -> str:
        manager.say("user", "are you there?")
        return "Slate."

    manager.asummarize = model
    manager.ticks = 9
    record = asyncio.run(manager.atick())
    assert record is not None
    assert record.by is By.MODEL
    assert manager.kept[-1]["content"] == "are you there?"
    assert len(manager.kept) == 11


def test_the_working_set_is_in_every_view_and_is_told_of_summaries() -> None:
    """It stands after the system message, and takes a quarter of the budget at most."""
    hot = Hot()
    manager = chatted(15, hot=hot)
    assert "mend the roof" in str(manager.messages()[1]["content"])
    manager.compact()
    assert hot.state.summaries == (manager.summary,)
    assert sum(manager.summary in str(message["content"]) for message in manager.messages()) == 1
    for number in range(60):
        hot.add("decisions", f"decision {number} " + "x" * 2_000)
    view = manager.view()
    assert view.fits


def test_lengths_are_learned_from_what_endpoints_count() -> None:
    """A model whose tokens are short gets shorter prompts."""
    manager = ContextManager(tier=Tier.LOCAL_CHEAP, model="dense")
    talk: list[Message] = [{"role": "user", "content": "x" * 8_000}, {"role": "assistant", "content": "y" * 2_000}]
    manager.add(*talk, {"role": "user", "content": "and?"})
    assert len(manager.messages()) == 3
    for _ in range(30):
        manager.note_usage(talk, 8_000)
    assert len(manager.messages()) == 1


def test_the_face_loads_neither_hub_nor_database() -> None:
    """`from ostler import ContextManager` is light."""
    code = (
        "import sys; from ostler import ContextManager, ContextBudget, Tier, TaskType; "
        "print([name for name in ('sqlalchemy', 'aiohttp', 'asyncio', 'click') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
