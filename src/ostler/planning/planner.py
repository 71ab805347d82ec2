"""From an instance to a plan by a named strategy.

    live        the live policy with its own setting: one simulation
    portfolio   that policy with many settings, what rivals would do, then search while the effort lasts:
                pilot where tasks need several models or memory of their own, explicit episodes everywhere else

`portfolio` is never worse than `live` or than any rival that can do the work: all are among its candidates. Same
instance, effort by count and dice: same plan. Other strategies are handed in as makers (see `Maker`).
"""

from collections.abc import Callable, Mapping

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
from ostler.planning.value import plan_value

Maker = Callable[[Instance, Effort, Dice], Plan]
"""A strategy: a plan within the effort."""

OWN = ("live", "portfolio")
RIVALS_MAX = 2_000
"""Tasks up to which rivals are simulated too."""


def make_plan(
    instance: Instance, strategy: str, effort: Effort, dice: Dice, makers: Mapping[str, Maker] | None = None
) -> Plan:
    """A plan by the named strategy. Raises `InvalidInputError` for an unknown name, or where no plan was found."""
    known: dict[str, Maker] = {"live": live, "portfolio": portfolio, **(makers or {})}
    if strategy not in known:
        raise InvalidInputError(f"no strategy '{strategy}'", where="strategy", remedy=nearest(strategy, known))
    return known[strategy](instance, effort, dice)


def live(instance: Instance, effort: Effort, dice: Dice) -> Plan:
    """The live policy as it is."""
    del effort, dice
    run = Run(Compiled(instance)).go()
    return _complete(run).plan("live")


def portfolio(instance: Instance, effort: Effort, dice: Dice) -> Plan:
    """The best of settings, rivals and search."""
    compiled = Compiled(instance)
    best: Plan | None = None
    for options, opened in openings(compiled):
        run, params, tried = best_setting(compiled, effort, options=options)
        if not run.left:
            detail = f"best of {tried} settings: {told(params)}{opened}"
            best = _better(instance, best, run.plan("portfolio", detail))
        if not compiled.plain and not effort.spent():
            run = pilot(compiled, params, effort, options=options)
            if not run.left:
                best = _better(instance, best, run.plan("portfolio", f"piloted from: {told(params)}{opened}"))
    if compiled.size <= RIVALS_MAX:
        for name in RIVALS:
            found = rival(compiled, name)
            if found is not None:
                best = _better(
                    instance, best, msgspec.structs.replace(found, strategy="portfolio", detail=f"as {name}")
                )
    if best is None:
        return _complete(Run(compiled).go()).plan("portfolio")
    if compiled.plain and not effort.spent():
        best = _better(instance, best, searched(compiled, best, effort, dice))
    return best


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


def searched(compiled: Compiled, plan: Plan, effort: Effort, dice: Dice) -> Plan:
    """The plan improved as explicit episodes."""
    frame = Frame(compiled)
    found = improve(frame, layout_of(frame, plan), effort, dice)
    if found is None:
        return plan
    detail = f"{plan.detail}; then search on episodes"
    return plan_of_layout(frame, found.layout, found.timing, plan.strategy, detail)


def _better(instance: Instance, best: Plan | None, other: Plan) -> Plan:
    if best is None or plan_value(instance, other) < plan_value(instance, best):
        return other
    return best


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
