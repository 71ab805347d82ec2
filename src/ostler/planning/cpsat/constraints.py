"""What must hold: one private method per rule of the problem, each with its sentence; then rules that only help.

The redundant ones follow from the others but are seen by the linear relaxation at once: time that models need to be
resident, on hosts where they cannot be together; work of a model against all its slots anywhere.
"""

from itertools import pairwise

from ortools.sat.python.cp_model import CpModel, IntervalVar, IntVar, LinearExpr

from ostler.planning.cpsat.data import Problem, exclusive_seats
from ostler.planning.cpsat.variables import Stay, Variables


class Constraints:
    """Adds the rules of one problem to a model."""

    def __init__(self, model: CpModel, problem: Problem, variables: Variables) -> None:
        self._model = model
        self._problem = problem
        self._variables = variables

    def add_all(self, *, loose: bool = False) -> None:
        """Every rule. `loose`: unused stays may lie between used ones, for a plan of which most is held."""
        self._one_way_each()
        self._needs()
        self._makespan()
        self._stays_fit()
        self._stays_in_order(loose=loose)
        self._tasks_within_stays()
        self._slots()
        self._memory()
        self._one_load_at_a_time()
        self._twins_in_order()
        if not loose:
            self._stays_follow_needs()
        self._work_of_a_model_anywhere()
        self._work_of_a_stay()
        self._models_that_exclude_each_other()
        self._area_of_memory()

    def _one_way_each(self) -> None:
        """A task that is planned takes one of its options; the others take none."""
        for present, ways in zip(self._variables.present, self._variables.ways, strict=True):
            self._model.add(LinearExpr.sum([way.taken for way in ways]) == present)

    def _needs(self) -> None:
        """A task starts after all it needs have ended, and is dropped with what it needs."""
        v = self._variables
        for index, job in enumerate(self._problem.jobs):
            for need in job.needs:
                rule = self._model.add(v.starts[index] >= v.ends[need])
                if job.droppable:
                    rule.only_enforce_if(v.present[index])
                if self._problem.jobs[need].droppable:
                    self._model.add_implication(v.present[index], v.present[need])

    def _makespan(self) -> None:
        """The makespan is not before the end of any task and what must still come after it."""
        v = self._variables
        for index, end in enumerate(v.ends):
            rule = self._model.add(v.makespan >= end + self._problem.tails[index])
            if self._problem.jobs[index].droppable:
                rule.only_enforce_if(v.present[index])

    def _stays_fit(self) -> None:
        """A stay fits its load and unload, serves until the end of all work at most, and that long if it is pinned."""
        for stays in self._variables.stays:
            for stay in stays:
                least = stay.seat.unload + stay.load
                if not stay.initial:
                    self._model.add(stay.size >= least * stay.present)
                    self._model.add(stay.size <= (self._problem.horizon + stay.seat.unload) * stay.present)
                served_until = self._model.add(stay.drained <= self._variables.makespan)
                served_until.only_enforce_if(stay.present)
                if stay.seat.pinned:
                    kept = self._model.add(stay.drained >= self._variables.makespan)
                    kept.only_enforce_if(stay.present)

    def _stays_in_order(self, *, loose: bool) -> None:
        """Stays of a model on a host come one after the other; the first ones are used, unless their order is loose."""
        for stays in self._variables.stays:
            for before, after in pairwise(stays):
                rule = self._model.add(after.load_start >= before.end)
                if loose:
                    self._model.add(after.end >= after.load_start)
                else:
                    self._model.add_implication(after.present, before.present)
                    rule.only_enforce_if(after.present)

    def _tasks_within_stays(self) -> None:
        """A task runs inside one stay of each model it uses; each stay that was loaded serves a task."""
        v = self._variables
        served: dict[tuple[int, int], list[IntVar]] = {}
        for (job, seat), uses in v.uses.items():
            ways = [
                way.taken
                for way, option in zip(v.ways[job], self._problem.jobs[job].options, strict=True)
                if seat in option.seats
            ]
            self._model.add(LinearExpr.sum(uses) == LinearExpr.sum(ways))
            for number, (use, stay) in enumerate(zip(uses, v.stays[seat], strict=True)):
                self._model.add_implication(use, stay.present)
                self._model.add(v.starts[job] >= stay.ready).only_enforce_if(use)
                self._model.add(v.ends[job] <= stay.drained).only_enforce_if(use)
                served.setdefault((seat, number), []).append(use)
        for seat, stays in enumerate(v.stays):
            for number, stay in enumerate(stays):
                if not stay.initial:
                    self._model.add_bool_or([*served.get((seat, number), []), ~stay.present])

    def _tasks_at(self, seat: int) -> list[tuple[IntervalVar, int, IntVar]]:
        v = self._variables
        return [
            (way.interval, option.ticks, way.taken)
            for ways, job in zip(v.ways, self._problem.jobs, strict=True)
            for way, option in zip(ways, job.options, strict=True)
            if seat in option.seats
        ]

    def _slots(self) -> None:
        """No more tasks at once than a model has slots on a host."""
        for index, seat in enumerate(self._problem.seats):
            tasks = self._tasks_at(index)
            if len(tasks) > seat.slots:
                self._cumulative([(interval, 1) for interval, _, _ in tasks], seat.slots)

    def _cumulative(self, parts: list[tuple[IntervalVar, int]], capacity: int) -> None:
        if capacity == 1 and all(demand == 1 for _, demand in parts):
            self._model.add_no_overlap([interval for interval, _ in parts])
        elif parts:
            self._model.add_cumulative([interval for interval, _ in parts], [demand for _, demand in parts], capacity)

    def _stays_at(self, host: int) -> list[Stay]:
        return [stay for seat in self._problem.seats_of(host) for stay in self._variables.stays[seat]]

    def _memory(self) -> None:
        """Models from load start to unload end, and what tasks take themselves, fit the host; so does their number."""
        for index, host in enumerate(self._problem.instance.hosts):
            stays = self._stays_at(index)
            if host.max_resident is not None and stays:
                self._cumulative([(stay.interval, 1) for stay in stays], host.max_resident)
            capacity = self._problem.capacity(index)
            if capacity is not None:
                parts = [(stay.interval, stay.seat.memory) for stay in stays if stay.seat.memory]
                self._cumulative(parts + [(i, memory) for i, memory, _, _ in self._own_memory(index)], capacity)

    def _own_memory(self, host: int) -> list[tuple[IntervalVar, int, int, IntVar]]:
        v = self._variables
        return [
            (way.interval, option.memory, option.ticks, way.taken)
            for ways, job in zip(v.ways, self._problem.jobs, strict=True)
            for way, option in zip(ways, job.options, strict=True)
            if option.host == host and option.memory
        ]

    def _one_load_at_a_time(self) -> None:
        """Loads of a host follow each other; one that takes no time is in nobody's way."""
        for host in range(len(self._problem.instance.hosts)):
            loads = [
                self._model.new_optional_fixed_size_interval_var(stay.load_start, stay.load, stay.present, "load")
                for stay in self._stays_at(host)
                if stay.load
            ]
            if len(loads) > 1:
                self._model.add_no_overlap(loads)

    def _twins_in_order(self) -> None:
        """Of tasks that can be exchanged for each other the first listed starts first: fewer equal plans."""
        for twins in self._problem.twins:
            for before, after in pairwise(twins):
                self._model.add(self._variables.starts[before] <= self._variables.starts[after])

    def _stays_follow_needs(self) -> None:
        """Redundant: of two tasks in one place the one that needs the other is in no earlier stay.

        It is in a later one if, between them, a model has to work there that drives this one out.
        """
        v = self._variables
        for seat in range(len(self._problem.seats)):
            if len(v.stays[seat]) > 1:
                for first, then, apart in self._ordered(seat):
                    one, other = v.uses[first, seat], v.uses[then, seat]
                    for number in range(len(other) - (0 if apart else 1)):
                        until = LinearExpr.sum(one[: number + (0 if apart else 1)])
                        elsewhere = 1 - LinearExpr.sum(one)
                        self._model.add(LinearExpr.sum(other[: number + 1]) <= until + elsewhere)

    def _ordered(self, seat: int) -> list[tuple[int, int, bool]]:
        """Pairs of jobs of a seat, one before the other, and whether their stays differ; not those that are implied."""
        before, twins = self._problem.before, self._problem.twins
        jobs = sorted(job for job, place in self._variables.uses if place == seat)
        apart: dict[tuple[int, int], bool] = {}
        for then in jobs:
            for first in jobs:
                if before[then] >> first & 1:
                    between = [
                        job for job in range(len(before)) if before[then] >> job & 1 and before[job] >> first & 1
                    ]
                    apart[first, then] = any(self._drives_out(job, seat) for job in between)
        pairs = []
        for (first, then), differ in apart.items():
            sure = (
                job for job in jobs if (first, job) in apart and (job, then) in apart and self._only_here(job, seat)
            )
            if not any(not differ or apart[first, job] or apart[job, then] for job in sure):
                pairs.append((first, then, differ))
        pairs += [(first, then, False) for group in twins for first, then in pairwise(group) if first in jobs]
        return pairs

    def _only_here(self, job: int, seat: int) -> bool:
        return all(seat in option.seats for option in self._problem.jobs[job].options)

    def _drives_out(self, job: int, seat: int) -> bool:
        """Whether the job, by any option, runs on the seat's host with a model that does not fit beside the seat's."""
        place = self._problem.seats[seat]
        capacity = self._problem.capacity(place.host)
        limit = self._problem.instance.hosts[place.host].max_resident

        def excludes(other: int) -> bool:
            model = self._problem.seats[other]
            alone = limit == 1 or (capacity is not None and model.memory + place.memory > capacity)
            return model.host == place.host and other != seat and alone

        options = self._problem.jobs[job].options
        return bool(options) and all(any(excludes(other) for other in option.seats) for option in options)

    def _work_of_a_model_anywhere(self) -> None:
        """Redundant: tasks that need one model in any case share its slots over all hosts."""
        v = self._variables
        for model in sorted({seat.model for seat in self._problem.seats}):
            seats = {index for index, seat in enumerate(self._problem.seats) if seat.model == model}
            slots = sum(self._problem.seats[index].slots for index in seats)
            parts = [
                self._model.new_fixed_size_interval_var(
                    v.starts[index], min(option.ticks for option in job.options), f"anywhere{index}"
                )
                for index, job in enumerate(self._problem.jobs)
                if job.options and not job.droppable and all(seats & set(option.seats) for option in job.options)
            ]
            if len(seats) > 1 and len(parts) > slots:
                self._cumulative([(part, 1) for part in parts], slots)

    def _work_of_a_stay(self) -> None:
        """Redundant: a stay serves for at least the work of the tasks that use it, by its slots."""
        v = self._variables
        for index, seat in enumerate(self._problem.seats):
            jobs = sorted(job for job, place in v.uses if place == index)
            shortest = [
                min(option.ticks for option in self._problem.jobs[job].options if index in option.seats) for job in jobs
            ]
            for number, stay in enumerate(v.stays[index]):
                window = stay.size - (seat.unload + stay.load) * stay.present
                work = LinearExpr.weighted_sum([v.uses[job, index][number] for job in jobs], shortest)
                self._model.add(seat.slots * window >= work)

    def _models_that_exclude_each_other(self) -> None:
        """Redundant: models of which no two fit together take turns."""
        v = self._variables
        for host in range(len(self._problem.instance.hosts)):
            seats = self._problem.seats_of(host)
            place = self._problem.instance.hosts[host]
            clique = exclusive_seats(self._problem.seats, place, self._problem.capacity(host), seats)
            if len(clique) > 1:
                stays = [stay for seat in clique for stay in v.stays[seat]]
                self._model.add_no_overlap([stay.interval for stay in stays])
                unload = max(self._problem.seats[seat].unload for seat in clique)
                self._model.add(LinearExpr.sum([stay.size for stay in stays]) <= v.makespan + unload)

    def _area_of_memory(self) -> None:
        """Redundant: memory times time, of models until they are drained and of tasks, fits below the makespan."""
        for host in range(len(self._problem.instance.hosts)):
            capacity = self._problem.capacity(host)
            stays = [stay for stay in self._stays_at(host) if stay.seat.memory]
            if capacity is None or not stays:
                continue
            own = self._own_memory(host)
            area = LinearExpr.weighted_sum([stay.size for stay in stays], [stay.seat.memory for stay in stays])
            trailing = LinearExpr.weighted_sum(
                [stay.present for stay in stays], [stay.seat.memory * stay.seat.unload for stay in stays]
            )
            tasks = LinearExpr.weighted_sum([taken for *_, taken in own], [m * ticks for _, m, ticks, _ in own])
            self._model.add(area - trailing + tasks <= capacity * self._variables.makespan)
