"""What is believed of models that nobody has tried."""

import pytest

from ostler.learning.belief import believe
from ostler.learning.evidence import Evidence
from ostler.learning.priors import WEIGHT, parameters_b, prior_of
from tests.learning.rig import observation


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("qwen2.5:7b", 7.0),
        ("qwen2.5-coder:1.5b-instruct-q4_K_M", 1.5),
        ("meta-llama/Llama-3.1-70B-Instruct", 70.0),
        ("mixtral:8x7b", 56.0),
        ("phi4", None),
        ("gpt-4o-mini", None),
        ("claude-3-5-sonnet", None),
        ("model-b", None),
        ("1bit-7B", 7.0),
    ],
)
def test_a_size_is_read_off_a_name(name: str, size: float | None) -> None:
    """Billions of parameters where the name says them, and nothing else that looks like it."""
    assert parameters_b(name) == size


def test_priors_rise_with_size_and_price_a_little() -> None:
    """Never so far that they say more than a hint: within a third."""
    local = [prior_of(name).rate for name in ("a:3b", "a:7b", "a:32b")]
    cloud = [prior_of("cloud", price).rate for price in (0.4, 4.0, 15.0)]
    assert local == sorted(local)
    assert cloud == sorted(cloud)
    assert all(0.5 <= rate < 0.9 for rate in (*local, *cloud, prior_of("who").rate))


def test_a_size_says_more_than_a_price() -> None:
    """An open model that somebody hosts is the same model."""
    assert prior_of("llama-3.1:8b", 15.0) == prior_of("llama-3.1:8b")


def test_a_handful_of_outcomes_outweighs_it() -> None:
    """It counts for two."""
    prior = prior_of("claude", 75.0)
    assert prior.weight == WEIGHT == 2.0
    rows = [observation(number, success=False) for number in range(6)]
    assert believe(Evidence(rows), "bugfix", "small", prior=prior).mean < 0.45
