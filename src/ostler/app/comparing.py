"""What the scheduler saved against first-in-first-out, by simulating the last tasks of a hub on its own machines."""

from collections.abc import Sequence

from ostler.domain.fleet import EndpointView
from ostler.domain.policy import Policy
from ostler.domain.ports import TaskDetail
from ostler.hub.simulated import Saved


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
