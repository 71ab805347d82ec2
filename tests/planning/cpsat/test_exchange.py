"""A plan told to the solver and read back is the same plan."""

import pytest
from ortools.sat.python import cp_model

from ostler.planning.cpsat.constraints import Constraints
from ostler.planning.cpsat.data import prepared
from ostler.planning.cpsat.exchange import hint_plan, read_plan
from ostler.planning.cpsat.start import simple_plans
from ostler.planning.cpsat.variables import add_variables
from ostler.planning.plan import Plan
from ostler.simulate.instances import random_instance


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hosts", [1, 2])
def test_a_hint_covers_every_variable_and_keeps_every_rule(seed: int, hosts: int) -> None:
    """With all variables fixed to their hint the model holds, and what is read back has the same makespan and loads."""
    instance = random_instance(seed, 12, hosts, memory="mixed")
    problem = prepared(instance)

    def read(plan: Plan) -> Plan:
        model = cp_model.CpModel()
        variables = add_variables(model, problem, plan.makespan_ms // problem.tick_ms)
        Constraints(model, problem, variables).add_all()
        hint_plan(model, problem, variables, plan)
        assert len(model.proto.solution_hint.vars) == len(model.proto.variables)
        solver = cp_model.CpSolver()
        solver.parameters.fix_variables_to_their_hinted_value = True
        assert solver.solve(model) in {cp_model.OPTIMAL, cp_model.FEASIBLE}
        return read_plan(problem, variables, solver.value, "")

    for plan in simple_plans(instance):
        back = read(plan)
        assert back.makespan_ms == plan.makespan_ms
        assert back.loads <= plan.loads
        assert read(back).placements == back.placements
