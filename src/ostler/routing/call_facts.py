"""What a live call looks like to routing: lengths in steps, and a classification without what differs in every text.

Equal questions share a decision, so nothing is kept of a call that no decision depends on: lengths are rounded up to
steps of a sixteenth to an eighth, which is finer than any estimate from characters, and of the heuristic's evidence
only the words stay that it went by.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from ostler.domain.tasks import Classification, Complexity, TaskSpec
from ostler.routing.classify import classify
from ostler.routing.keywords import KEYWORDS

STEP_BITS = 4
CLASSIFIED_CHARACTERS = 4_000
"""Of the last words of a user so many decide how hard a call is."""
ANSWER_ROOM_TOKENS = 4_096
"""At most so much of an asked length needs room in the window: callers ask for far more than they get, and an answer
that is cut says so, while a prompt that is cut does not."""

EXPLICIT = Classification(
    complexity=Complexity.UNKNOWN,
    inferred_complexity=Complexity.UNKNOWN,
    task_type=KEYWORDS.default_type,
    source="none",
    type_source="none",
)
"""Nobody asks how hard a call is that names its model."""


def step_up(tokens: int) -> int:
    """A length rounded up to the next step.

    >>> step_up(0), step_up(15), step_up(17), step_up(1_000), step_up(100_000)
    (0, 15, 18, 1024, 106496)
    """
    shift = max(0, tokens.bit_length() - STEP_BITS)
    return -(-tokens >> shift) << shift


def classify_call(text: str, type_ranks: Mapping[str, int] | None) -> Classification:
    """How hard the last words of a user are, and of what kind."""
    found = classify(TaskSpec(id="call", prompt=text[-CLASSIFIED_CHARACTERS:]), type_ranks=type_ranks)
    signals = tuple(signal for signal in found.signals if " words: " in signal and not signal[0].isdigit())
    return replace(found, word_count=0, signals=signals)
