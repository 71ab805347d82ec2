"""Outcomes as they are known now: with later evidence about them, and under the types that tasks were told to have.

    a label     : all outcomes of its task are of that type
    a revision  : the newest outcome of its task was in truth this; that counts as proof

The check that had judged an outcome is measured by it. A verdict that nobody contradicted counts as right, so a check
that nobody looks at seems good; how many were looked at is told beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ostler.domain.observations import Observation, Origin, Says
from ostler.domain.states import Outcome
from ostler.domain.tasks import TaskSpec
from ostler.learning.verifier import Verdicts

LABEL_CHARACTERS = 2_000
"""So much of a text is kept with its label."""


class Corrected(NamedTuple):
    """What is to be learned from."""

    outcomes: list[Observation]
    verdicts: Verdicts
    looked_at: int
    """Verdicts of checks about which there is later evidence."""


def corrected(observations: Sequence[Observation]) -> Corrected:
    """Outcomes in their order, with everything later evidence says of them. O(observations)."""
    labels, revisions = newest(observations, Says.LABEL), newest(observations, Says.REVISION)
    last = {one.task_id: one.id for one in observations if one.says is Says.OUTCOME and one.task_id}
    outcomes, verdicts, looked_at = [], Verdicts(), 0
    for one in observations:
        if one.says is not Says.OUTCOME:
            continue
        revision = revisions.get(one.task_id) if last.get(one.task_id) == one.id else None
        truth = one.success if revision is None else revision.success
        if one.proof is Outcome.VERIFIED and one.attempt > 0:
            verdicts = verdicts.plus(accepted=one.success, good=truth)
            looked_at += revision is not None
        if revision is not None:
            one = replace(one, success=truth, proof=Outcome.VERIFIED)  # noqa: PLW2901 -- the same outcome, known better
        label = labels.get(one.task_id)
        outcomes.append(one if label is None else replace(one, task_type=label.task_type))
    return Corrected(outcomes, verdicts, looked_at)


def newest(observations: Iterable[Observation], says: Says) -> Mapping[str, Observation]:
    """The newest one of each task that says something."""
    return {one.task_id: one for one in observations if one.says is says and one.task_id}


def touched(observations: Iterable[Observation]) -> bool:
    """Whether anything among them is about outcomes that were kept before."""
    return any(one.says is not Says.OUTCOME for one in observations)


def label_of(spec: TaskSpec, kind: str, at_ms: int, *, by_hand: bool) -> Observation:
    """That a task is of a type of work, with its words."""
    return Observation(
        id=f"label:{spec.id}:{at_ms}" if by_hand else f"stated:{spec.id}",
        at_ms=at_ms,
        task_type=kind,
        model="",
        success=True,
        task_id=spec.id,
        origin=Origin.HAND if by_hand else Origin.AUTO,
        says=Says.LABEL,
        text=f"{spec.title}\n{spec.prompt}".strip()[:LABEL_CHARACTERS],
    )


def revision_of(task_id: str, kind: str, model: str, at_ms: int, *, success: bool, note: str = "") -> Observation:
    """That the newest attempt of a task was in truth a success, or a failure."""
    return Observation(
        id=f"revision:{task_id}:{at_ms}",
        at_ms=at_ms,
        task_type=kind,
        model=model,
        success=success,
        task_id=task_id,
        proof=Outcome.VERIFIED,
        origin=Origin.HAND,
        says=Says.REVISION,
        note=note,
    )
