"""Facts of live calls: what a name means, lengths in steps, and a classification only where the choice is ours."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import Capability
from ostler.domain.errors import InvalidInputError, NotFoundError
from ostler.domain.fleet import EndpointView
from ostler.domain.tasks import Complexity, TaskFacts
from ostler.routing.call_facts import ANSWER_ROOM_TOKENS, CLASSIFIED_CHARACTERS, EXPLICIT, step_up
from ostler.routing.facts import CallWish, describe_call
from tests.routing import fleets
from tests.routing.fleets import CHEAP, DEAR, FOUR_TIERS, SMALL


def described(model: str, *, views: Iterable[EndpointView] = (), **wish: object) -> TaskFacts:
    """Facts of a call for this model under four tiers."""
    named = {view.spec.name: view for view in views}
    return describe_call(CallWish(model=model, **wish), FOUR_TIERS, named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "model", "tier"),
    [
        (SMALL.name, SMALL.name, None),
        (f" {CHEAP.name}:latest", CHEAP.name, None),
        ("ds", CHEAP.name, None),
        ("T1", None, "T1"),
        ("tier:T1", None, "T1"),
        ("tier:local_strong", None, "T1"),
        ("expensive_cloud", None, "T3"),
        ("auto", None, None),
        ("AUTO", None, None),
        ("listed:1b", "listed:1b", None),
    ],
)
def test_a_name_means_a_model_a_tier_or_our_choice(name: str, model: str | None, tier: str | None) -> None:
    """By any of its names; a model that only an endpoint lists may be named too."""
    found = described(name, views=[fleets.view("gpu1", "listed:1b")])

    assert (found.model, found.tier) == (model, tier)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gpt-5.3", "gpt-5.2"), ("tier:T9", "T"), ("direct", "valid"), ("listed:2b", "listed:1b"), ("", "valid")],
)
def test_a_name_that_nobody_knows_is_refused_with_the_nearest_one(name: str, hint: str) -> None:
    """As not found, or as missing. A command is no live call, so neither is its tier."""
    with pytest.raises(NotFoundError if name else InvalidInputError) as refused:
        described(name, views=[fleets.view("gpu1", "listed:1b")])

    assert refused.value.where == "model"
    assert hint in refused.value.remedy


def test_nobody_asks_how_hard_a_call_is_that_names_its_model() -> None:
    """Its text is not looked at, nor that of a call that names a tier."""
    for name in (SMALL.name, "tier:T1"):
        assert described(name, text="design the architecture").classification is EXPLICIT


def test_our_choice_goes_by_the_last_words() -> None:
    """Only so many of them, and the evidence keeps no counts, so that equal questions are equal."""
    hard = described("auto", text="x" * CLASSIFIED_CHARACTERS + " please architect this")
    early = described("auto", text="architect this " + "x " * CLASSIFIED_CHARACTERS)
    one, other = (described("auto", text=f"architect the {word} part") for word in ("first", "other"))

    assert hard.classification.complexity is Complexity.COMPLEX
    assert not any("architect" in signal for signal in early.classification.signals)
    assert one == other


@given(st.integers(0, 10_000_000))
def test_a_length_is_rounded_up_by_an_eighth_at_most(tokens: int) -> None:
    """Never down: what is too long for a window stays too long; and a step is a step."""
    step = step_up(tokens)

    assert tokens <= step <= max(tokens, tokens * 9 / 8), "a step is at most an eighth"
    assert step_up(step) == step


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_steps_keep_the_order_of_lengths(one: int, other: int) -> None:
    """A longer prompt never counts as a shorter one."""
    assert (step_up(one) <= step_up(other)) or one > other


def test_a_window_has_room_for_prompt_and_answer() -> None:
    """An asked length counts up to a bound; without one, the usual length does; a stated window is taken as it is."""
    usual = FOUR_TIERS.routing.default_output_tokens

    assert described("auto", prompt_tokens=1_000).context_tokens == 1_024 + usual
    assert described("auto", prompt_tokens=1_000, max_output_tokens=64_000).context_tokens == 1_024 + ANSWER_ROOM_TOKENS
    assert described("auto", prompt_tokens=1_000, max_output_tokens=64_000).output_tokens is None
    assert described("auto", max_output_tokens=8).output_tokens == 8
    assert described("auto", prompt_tokens=1_000, context_tokens=9_000).context_tokens == 9_000


def test_what_a_key_may_use_is_known_by_its_own_names() -> None:
    """Whatever names the key was made with."""
    found = described(
        "auto",
        only_models=frozenset({"ds", "qwen2.5:7b:latest"}),
        only_tiers=frozenset({"cheap_cloud", "T0"}),
        local_only=True,
        capabilities=frozenset({Capability.TOOLS}),
    )

    assert found.only_models == {CHEAP.name, SMALL.name}
    assert found.only_tiers == {"T2", "T0"}
    assert found.local_only
    assert found.capabilities == {Capability.TOOLS}


def test_an_alias_wins_over_nothing_but_a_model() -> None:
    """A model of the profile comes before a tier of the same name."""
    catalog = replace(FOUR_TIERS.catalog, models={**FOUR_TIERS.catalog.models, "T1": replace(DEAR, name="T1")})
    found = describe_call(CallWish(model="T1"), replace(FOUR_TIERS, catalog=catalog), {})

    assert (found.model, found.tier) == ("T1", None)
