"""The results of a run in derived phases: pure, for the API and for what `ostler run` prints.

A phase is a depth in the graph of needs: what needs nothing is phase 0, what needs only that phase 1, and so on. Names
that the tasks declare are its label and order nothing.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.hub.views import PhaseRow, ResultRow, RunResults
from ostler.planning.pipeline import depths
from ostler.routing.handing import common_length, cut, local_name

MAX_CHARACTERS = 8 * 1024 * 1024
"""Of all outputs in one answer; beyond it the longest are cut. A single task is always given whole."""


class PhaseTasks(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of one phase, in the order of their arrival."""

    depth: int
    label: str
    tasks: tuple[Task, ...]


def phases_of(tasks: Sequence[Task]) -> tuple[PhaseTasks, ...]:
    """A run's tasks by phase. Needs outside of it count as none."""
    depth = depths({task.id: task.needs for task in tasks})
    groups: dict[int, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: task.seq):
        groups.setdefault(depth[task.id], []).append(task)
    return tuple(PhaseTasks(depth=at, label=_label(groups[at]), tasks=tuple(groups[at])) for at in sorted(groups))


def _label(tasks: Sequence[Task]) -> str:
    return ", ".join(dict.fromkeys(task.phase for task in tasks if task.phase))


def phase_row(phase: PhaseTasks, outputs: Mapping[str, str] | None = None) -> PhaseRow:
    """A phase as it is answered; without `outputs`, only how it went."""
    starts = [task.started_ms for task in phase.tasks if task.started_ms is not None]
    ends = [task.finished_ms for task in phase.tasks if task.finished_ms is not None]
    return PhaseRow(
        depth=phase.depth,
        label=phase.label,
        started_ms=min(starts, default=None),
        finished_ms=max(ends) if len(ends) == len(phase.tasks) else None,
        tasks=tuple(_row(task, outputs) for task in phase.tasks),
    )


def _row(task: Task, outputs: Mapping[str, str] | None) -> ResultRow:
    return ResultRow(
        id=task.id,
        name=local_name(task.id, task.batch),
        state=task.state,
        skipped=is_skipped(task),
        output=outputs.get(task.id) if outputs is not None else None,
        model=task.model,
        endpoint=task.endpoint,
        instead_of=stands_in_for(task),
        attempts=task.generation,
        started_ms=task.started_ms,
        finished_ms=task.finished_ms,
        failure=task.failure,
    )


def is_skipped(task: Task) -> bool:
    """Whether it is optional and ended without success, so that those which need it go on without it."""
    return task.optional and task.state in FINAL_STATES and task.state is not TaskState.SUCCEEDED


def stands_in_for(task: Task) -> str | None:
    """The model it asked for, when another one runs or ran it."""
    asked = task.facts.model
    return asked if asked is not None and task.model not in (None, asked) else None


def run_results(
    run: str, tasks: Sequence[Task], outputs: Mapping[str, str], now_ms: int, depth: int | None = None
) -> RunResults:
    """The results of a run, or of one phase of it."""
    wanted = [phase for phase in phases_of(tasks) if depth is None or phase.depth == depth]
    texts = {task.id: outputs[task.id] for phase in wanted for task in phase.tasks if task.id in outputs}
    longest = common_length([len(text) for text in texts.values()], MAX_CHARACTERS)
    if longest is not None:
        texts = {name: text if len(text) <= longest else cut(text, longest)[0] for name, text in texts.items()}
    return RunResults(run=run, phases=tuple(phase_row(phase, texts) for phase in wanted), now_ms=now_ms)
