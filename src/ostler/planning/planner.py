"""From an instance to a plan by a named strategy.

    live        the live policy with its own setting: one simulation
    portfolio   that policy with many settings, what rivals would do, then search while the effort lasts:
                pilot where tasks need several models or memory of their own, explicit episodes everywhere else

`portfolio` is never worse than `live` or than any rival that can do the work, at any size: all are among its
candidates. Same instance, effort by count and dice: same plan. `model-first`, `dependency-first` and `hybrid` are those
of `strategies`; others are handed in as makers (see `Maker`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from ostler.domain.errors import InvalidInputError, nearest
from ostler.planning.compiled import Compiled, Option
from ostler.planning.engine import Run
from ostler.planning.episodes import Frame, layout_of, plan_of_layout
from ostler.planning.instance import Instance
from ostler.planning.local_search import improve
from ostler.planning.pilot import pilot
from ostler.planning.plan import Plan
from ostler.planning.portfolio import best_setting, told
from ostler.planning.ports import Dice, Effort
from ostler.planning.rivals import RIVALS, rival
from ostler.planning.strategies import ORDERS, planned
from ostler.planning.value import plan_value

Maker = Callable[[Instance, Effort, Dice], Plan]
"""A strategy: a plan within the effort."""

OWN = ("live", "portfolio")
"""Strategies that need no maker."""
STARTS_MAX = 10


def make_plan(
    instance: Instance, strategy: str, effort: Effort, dice: Dice, makers: Mapping[str, Maker] | None = None
) -> Plan:
    """A plan by the named strategy. Raises `InvalidInputError` for an unknown name, or where no plan was found."""
    known: dict[str, Maker] = {"live": live, "portfolio": portfolio}
    known |= {name: _rule(name) for name in sorted(ORDERS)}
    known |= makers or {}
    if strategy not in known:
        raise InvalidInputError(f"no strategy '{strategy}'", where="strategy", remedy=nearest(strategy, known))
    return known[strategy](instance, effort, dice)


def _rule(name: str) -> Maker:
    def made(instance: Instance, effort: Effort, dice: Dice) -> Plan:
        del effort, dice
        return planned(instance, name)

    return made


def live(instance: Instance, effort: Effort, dice: Dice) -> Plan:
    """The live policy as it is."""
    del effort, dice
    run = Run(Compiled(instance)).go()
    return _complete(run).plan("live")


def portfolio(instance: Instance, effort: Effort, dice: Dice, floor_ms: int = 0) -> Plan:
    """The best of settings, rivals and search. `floor_ms`: a lower bound; at that makespan the search is over."""
    compiled = Compiled(instance)
    others = list(_others(compiled))  # first: the settings take whatever time is left
    plans: list[Plan] = []
    for options, opened in openings(compiled):
        found = best_setting(compiled, effort, options=options, floor_ms=floor_ms)
        told_of = f"best of {found.tried} settings: {told(found.setting)}{opened}"
        plans += [run.plan("portfolio", told_of if run is found.run else "") for _, run in found.pool]
        if not compiled.plain and not effort.spent():
            run = pilot(compiled, found.setting.params, effort, options=options)
            if not run.left:
                plans.append(run.plan("portfolio", f"piloted from: {told(found.setting)}{opened}"))
    plans += others
    if not plans:
        return _complete(Run(compiled).go()).plan("portfolio")
    plans.sort(key=lambda plan: plan_value(instance, plan))
    best = plans[0]
    if compiled.plain and not effort.spent():
        improved = searched(compiled, plans[:STARTS_MAX], effort, dice, floor_ms)
        if plan_value(instance, improved) < plan_value(instance, best):
            return improved
    return best


def _others(compiled: Compiled) -> Iterator[Plan]:
    """What rivals and the named rules would do: nine simulations, at any size and whatever the effort."""
    for name in RIVALS:
        found = rival(compiled, name)
        if found is not None:
            yield msgspec.structs.replace(found, strategy="portfolio", detail=f"as {name}")
    for name in sorted(ORDERS):
        try:
            made = planned(compiled.instance, name)
        except InvalidInputError:
            continue
        yield msgspec.structs.replace(made, strategy="portfolio", detail=f"as {name}")


def openings(compiled: Compiled) -> list[tuple[list[tuple[Option, ...]], str]]:
    """Which options of the tasks are open: all; and where they differ in price, the cheapest only, the first only."""
    every = [(compiled.options, "")]
    if any(len(options) > 1 for options in compiled.options):
        cheap = [
            tuple(one for one in options if one.cost_micro_usd == min(two.cost_micro_usd for two in options))
            for options in compiled.options
        ]
        if cheap != compiled.options:
            every.append((cheap, ", cheapest choices only"))
        every.append(([options[:1] for options in compiled.options], ", first choices only"))
        every.append(([_fastest(options) for options in compiled.options], ", fastest choices only"))
    return every


def _fastest(options: tuple[Option, ...]) -> tuple[Option, ...]:
    return (min(options, key=lambda one: (one.duration_ms, one.cost_micro_usd, one.choice)),)


def searched(compiled: Compiled, plans: Sequence[Plan], effort: Effort, dice: Dice, floor_ms: int = 0) -> Plan:
    """The best of some plans improved as explicit episodes; the first of them where that finds nothing."""
    frame = Frame(compiled)
    found = improve(frame, [layout_of(frame, plan) for plan in plans], effort, dice, floor_ms)
    if found is None:
        return plans[0]
    detail = f"{plans[0].detail}; then search on episodes"
    return plan_of_layout(frame, found.layout, found.timing, plans[0].strategy, detail)


def _complete(run: Run) -> Run:
    if run.left:
        done = {task for task, where in enumerate(run.ran) if where is not None}
        left = [task.id for place, task in enumerate(run.compiled.instance.tasks) if place not in done]
        raise InvalidInputError(
            f"no way was found to run {', '.join(left[:5])}",
            where="plan",
            remedy="pinned models may leave no memory for it: unpin one, or add memory",
        )
    return run
