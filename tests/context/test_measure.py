"""Characters per token are measured, not assumed."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.context.measure import FEWEST, MOST, TokenRates, usual


def test_before_any_report_four_characters_are_a_token_and_a_limit_is_what_it_says() -> None:
    """Nothing is known, so nothing is bent; a count has its margin."""
    rates = TokenRates()
    assert rates.chars_per_token("m") == 4
    assert rates.as_estimated("m", 1_000) == 1_000
    assert rates.counter("m")("x" * 400) == 110


@given(st.floats(0.5, 10), st.integers(2_000, 40_000))
def test_a_rate_comes_near_what_is_reported(per_token: float, tokens: int) -> None:
    """After fifty prompts it is within a tenth of the truth."""
    rates = TokenRates()
    for _ in range(50):
        rates.note("m", int(tokens * per_token), tokens)
    assert abs(rates.chars_per_token("m") - per_token) <= 0.1 * per_token + 0.1


@given(st.lists(st.tuples(st.integers(-5, 10**6), st.integers(-5, 10**6)), max_size=30))
def test_no_report_makes_a_rate_absurd(reports: list[tuple[int, int]]) -> None:
    """Rates stay within what can be."""
    rates = TokenRates()
    for chars, tokens in reports:
        rates.note("m", chars, tokens)
    assert FEWEST <= rates.chars_per_token("m") <= MOST


def test_a_model_nobody_has_seen_is_taken_for_the_others() -> None:
    """What all models reported together stands in."""
    rates = TokenRates()
    for _ in range(20):
        rates.note("dense", 2_000, 1_000)
    assert rates.chars_per_token("new") == rates.chars_per_token("dense")
    assert rates.as_estimated("new", 1_000) < 600


def test_a_dense_model_gets_a_smaller_limit_with_its_margin() -> None:
    """2 characters a token and 10 % margin: 1,000 tokens are some 450 of four characters."""
    rates = TokenRates(margin_percent=10)
    for _ in range(500):
        rates.note("dense", 20_000, 10_000)
    assert 440 <= rates.as_estimated("dense", 1_000) <= 460


def test_who_counts_exactly_needs_no_margin() -> None:
    """A tokenizer goes before any rate."""
    rates = TokenRates(exact={"m": lambda text: len(text.split())})
    rates.note("m", 1_000, 1_000)
    assert rates.counter("m")("three short words") == 3


@given(st.text(max_size=300))
def test_a_count_is_never_below_the_rate(text: str) -> None:
    """The margin only adds."""
    assert TokenRates().counter("m")(text) >= usual(text)
