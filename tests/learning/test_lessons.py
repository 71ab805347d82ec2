"""Later evidence: outcomes put right, types put right, and checks measured by both."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.observations import Observation, Origin, Says
from ostler.domain.states import Outcome
from ostler.domain.tasks import TaskSpec
from ostler.learning.evidence import Counts, Evidence
from ostler.learning.lessons import LABEL_CHARACTERS, corrected, label_of, revision_of, touched
from ostler.learning.verifier import Verdicts
from tests.learning.rig import histories, history, observation


def of_task(number: int, task: str, **fields: object) -> Observation:
    return replace(observation(number), task_id=task, **fields)


def test_a_revision_puts_the_newest_attempt_right() -> None:
    """The first attempt failed as it said; the second was accepted and bad in truth."""
    first, second = of_task(1, "t", success=False), of_task(2, "t", attempt=2)
    later = revision_of("t", "bugfix", "small", 9, success=False, note="reverted")
    found = corrected([first, second, later])
    assert [one.success for one in found.outcomes] == [False, False]
    assert found.verdicts == Verdicts(accepted_bad=1, rejected_bad=1)
    assert found.looked_at == 1


def test_what_was_only_said_becomes_proof_but_measures_no_check() -> None:
    """No check had judged it."""
    found = corrected([of_task(1, "t", proof=Outcome.REPORTED), revision_of("t", "bugfix", "small", 9, success=False)])
    assert [(one.success, one.proof) for one in found.outcomes] == [(False, Outcome.VERIFIED)]
    assert (found.verdicts, found.looked_at) == (Verdicts(), 0)


def test_the_newest_word_counts() -> None:
    """Who errs may say so again."""
    wrong, right = (revision_of("t", "bugfix", "small", at, success=at == 9) for at in (8, 9))
    found = corrected([of_task(1, "t"), wrong, right])
    assert found.outcomes[0].success
    assert found.verdicts == Verdicts(accepted_good=1)


def test_a_rejection_may_prove_wrong() -> None:
    """Good work that the check turned down."""
    found = corrected([of_task(1, "t", success=False), revision_of("t", "bugfix", "small", 9, success=True)])
    assert found.verdicts == Verdicts(rejected_good=1)
    assert found.verdicts.rates().false_reject > Verdicts().rates().false_reject


def test_a_label_moves_all_outcomes_of_its_task() -> None:
    """They count at the type that somebody said; the newest label wins."""
    spec = TaskSpec(id="t", prompt="describe the settings")
    stated, said = label_of(spec, "bugfix", 3, by_hand=False), label_of(spec, "docs", 4, by_hand=True)
    found = corrected([of_task(1, "t"), of_task(2, "t"), of_task(3, "other"), stated, said])
    assert [one.task_type for one in found.outcomes] == ["docs", "docs", "bugfix"]
    evidence = Evidence(found.outcomes)
    assert evidence.raw("docs", "small") == Counts(2.0, 0.0)


def test_a_label_keeps_the_words_and_no_more_than_it_may() -> None:
    """Title and prompt, cut; its id tells what was stated from what was said by hand."""
    spec = TaskSpec(id="t", title="Settings", prompt="x" * 5_000, task_type="docs")
    label = label_of(spec, "docs", 3, by_hand=False)
    assert (label.says, label.origin, label.model, label.id) == (Says.LABEL, Origin.AUTO, "", "stated:t")
    assert label.text.startswith("Settings\nxxx")
    assert len(label.text) == LABEL_CHARACTERS
    assert label_of(spec, "docs", 4, by_hand=True).id != label_of(spec, "docs", 5, by_hand=True).id


def test_labels_and_revisions_are_no_outcomes() -> None:
    """Evidence leaves them alone, whoever hands them over."""
    label = label_of(TaskSpec(id="t", prompt="x"), "docs", 3, by_hand=True)
    revision = revision_of("t", "docs", "small", 4, success=True)
    assert Evidence([label, revision]).samples == 0
    assert touched([label])
    assert touched([revision])
    assert not touched([observation(1)])


@given(histories, st.integers(0, 39))
def test_without_later_evidence_all_is_as_it_was(rows: list[tuple[str, str, bool, int, Outcome]], revised: int) -> None:
    """And a revision that says what was known changes at most how much the outcome counts."""
    outcomes = [replace(one, task_id=one.id) for one in history(rows)]
    assert corrected(outcomes).outcomes == outcomes
    if revised < len(outcomes):
        one = outcomes[revised]
        same = revision_of(one.task_id, one.task_type, one.model, 99, success=one.success)
        found = corrected([*outcomes, same]).outcomes
        assert [(a.success, a.task_type) for a in found] == [(a.success, a.task_type) for a in outcomes]
