"""Observations for the tests of learning."""

from hypothesis import strategies as st

from ostler.domain.observations import Observation
from ostler.domain.states import Outcome

TYPES = ("bugfix", "docs", "testing")
MODELS = ("small", "middle", "large")
observed = st.tuples(
    st.sampled_from(TYPES), st.sampled_from(MODELS), st.booleans(), st.integers(1, 4), st.sampled_from(list(Outcome))
)
histories = st.lists(observed, max_size=40)


def observation(
    number: int,
    task_type: str = "bugfix",
    model: str = "small",
    success: bool = True,
    attempt: int = 1,
    proof: Outcome = Outcome.VERIFIED,
) -> Observation:
    return Observation(
        id=f"o{number}",
        at_ms=number,
        task_type=task_type,
        model=model,
        success=success,
        attempt=attempt,
        proof=proof,
        cost_micro_usd=1_000 if number % 2 else None,
        duration_ms=number,
    )


def history(rows: list[tuple[str, str, bool, int, Outcome]]) -> list[Observation]:
    return [observation(number, *row) for number, row in enumerate(rows)]
