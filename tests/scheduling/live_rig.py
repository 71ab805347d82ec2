"""The bench with live calls: who runs, who waits, who was denied, each call answered exactly once.

What the bench checks of tasks holds for calls too: none goes to a model that is not loaded, and no model is unloaded
under one.
"""

import msgspec

from ostler.domain.fleet import ModelAt
from ostler.domain.live import Denial, Dispatch, LiveCall, LiveEnded
from ostler.domain.policy import Policy
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import DenyCall, Effect, RunCall
from tests.scheduling.rig import Rig


def call_facts(complexity: Complexity = Complexity.STANDARD, **changes: object) -> TaskFacts:
    """Facts of a small live call."""
    found = Classification(
        complexity=complexity, inferred_complexity=complexity, task_type="general", source="heuristic"
    )
    base = TaskFacts(
        id="call", kind=TaskKind.CHAT, classification=found, prompt_tokens=100, output_tokens=100, context_tokens=200
    )
    return msgspec.structs.replace(base, **changes)


class LiveRig(Rig):
    """A rig with clients of the gateway."""

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.running: dict[str, Dispatch] = {}
        """Live calls that hold a slot."""
        self.offered: dict[str, LiveCall] = {}
        """Live calls without an answer so far."""
        self.denied: dict[str, Denial] = {}
        self.order: list[str] = []
        """Live calls in the order in which they were let run."""

    def carry_out(self, effect: Effect) -> None:
        """Play the shell for one effect."""
        match effect:
            case RunCall(dispatch=dispatch):
                call = self.offered.pop(dispatch.call_id)
                assert dispatch.attempt == call.attempt
                self._is_first(call)
                self.is_loaded(dispatch.call_id, dispatch.endpoint, dispatch.model)
                if effect.money is not None:
                    assert self.ledger.apply(effect.money).reason is None, "the choice let it pass a limit"
                self.running[call.id] = dispatch
                self.order.append(call.id)
            case DenyCall(denial=denial):
                assert denial.attempt == self.offered.pop(denial.call_id).attempt
                self.denied[denial.call_id] = denial
        super().carry_out(effect)

    def _is_first(self, call: LiveCall) -> None:
        """Fail when a call overtakes one that asks the same."""
        for other in self.offered.values():
            if other.excluded == call.excluded and other.facts == call.facts:
                before = (other.priority, other.offered_ms) < (call.priority, call.offered_ms)
                assert not before, f"{call.id} runs before {other.id}"

    def also_on(self, at: ModelAt) -> list[str]:
        """Live calls that run on a model."""
        return [name for name, run in self.running.items() if (run.endpoint, run.model) == (at.endpoint, at.model)]

    def call(self, name: str, *, wait_ms: int = 60_000, **changes: object) -> str:
        """Offer a live call; `changes` are fields of the call or of its facts."""
        fields = {key: changes.pop(key) for key in tuple(changes) if key in LiveCall.__struct_fields__}
        offered = LiveCall(
            **{  # type: ignore[arg-type]
                "id": name,
                "facts": call_facts(**changes),  # type: ignore[arg-type]
                "offered_ms": self.now_ms,
                "deadline_ms": self.now_ms + wait_ms,
            }
            | fields
        )
        self.offered[name] = offered
        self.tell(sig.CallOffered(call=offered))
        return name

    def end_call(
        self, name: str, failure: FailureClass | None = None, *, retry_after_ms: int | None = None, **fields: object
    ) -> None:
        """The attempt of a live call that runs ends."""
        problem = (
            None
            if failure is None
            else Failure(kind=failure, message="it broke", at_ms=self.now_ms, retry_after_ms=retry_after_ms)
        )
        run = self.running.pop(name)
        end = LiveEnded(call_id=name, attempt=run.attempt, failure=problem, **fields)  # type: ignore[arg-type]
        self.tell(sig.CallEnded(end=end))

    def hang_up(self, name: str) -> None:
        """The client of a live call has left."""
        self.running.pop(name, None)
        self.offered.pop(name, None)
        self.tell(sig.CallWithdrawn(call_id=name))
