"""The part of a flush about sessions, endpoints, tokens, speeds, plans and alerts: small sets, the last word on a key
wins; and about old events, which nothing else in a flush looks at.
"""

from typing import assert_never

from ostler.domain.commands import (
    Applied,
    DropEndpoint,
    DropSession,
    DropToken,
    ForgetObservations,
    PruneEvents,
    PruneTasks,
    PutAlerts,
    PutAllowances,
    PutEndpoint,
    PutMeasurements,
    PutObservations,
    PutPlan,
    PutSessions,
    PutToken,
    RefusalReason,
    Refused,
    Result,
)
from ostler.store import rows
from ostler.store.guards import token_problem
from ostler.store.picture import Picture, TokenRow

RegistryCommand = (
    PutSessions
    | DropSession
    | PutEndpoint
    | DropEndpoint
    | PutToken
    | DropToken
    | PutMeasurements
    | PutAllowances
    | PutObservations
    | ForgetObservations
    | PutPlan
    | PutAlerts
    | PruneEvents
    | PruneTasks
)

_APPLIED = Applied()


class RegistryPlan:
    """What a flush writes to the registries: by key, the row, or `None` to delete it."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self.sessions: dict[str, rows.Row | None] = {}
        self.endpoints: dict[str, rows.Row | None] = {}
        self.tokens: dict[str, rows.Row | None] = {}
        self.measurements: dict[tuple[str, str, int, str], rows.Row] = {}
        self.allowances: dict[tuple[str, str], rows.Row] = {}
        self.observations: list[PutObservations | ForgetObservations] = []
        self.plans: dict[tuple[str, int], rows.Row] = {}
        self.alerts: dict[tuple[str, str], rows.Row] = {}
        self.prunings: list[PruneEvents | PruneTasks] = []

    def add(self, command: RegistryCommand) -> Result:
        """Judge and note one command.

        Forgetting a session twice is fine; an unknown endpoint or token is not found, because a person named it.
        """
        if isinstance(command, PutSessions):
            self.sessions.update((session.id, rows.session_row(session)) for session in command.sessions)
        elif isinstance(command, DropSession):
            self.sessions[command.session_id] = None
        elif isinstance(command, PutEndpoint):
            name = command.endpoint.name
            self.endpoints[name] = (name, rows.body(command.endpoint))
            self._picture.endpoint_names.add(name)
        elif isinstance(command, DropEndpoint):
            return self._drop_endpoint(command.name)
        elif isinstance(command, PutToken):
            return self._put_token(command)
        elif isinstance(command, DropToken):
            return self._drop_token(command.name)
        elif isinstance(command, PutObservations | ForgetObservations):
            self.observations.append(command)
        elif isinstance(command, PutAlerts | PruneEvents | PruneTasks):
            self._observed(command)
        elif isinstance(command, PutMeasurements | PutAllowances | PutPlan):
            self._put(command)
        else:
            assert_never(command)
        return _APPLIED

    def _observed(self, command: PutAlerts | PruneEvents | PruneTasks) -> None:
        if isinstance(command, PutAlerts):
            self.alerts.update(((one.rule, one.subject), rows.alert_row(one)) for one in command.alerts)
        else:
            self.prunings.append(command)

    def _put(self, command: PutMeasurements | PutAllowances | PutPlan) -> None:
        if isinstance(command, PutMeasurements):
            self.measurements.update((row[:4], row) for row in map(rows.measurement_row, command.measurements))
        elif isinstance(command, PutAllowances):
            self.allowances.update((row[:2], row) for row in map(rows.allowance_row, command.reports))
        else:
            self.plans[command.plan.batch, command.plan.version] = rows.plan_row(command.plan)

    def _drop_endpoint(self, name: str) -> Result:
        if name not in self._picture.endpoint_names:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"no endpoint {name} was registered")
        self._picture.endpoint_names.discard(name)
        self.endpoints[name] = None
        return _APPLIED

    def _put_token(self, command: PutToken) -> Result:
        tokens = self._picture.tokens
        problem = token_problem(command, tokens.values())
        if problem is not None:
            return Refused(reason=problem[0], message=problem[1])
        if command.name not in tokens:
            row = TokenRow(command.name, command.token_hash, command.scope, command.created_ms)
            tokens[command.name] = self.tokens[command.name] = row
        return _APPLIED

    def _drop_token(self, name: str) -> Result:
        if self._picture.tokens.pop(name, None) is None:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"there is no token named {name}")
        self.tokens[name] = None
        return _APPLIED
