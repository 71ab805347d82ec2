"""What the solver decides: stays of models, ways and starts of tasks, and which stay each task uses.

A stay is an optional interval from load start to unload end; its load is its first `load` ticks, its models serve from
then until `unload` ticks before its end. Tasks have one start each, shared by all their options.
"""

from dataclasses import dataclass, field

from ortools.sat.python.cp_model import CpModel, IntervalVar, IntVar, LinearExpr, LinearExprT

from ostler.planning.cpsat.data import Problem, Seat


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One possible stay of a model on a host. `size` is 0 when it is not used."""

    seat: Seat
    present: IntVar
    load_start: IntVar
    end: IntVar
    size: IntVar
    interval: IntervalVar

    @property
    def ready(self) -> LinearExprT:
        """From when it serves. What is there at the start needs no load."""
        return self.load_start + self.load

    @property
    def drained(self) -> LinearExprT:
        """Until when it serves."""
        return self.end - self.seat.unload

    @property
    def load(self) -> int:
        """Length of its load; the initial stay of a model has none."""
        return 0 if self.initial else self.seat.load

    initial: bool


@dataclass(frozen=True, kw_only=True)
class Way:
    """One option of a task."""

    taken: IntVar
    interval: IntervalVar


@dataclass(frozen=True, kw_only=True)
class Variables:
    """All variables of a problem, in the order of its jobs and seats."""

    makespan: IntVar
    starts: list[IntVar]
    ends: list[LinearExprT]
    present: list[IntVar]
    ways: list[list[Way]]
    stays: list[list[Stay]]
    uses: dict[tuple[int, int], list[IntVar]] = field(default_factory=dict)
    """By job and seat: for each stay whether the job runs in it."""


def add_variables(model: CpModel, problem: Problem, horizon: int) -> Variables:
    """Make all variables; times run from 0 to `horizon` ticks."""
    starts = [
        model.new_int_var(min(problem.heads[index], horizon), horizon, f"start{index}")
        for index, job in enumerate(problem.jobs)
    ]
    present = [
        model.new_int_var(0 if job.droppable else 1, 1, f"present{index}") for index, job in enumerate(problem.jobs)
    ]
    ways = []
    for index, job in enumerate(problem.jobs):
        ways.append(
            [
                _way(model, starts[index], option.ticks, f"way{index}.{number}")
                for number, option in enumerate(job.options)
            ]
        )
    ends: list[LinearExprT] = []
    for index, job in enumerate(problem.jobs):
        durations = [option.ticks for option in job.options]
        if len(set(durations)) == 1:
            ends.append(starts[index] + durations[0])
        else:
            ends.append(starts[index] + LinearExpr.weighted_sum([way.taken for way in ways[index]], durations))
    stays = [
        [_stay(model, seat, (index, number), horizon) for number in range(seat.episodes)]
        for index, seat in enumerate(problem.seats)
    ]
    uses: dict[tuple[int, int], list[IntVar]] = {}
    for index, job in enumerate(problem.jobs):
        for seat in sorted({seat for option in job.options for seat in option.seats if problem.seats[seat].episodes}):
            uses[index, seat] = [
                model.new_bool_var(f"use{index}.{seat}.{number}") for number in range(problem.seats[seat].episodes)
            ]
    return Variables(
        makespan=model.new_int_var(0, horizon, "makespan"),
        starts=starts,
        ends=ends,
        present=present,
        ways=ways,
        stays=stays,
        uses=uses,
    )


def _way(model: CpModel, start: IntVar, ticks: int, name: str) -> Way:
    taken = model.new_bool_var(name)
    return Way(taken=taken, interval=model.new_optional_fixed_size_interval_var(start, ticks, taken, name))


def _stay(model: CpModel, seat: Seat, place: tuple[int, int], horizon: int) -> Stay:
    name = f"stay{place[0]}.{place[1]}"
    initial = seat.initial and place[1] == 0
    last = horizon + seat.unload
    least = seat.unload + (0 if initial else seat.load)
    present = model.new_int_var(1 if initial else 0, 1, name)
    load_start = model.new_int_var(0, 0 if initial else horizon, f"{name}.load")
    end = model.new_int_var(least if initial else 0, last, f"{name}.end")
    size = model.new_int_var(least if initial else 0, last, f"{name}.size")
    interval = model.new_optional_interval_var(load_start, size, end, present, name)
    return Stay(
        seat=seat, present=present, load_start=load_start, end=end, size=size, interval=interval, initial=initial
    )
