"""What the scheduler saved against first-in-first-out, by simulating the last tasks of a hub on its own machines.

A simulation is work for a processor, and a hub has one for everything. So it runs in a process of its own, which goes
behind all others and is gone when its starter is: one line of JSON to it, one back.
"""

import os
import sys
from collections.abc import Sequence

import msgspec

from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.fleet import EndpointView
from ostler.domain.policy import Policy
from ostler.domain.ports import TaskDetail
from ostler.hub.simulated import Saved
from ostler.solver.child import ChildError, answer_of
from ostler.solver.serve import serve

COMMAND = (sys.executable, "-m", "ostler.app.comparing")
LIMIT_S = 120.0
NICE = 10


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared."""

    history: tuple[TaskDetail, ...]
    policy: Policy
    views: tuple[EndpointView, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, or why nothing did."""

    saved: Saved | None = None
    refused: str = ""


async def saved_in_process(
    history: Sequence[TaskDetail],
    policy: Policy,
    views: Sequence[EndpointView],
    *,
    command: Sequence[str] = COMMAND,
    limit_s: float = LIMIT_S,
) -> Saved:
    """As `saved_by`, beside whoever asks. Raises `InvalidInputError`, also for a process that did not answer."""
    if not history:
        return saved_by(history, policy, views)
    shorn = tuple(
        msgspec.structs.replace(
            detail, attempts=detail.attempts[-1:], decisions=(), events=(), output=None, late_reports=()
        )
        for detail in history
    )
    asked = Asked(history=shorn, policy=policy, views=tuple(views))
    try:
        said = await answer_of(command, msgspec.json.encode(asked) + b"\n", seconds=limit_s, what="comparison")
        answer = msgspec.json.decode(said, type=Answer)
    except (ChildError, msgspec.DecodeError) as error:
        raise InvalidInputError(str(error)) from None
    if answer.saved is None:
        raise InvalidInputError(answer.refused)
    return answer.saved


def saved_by(history: Sequence[TaskDetail], policy: Policy, views: Sequence[EndpointView]) -> Saved:
    """Compare what happened with the simulated rival. Raises `OstlerError` when the machines cannot be simulated."""
    from ostler.simulate.virtual.fleet import fleet_of
    from ostler.simulate.virtual.history import Past, minutes_saved, with_endpoints

    # What nobody used need not be known to simulate what happened.
    used = {detail.attempts[-1].model for detail in history if detail.attempts} - {None}
    serves = {view.spec.name: view.models & used if used else view.models for view in views}
    specs = [view.spec for view in views if serves[view.spec.name]]
    there = with_endpoints(policy, specs, serves)
    past = [
        Past(task=detail.task, spec=detail.spec, attempt=detail.attempts[-1] if detail.attempts else None)
        for detail in history
    ]
    return minutes_saved(past, fleet_of(there))


def answered(line: bytes) -> Answer:
    """The child's side of one question."""
    asked = msgspec.json.decode(line, type=Asked)
    try:
        return Answer(saved=saved_by(asked.history, asked.policy, asked.views))
    except OstlerError as error:
        return Answer(refused=str(error))


if __name__ == "__main__":
    os.nice(NICE)
    serve(answered)
