"""What the scheduler is told of a job, and how long it takes."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.simulate.virtual.jobs import COMMAND_MS, Job, Lengths, facts_of, nominal_ms, spec_of
from tests.simulate.virtual.worlds import policy

RULES = policy(cloud=True)


def chat(**fields: object) -> Job:
    return Job(spec=TaskSpec(id="a", prompt="twelve chars", model="big"), **fields)  # type: ignore[arg-type]


def test_a_prompt_is_estimated_unless_its_length_is_known() -> None:
    """12 characters are 3 tokens; a trace knows better, and the window follows."""
    estimated = facts_of(chat(), RULES)
    known = facts_of(chat(prompt_tokens=5_000), RULES)

    assert estimated.prompt_tokens == 3
    assert (known.prompt_tokens, known.context_tokens) == (5_000, 5_000 + RULES.routing.default_output_tokens)


def test_the_true_length_of_an_answer_is_no_fact() -> None:
    """Whoever schedules does not know it."""
    assert facts_of(chat(output_tokens=9_999), RULES) == facts_of(chat(), RULES)


@pytest.mark.parametrize(
    ("job", "model", "expected_ms"),
    [
        (chat(prompt_tokens=2_000, output_tokens=30), "big", 2_000 + 3_000),
        (chat(prompt_tokens=2_000, output_tokens=0), "big", 2_000),
        (chat(prompt_tokens=10_000, output_tokens=100), "claude", 500 + 1_000 + 1_000),
        (chat(duration_ms=77), "big", 77),
        (chat(duration_ms=0), "big", 1),
    ],
)
def test_durations_follow_from_tokens_and_speeds_or_are_as_stated(job: Job, model: str, expected_ms: int) -> None:
    """Read at 1,000/s and written at 10/s; at 10,000/s and 100/s with half a second before by the cloud."""
    assert nominal_ms(job, facts_of(job, RULES), spec_of(model, RULES), RULES) == expected_ms


def test_a_model_nobody_described_has_default_speeds() -> None:
    """500 tokens/s read, 30 written."""
    job = chat(prompt_tokens=500, output_tokens=30)

    assert nominal_ms(job, facts_of(job, RULES), spec_of("never-heard-of", RULES), RULES) == 2_000


def test_a_command_of_which_nothing_is_known_takes_a_second() -> None:
    """It needs no model."""
    job = Job(spec=TaskSpec(id="c", kind=TaskKind.COMMAND, argv=("true",)))

    assert nominal_ms(job, facts_of(job, RULES), None, RULES) == COMMAND_MS


def test_noise_has_its_median_at_the_nominal_length() -> None:
    """Half of the draws are shorter; the spread of the logarithms is sigma."""
    jobs = [Job(spec=TaskSpec(id=f"t{i}", prompt="x"), duration_ms=100_000) for i in range(2_000)]
    lengths = Lengths(3, 0.5)
    drawn = [lengths.service_ms(job, facts_of(job, RULES), None, RULES) for job in jobs]

    assert statistics.median(drawn) == pytest.approx(100_000, rel=0.05)
    assert min(drawn) < 40_000
    assert max(drawn) > 250_000


@given(st.integers(0, 1000), st.floats(0, 2), st.integers(1, 10**7))
def test_lengths_are_positive_and_repeatable(seed: int, sigma: float, duration_ms: int) -> None:
    """At least a millisecond, and equal for equal seeds."""
    job = chat(duration_ms=duration_ms)
    facts = facts_of(job, RULES)
    first, second = (Lengths(seed, sigma).service_ms(job, facts, None, RULES) for _ in range(2))

    assert first == second >= 1
