"""What goes to the solver's process and comes back is whole: every field survives the way there and back."""

import io
import sys

import msgspec
import pytest
from hypothesis import given, settings

from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Plan
from ostler.planning.strategies import hybrid
from ostler.simulate.fourteen_agents import fourteen_agents
from ostler.simulate.instances import random_instance
from ostler.solver import __main__ as program
from ostler.solver import serve
from ostler.solver.messages import WHOLE_MAX, Answer, Request
from tests.planning.varied import instances

EMPTY = Instance(hosts=(), tasks=())
SKY = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=2)})


@settings(max_examples=30, deadline=None)
@given(instances())
def test_any_problem_survives_the_way_there(instance: Instance) -> None:
    """Hosts, clouds, choices, limits and prices are the same on the other side."""
    request = Request(instance=instance, seconds=1.5, bound_ms=7, workers=2, seed=3, goal=Goal(priced=True))

    assert msgspec.json.decode(msgspec.json.encode(request), type=Request) == request


def test_a_plan_survives_the_way_there_and_back() -> None:
    """As hint of a request and as plan of an answer."""
    instance = fourteen_agents()
    plan = hybrid(instance)
    request = Request(instance=instance, seconds=1, hint=plan)
    answer = Answer(solved=Solved(status=Status.FEASIBLE, plan=plan, bound_ms=5, reason="why"))

    assert msgspec.json.decode(msgspec.json.encode(request), type=Request).hint == plan
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer


def asked(request: Request) -> Answer:
    """The answer of the program to one request, without a process."""
    return program.answer(msgspec.json.encode(request))


def test_a_small_problem_is_solved_whole() -> None:
    """Proven, with a bound of the solver's own."""
    solved = asked(Request(instance=fourteen_agents("mermaid", 9), seconds=30)).solved

    assert solved is not None
    assert (solved.status, solved.restricted) == (Status.PROVEN, False)


def test_a_large_problem_is_improved_from_its_hint() -> None:
    """With no time the hint comes back as it was, unproven."""
    instance = random_instance(4, WHOLE_MAX + 1, 1)
    hint = hybrid(instance)

    solved = asked(Request(instance=instance, seconds=0, hint=hint)).solved

    assert solved is not None
    assert solved.plan is not None
    assert (solved.status, solved.plan.placements) == (Status.FEASIBLE, hint.placements)


@pytest.mark.parametrize("goal", [Goal(priced=True), Goal(budget_micro_usd=10)])
def test_a_large_problem_with_money_in_its_goal_is_solved_whole(goal: Goal) -> None:
    """Parts know nothing of money: forty-one tasks in a cloud, all at once."""
    choice = Choice(models=("api",), duration_ms=10)
    tasks = tuple(PlanTask(id=f"t{index:02}", choices=(choice,)) for index in range(WHOLE_MAX + 1))

    solved = asked(Request(instance=Instance(hosts=(SKY,), tasks=tasks), seconds=30, goal=goal)).solved

    assert solved is not None
    assert solved.plan is not None
    assert (solved.status, solved.plan.makespan_ms) == (Status.PROVEN, 210)


class Pipe(io.BytesIO):
    """A standard stream of bytes."""

    @property
    def buffer(self) -> "Pipe":
        return self


def run(monkeypatch: pytest.MonkeyPatch, line: bytes) -> bytes:
    """What the program writes when it reads a line."""
    written = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe(line))
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(serve, "_leave_with_starter", lambda: None)
    program.main()
    return written.getvalue()


def test_the_program_writes_one_line_for_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is left in the stream is not read."""
    choice = Choice(models=("api",), duration_ms=10)
    instance = Instance(hosts=(SKY,), tasks=(PlanTask(id="t", choices=(choice,)),))
    line = msgspec.json.encode(Request(instance=instance, seconds=5)) + b"\n"

    written = run(monkeypatch, line + b"something else\n")

    assert written.count(b"\n") == 1
    answer = msgspec.json.decode(written, type=Answer)
    assert answer.solved is not None
    assert isinstance(answer.solved.plan, Plan)
    assert answer.solved.plan.makespan_ms == 10


def test_the_program_says_nothing_when_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that ends at once is no request."""
    assert run(monkeypatch, b"") == b""
