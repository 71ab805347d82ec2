"""What-if questions in words: every form asks the question it looks like, and what cannot be read says what can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.planning.instance import checked
from ostler.planning.whatif import (
    Question,
    add_host,
    add_memory,
    allow_model,
    scale_swaps,
    set_slots,
    to_cloud,
)
from ostler.planning.whatif_words import FORMS, question
from ostler.simulate.fourteen_agents import GB, fourteen_agents

SEED = fourteen_agents()
ASKED: dict[str, Question] = {
    "host=mac": add_host(SEED, "mac"),
    "host=mac*2": add_host(SEED, "mac", 2),
    "memory=mac+8GB": add_memory(SEED, "mac", 8 * GB),
    "memory = mac + 0.5 gib": add_memory(SEED, "mac", 512 * 1024**2),
    "allow=latest:qa, docs": allow_model(SEED, "latest", ("qa", "docs")),
    "slots=9": set_slots(SEED, 9),
    "slots=latest,quality:9": set_slots(SEED, 9, ("latest", "quality")),
    "cloud=chief-architect:0.12": to_cloud(SEED, ("chief-architect",), 120_000),
    "offer=qa,docs:1": to_cloud(SEED, ("qa", "docs"), 1_000_000, only=False),
    "swaps=free": scale_swaps(SEED, 0),
    "swaps=x2.5": scale_swaps(SEED, 2_500),
}


@pytest.mark.parametrize("text", ASKED)
def test_a_question_in_words_is_the_question_it_looks_like(text: str) -> None:
    """Same words, same instance before and after."""
    assert question(text, SEED) == ASKED[text]


@pytest.mark.parametrize(
    "text",
    ["host=", "host=mac*0", "host=mac*many", "memory=mac", "memory=mac+8", "memory=mac+8parsec", "memory=mac+0GB",
     "allow=latest", "allow=:qa", "allow=latest:", "slots=", "slots=:3", "slots=latest:", "slots=-1", "cloud=qa",
     "cloud=:1", "offer=qa:-1", "swaps=5", "swaps=x", "swaps=x1e9", "swaps=x999999999"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_form(text: str) -> None:
    """The refusal shows how that kind of question is written."""
    with pytest.raises(InvalidInputError, match="cannot read") as caught:
        question(text, SEED)

    assert FORMS[text.partition("=")[0]] in caught.value.remedy


def test_a_kind_that_does_not_exist_gets_the_nearest_and_all_forms() -> None:
    """Nobody has to look the forms up."""
    with pytest.raises(InvalidInputError, match="did you mean 'memory'") as caught:
        question("memmory=mac+8GB", SEED)

    assert all(form in caught.value.remedy for form in FORMS.values())


def test_names_inside_a_question_are_checked_like_any_other() -> None:
    """A misspelt host in readable words is a misspelt host."""
    with pytest.raises(InvalidInputError, match="did you mean 'mac'"):
        question("memory=mack+8GB", SEED)


@given(kind=st.sampled_from(sorted(FORMS)), change=st.text(max_size=30))
def test_any_text_is_a_question_or_refused_for_a_person(kind: str, change: str) -> None:
    """Whatever is typed: a question whose other side can be planned, or a refusal with a remedy, never a traceback."""
    try:
        asked = question(f"{kind}={change}", SEED)
    except InvalidInputError as error:
        assert error.remedy  # noqa: PT017 - a refusal is one of two good outcomes
        return

    assert checked(asked.after) == asked.after
