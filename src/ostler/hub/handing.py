"""Results on their way to the tasks that need them: read when an assignment is delivered, never kept anywhere else.

A prompt gets them as text, cut to the window of the model that was decided; a command gets them as a list that its
worker writes into files. The stored spec stays what the user wrote.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.event import Event
from ostler.domain.policy import Policy
from ostler.domain.ports import Store
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.domain.work import ModelRoute, NeedResult
from ostler.routing.facts import CHARACTERS_PER_TOKEN, estimate_tokens, read_tokens
from ostler.routing.handing import common_length, cut, handed_needs, local_name, with_results

MAX_CHARACTERS = 4 * 1024 * 1024
"""Of all results of one assignment together, however large the window: it has to travel to the worker."""
FILLED_SHARE = 7 / 8
"""Of the room that is left when results must be cut: their length in tokens is an estimate."""


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to the worker. `event` is set when a result was cut."""

    spec: TaskSpec
    results: tuple[NeedResult, ...] = ()
    event: Event | None = None


class Equipment(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's attempt is given: a key of the gateway, and notes about earlier attempts."""

    key: str | None = None
    judge: str = ""
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Equipment(key={'set' if self.key else None}, notes={len(self.notes)})"


NO_EQUIPMENT = Equipment()


def as_decided(spec: TaskSpec, task: Task, route: ModelRoute | None) -> TaskSpec:
    """The spec of an attempt: a worker with a model access of its own asks that for the model the spec names, so that
    it must name the one that was decided.
    """
    if route is not None or task.model in (None, spec.model):
        return spec
    return msgspec.structs.replace(spec, model=task.model)


async def needed_results(store: Store, specs: Sequence[TaskSpec]) -> list[tuple[NeedResult, ...]]:
    """The results that each task is handed, in the order of its needs. Two reads, however many tasks."""
    needs = [handed_needs(spec) for spec in specs]
    wanted = list(dict.fromkeys(need for one in needs for need in one))
    if not wanted:
        return [()] * len(specs)
    rows, outputs = await store.rows(wanted), await store.outputs(wanted)

    def result(need: str, batch: str | None) -> NeedResult:
        state = rows[need].state
        output = outputs.get(need, "") if state is TaskState.SUCCEEDED else None
        return NeedResult(name=local_name(need, batch), task_id=need, state=state, output=output)

    return [
        tuple(result(need, spec.batch) for need in own if need in rows) for own, spec in zip(needs, specs, strict=True)
    ]


def hand_over(
    task: Task, spec: TaskSpec, results: Sequence[NeedResult], route: ModelRoute | None, policy: Policy, now_ms: int
) -> Handed:
    """Put results where they belong. Pure."""
    spec = _answered(msgspec.structs.replace(spec, local_only=task.facts.local_only), task)
    if spec.kind is TaskKind.COMMAND:
        files, trimmed = _files(results)
        return Handed(spec=spec, results=files, event=_cut_event(task, trimmed, now_ms))
    rendered = with_results(
        spec, results, _room(spec, results, route.model if route is not None else task.model, policy)
    )
    return Handed(spec=rendered.spec, event=_cut_event(task, rendered.trimmed, now_ms))


def _answered(spec: TaskSpec, task: Task) -> TaskSpec:
    """A prompt with what people answered; an agent is told in its notes."""
    if spec.kind is not TaskKind.CHAT or not task.answers:
        return spec
    told = []
    for one in task.answers:
        how = "nobody answered in time, the default is" if one.by_default else "answered"
        told.append(f"- asked: {one.asked}\n  {how}: {one.text}")
    return msgspec.structs.replace(spec, prompt="\n".join([spec.prompt, "", "A person was asked:", *told]))


def _room(spec: TaskSpec, results: Sequence[NeedResult], model: str | None, policy: Policy) -> int:
    """Characters that the results may take: what the window leaves beside prompt and answer."""
    known = policy.catalog.models.get(model) if model is not None else None
    window = known.context_tokens if known is not None else None
    if window is None:
        return MAX_CHARACTERS
    answer = spec.max_output_tokens or policy.routing.default_output_tokens
    left = max(0, window - answer - read_tokens(spec))
    total = sum(estimate_tokens(result.output or "") for result in results)
    share = 1.0 if total <= left else FILLED_SHARE
    return min(MAX_CHARACTERS, int(left * CHARACTERS_PER_TOKEN * share))


def _files(results: Sequence[NeedResult]) -> tuple[tuple[NeedResult, ...], dict[str, int]]:
    longest = common_length([len(result.output or "") for result in results], MAX_CHARACTERS)
    if longest is None:
        return tuple(results), {}
    files, trimmed = [], {}
    for result in results:
        text = result.output
        if text is not None and len(text) > longest:
            text, trimmed[result.name] = cut(text, longest)
        files.append(msgspec.structs.replace(result, output=text))
    return tuple(files), trimmed


def _cut_event(task: Task, trimmed: Mapping[str, int], now_ms: int) -> Event | None:
    if not trimmed:
        return None
    return Event(
        name="task.results_trimmed",
        at_ms=now_ms,
        task_id=task.id,
        measurements={"left_out_characters": sum(trimmed.values())},
        metadata={"generation": task.generation, "results": ", ".join(trimmed), "model": task.model},
    )
