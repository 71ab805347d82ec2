"""Claims about plans, held against the problem they are about: what cannot be true is found, and told as data.

A *claim* says how long a way of working takes: an order of phases, an account of steps with their durations, a total.
Nobody has to have simulated anything; the figures are taken as they were written down. Found are:

- `breaks-needs`: the order runs a task before what it needs;
- `leaves-out`: the order lacks tasks of the instance; or one side of a comparison lacks steps that the other counts,
  and how much of the difference that explains;
- `below-critical-path`: the total is shorter than the longest chain of tasks that need each other;
- `below-its-order`: the order, mended and laid out on the instance, takes longer than the total;
- `sum`: the steps of an account do not add up to its total, beyond what was rounded away;
- `slots`: the duration of a step holds for certain numbers of slots only, or for none;
- `count`: a step speaks of more or fewer agents than it lists;
- `figures`: one quantity has figures that exclude each other.

Durations are whole milliseconds. Pure; costs no more than one layout for each claim.
"""

import heapq
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal

import msgspec

from ostler.planning.instance import Instance
from ostler.planning.layout import laid_out
from ostler.planning.phases import Order, broken_needs, left_out, repaired
from ostler.planning.plan_checker import shortest_path

MINUTE_MS = 60_000
ROUNDED_MS = MINUTE_MS // 20
"""Half a tenth of a minute: what a total with one decimal may hide."""
Kind = Literal[
    "breaks-needs", "leaves-out", "below-critical-path", "below-its-order", "sum", "slots", "count", "figures"
]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an account: a phase of work, or a swap between two."""

    name: str
    lasts_ms: int
    tasks: tuple[str, ...] = ()
    """What is done in it; empty for a swap."""
    agents: int | None = None
    """How many it speaks of."""

    @property
    def is_swap(self) -> bool:
        """Whether it is a swap: no work is done in it."""
        return not self.tasks


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Steps one after the other, and what they are said to come to."""

    name: str
    steps: tuple[Step, ...]
    total_ms: int | None = None
    """The total that is stated; `None` = none is."""

    @property
    def sum_ms(self) -> int:
        """What the steps add up to."""
        return sum(step.lasts_ms for step in self.steps)

    @property
    def swaps(self) -> int:
        """How many steps are swaps."""
        return sum(step.is_swap for step in self.steps)

    @property
    def swap_ms(self) -> int:
        """What the swaps add up to."""
        return sum(step.lasts_ms for step in self.steps if step.is_swap)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A way of working and how long it is said to take."""

    name: str
    order: Order = ()
    account: Account | None = None
    total_ms: int | None = None
    """Where no account states it."""

    @property
    def stated_ms(self) -> int | None:
        """How long it is said to take; without a stated total, what its account adds up to."""
        if self.total_ms is not None or self.account is None:
            return self.total_ms
        return self.account.sum_ms if self.account.total_ms is None else self.account.total_ms


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What one place says about a quantity: a range, both ends included."""

    quantity: str
    where: str
    least_ms: int
    most_ms: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that cannot be true as it was written."""

    kind: Kind
    subject: str
    """The claim, the account or the quantity."""
    said: str
    """One sentence with the figures."""
    tasks: tuple[str, ...] = ()
    """The tasks it is about: of a broken need the task and its need, of a path its chain, what is left out."""
    by_ms: int = 0
    """How much too short it is, how far a sum is off, how much was left out."""
    unexplained_ms: int = 0
    """Of a comparison: the difference that remains once what was left out is added again."""


def minutes(duration_ms: int) -> str:
    """Minutes with two decimals.

    >>> minutes(2_865_000)
    '47.75 min'
    """
    return f"{duration_ms / MINUTE_MS:.2f} min"


def audit(instance: Instance, claims: Sequence[Claim], figures: Sequence[Figure] = ()) -> tuple[Finding, ...]:
    """Everything found about claims that are alternatives for one instance: claim by claim, then pair by pair."""
    found: list[Finding] = []
    for claim in claims:
        found += order_findings(claim, instance)
        found += length_findings(claim, instance)
        if claim.account is not None:
            found += sum_findings(claim.account)
            found += step_findings(claim.account, instance)
    for one, other in combinations([claim.account for claim in claims if claim.account is not None], 2):
        found += comparison_findings(one, other)
    return (*found, *figure_findings(figures))


def order_findings(claim: Claim, instance: Instance) -> list[Finding]:
    """A finding for each need that the order breaks, and one for all tasks that are in none of its groups."""
    found = [
        Finding(kind="breaks-needs", subject=claim.name, said=str(pair), tasks=(pair.task, pair.need))
        for pair in broken_needs(claim.order, instance)
    ]
    if claim.order and (missing := left_out(claim.order, instance)):
        said = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} in none of its phases"
        found.append(Finding(kind="leaves-out", subject=claim.name, said=said, tasks=missing))
    return found


def length_findings(claim: Claim, instance: Instance) -> list[Finding]:
    """Whether the total is too short for the critical path, or for the claim's own order laid out on the instance.

    An order that leaves tasks out cannot be laid out.
    """
    stated_ms = claim.stated_ms
    if stated_ms is None:
        return []
    found = []
    length_ms, path = shortest_path(instance)
    if stated_ms + ROUNDED_MS < length_ms:
        said = f"{minutes(stated_ms)} is shorter than its longest chain, {minutes(length_ms)}: {' -> '.join(path)}"
        by_ms = length_ms - stated_ms
        found.append(Finding(kind="below-critical-path", subject=claim.name, said=said, tasks=path, by_ms=by_ms))
    if claim.order and not left_out(claim.order, instance):
        takes_ms = laid_out(instance, repaired(claim.order, instance), strategy=claim.name).makespan_ms
        if stated_ms + ROUNDED_MS < takes_ms:
            said = f"its order takes {minutes(takes_ms)} on {instance.name or 'the instance'}, not {minutes(stated_ms)}"
            by_ms = takes_ms - stated_ms
            found.append(Finding(kind="below-its-order", subject=claim.name, said=said, by_ms=by_ms))
    return found


def sum_findings(account: Account) -> list[Finding]:
    """Whether the steps add up to the total."""
    if account.total_ms is None or abs(account.total_ms - account.sum_ms) <= ROUNDED_MS:
        return []
    said = f"its steps add up to {minutes(account.sum_ms)}, not {minutes(account.total_ms)}"
    by_ms = abs(account.total_ms - account.sum_ms)
    return [Finding(kind="sum", subject=account.name, said=said, by_ms=by_ms)]


def step_findings(account: Account, instance: Instance) -> list[Finding]:
    """Steps whose duration fits certain numbers of slots only, and steps that miscount their agents."""
    durations = {task.id: min(choice.duration_ms for choice in task.choices) for task in instance.tasks}
    found = []
    for step in account.steps:
        if step.agents is not None and step.agents != len(step.tasks):
            said = f"{step.name} speaks of {step.agents} agents and lists {len(step.tasks)}"
            found.append(Finding(kind="count", subject=account.name, said=said, tasks=step.tasks))
        known = [durations[task] for task in step.tasks if task in durations]
        slots = fitting_slots(known, step.lasts_ms) if known else ()
        if known and not slots:
            said = f"{step.name} takes {minutes(step.lasts_ms)} with no number of slots"
            found.append(Finding(kind="slots", subject=account.name, said=said, tasks=step.tasks))
        elif known and max(slots) < len(known):
            numbers = " or ".join(map(str, slots))
            said = f"{step.name} takes {minutes(step.lasts_ms)} with {numbers} slots only"
            found.append(Finding(kind="slots", subject=account.name, said=said, tasks=step.tasks))
    return found


def fitting_slots(durations_ms: Sequence[int], lasts_ms: int) -> tuple[int, ...]:
    """With how many slots, up to one for each task, the longest-first schedule of these tasks takes that long.

    >>> fitting_slots([15, 15, 15, 15, 10, 10, 10, 10, 10], 25)
    (5,)
    """
    return tuple(slots for slots in range(1, len(durations_ms) + 1) if _longest_first(durations_ms, slots) == lasts_ms)


def _longest_first(durations_ms: Iterable[int], slots: int) -> int:
    free = [0] * slots
    for duration_ms in sorted(durations_ms, reverse=True):
        heapq.heapreplace(free, free[0] + duration_ms)
    return max(free)


def comparison_findings(one: Account, other: Account) -> list[Finding]:
    """What one account counts and the other lacks, and whether that alone makes the difference between them."""
    lacks = {account.name: _lacking(account, against) for account, against in ((other, one), (one, other))}
    found = []
    for account, against in ((other, one), (one, other)):
        steps = lacks[account.name]
        if not steps:
            continue
        lacking_ms = sum(step.lasts_ms for step in steps)
        rest_ms = (against.sum_ms - lacking_ms) - (account.sum_ms - sum(step.lasts_ms for step in lacks[against.name]))
        names = " and ".join(step.name for step in steps)
        said = f"{account.name} leaves out {names}, {minutes(lacking_ms)}; of the difference to {against.name} "
        said += "nothing else remains" if not rest_ms else f"{minutes(abs(rest_ms))} remain"
        tasks = tuple(task for step in steps for task in step.tasks)
        found.append(
            Finding(
                kind="leaves-out",
                subject=account.name,
                said=said,
                tasks=tasks,
                by_ms=lacking_ms,
                unexplained_ms=abs(rest_ms),
            )
        )
    return found


def _lacking(account: Account, against: Account) -> list[Step]:
    """The other's steps none of whose tasks are done here, each with the swap that follows it there."""
    present = {task for step in account.steps for task in step.tasks}
    found: list[Step] = []
    follows = False
    for step in against.steps:
        follows = (follows and step.is_swap) or (bool(step.tasks) and not present.intersection(step.tasks))
        if follows:
            found.append(step)
    return found


def figure_findings(figures: Sequence[Figure]) -> list[Finding]:
    """Quantities for which two places give ranges that do not meet."""
    rows: dict[str, list[Figure]] = {}
    for figure in figures:
        rows.setdefault(figure.quantity, []).append(figure)
    found = []
    for quantity, given in rows.items():
        if max(figure.least_ms for figure in given) > min(figure.most_ms for figure in given):
            told = "; ".join(f"{figure.where}: {_range(figure)}" for figure in given)
            found.append(Finding(kind="figures", subject=quantity, said=f"figures that exclude each other: {told}"))
    return found


def _range(figure: Figure) -> str:
    least, most = figure.least_ms / 1000, figure.most_ms / 1000
    return f"{least:g} s" if least == most else f"{least:g}-{most:g} s"
