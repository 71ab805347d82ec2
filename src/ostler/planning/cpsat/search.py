"""One run of the solver after the other within one limit of time."""

from dataclasses import dataclass

from ortools.sat.python import cp_model

from ostler.planning.cpsat.result import Status

PROVERS = ("no_lp", "quick_restart_no_lp", "default_lp", "quick_restart", "reduced_costs", "max_lp")
"""The solver's own strategies that can prove, the most useful first: clauses prove here, linear relaxations hardly do.
One worker is left for those that look for better plans."""


@dataclass(kw_only=True)
class Search:
    """What is left of the time of one solve, and how it searches."""

    seconds_left: float
    work_left: float | None
    workers: int
    seed: int
    seconds: float = 0.0

    def run(
        self, model: cp_model.CpModel, share: float = 1.0, seconds: float | None = None
    ) -> tuple[Status, cp_model.CpSolver]:
        """Solve within a share of what is left and within `seconds`. A model that is not valid raises: our mistake."""
        solver = cp_model.CpSolver()
        solver.parameters.random_seed = self.seed
        solver.parameters.num_workers = self.workers
        # One worker takes turns with all strategies, in an order that repeats; alone, the first of them gets stuck.
        solver.parameters.interleave_search = self.workers == 1
        if self.workers > 1:
            solver.parameters.subsolvers.extend(PROVERS[: self.workers - 1])
        solver.parameters.max_time_in_seconds = max(
            0.01, min(self.seconds_left * share, self.seconds_left if seconds is None else seconds)
        )
        if self.work_left is not None:
            solver.parameters.max_deterministic_time = max(0.001, self.work_left * share)
        status = solver.solve(model)
        self.seconds += solver.wall_time
        self.seconds_left -= solver.wall_time
        if self.work_left is not None:
            self.work_left -= solver.deterministic_time
        if status == cp_model.MODEL_INVALID:
            raise ValueError(model.validate())
        return _STATUS[status], solver


_STATUS = {
    cp_model.OPTIMAL: Status.PROVEN,
    cp_model.FEASIBLE: Status.FEASIBLE,
    cp_model.INFEASIBLE: Status.INFEASIBLE,
    cp_model.UNKNOWN: Status.UNKNOWN,
    cp_model.MODEL_INVALID: Status.UNKNOWN,
}
