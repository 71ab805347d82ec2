"""How good a plan is, in a form that others can check: a lower bound with the witness it follows from."""

import msgspec


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """No plan of the instance is shorter than `bound_ms`.

    `kind` names the argument; `witness` is all that is needed to derive the bound again from the instance alone, as
    plain data (see `bound_checker`, which shares no code with what found it).
    """

    bound_ms: int
    kind: str
    witness: object = None
    said: str = ""
    """The argument in one sentence."""

    def gap(self, makespan_ms: int) -> float:
        """How far a plan may be from the best one: 0.05 = at most five percent longer than the bound."""
        return (makespan_ms - self.bound_ms) / self.bound_ms if self.bound_ms else 0.0
