"""From bounds to a certificate: the largest of them, with the witness that proves it.

Every bound holds for the instance as it stands: several hosts, several choices, paces, tasks of several models, models
resident or pinned, releases, clouds, optional tasks (counted only where others need them). `bound_checker` derives the
bound again from the witness and shares no code with this package.

Witnesses are plain data:

    path        task
    cut         task, lifts: a path whose heads and tails cuts have raised
    energy      model or prices, after_ms, before_ms, lifts
    replicas    prices
    loads       host, models
    clock       host, weights, clocks
    switching   host, groups, clocks, switching_ms
    lifts       rows (side, task, model or "" for prices, after_ms) in the order in which they follow from each other
    clocks      by model after_ms and before_ms on its clock
"""

from collections.abc import Mapping, Sequence

import msgspec

from ostler.planning.bounds.clock import ClockTime, clock_sums, clock_times
from ostler.planning.bounds.cuts import Lift, lifts
from ostler.planning.bounds.loader import load_bounds
from ostler.planning.bounds.paths import Paths
from ostler.planning.bounds.problem import Problem
from ostler.planning.bounds.replicas import replicas_ms
from ostler.planning.bounds.residency import Prices, find_prices, model_price, priced
from ostler.planning.bounds.switching import switchings
from ostler.planning.bounds.windows import Price, best_window
from ostler.planning.certificate import Certificate
from ostler.planning.instance import Instance

SWITCHING_TASKS_MAX = 2_000
ROUNDS = 2


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """Heads and tails with the lifts they rest on."""

    paths: Paths
    heads: Sequence[Lift] = ()
    tails: Sequence[Lift] = ()


def certify(instance: Instance) -> Certificate:
    """The best bound there is for an instance. Raises `InvalidInputError` for a task that no host can run.

    Takes well under a second up to 1,000 tasks; beyond 2,000 tasks without cuts and switching.
    """
    return max(certificates(instance), key=lambda row: row.bound_ms)


def bounds_of(instance: Instance) -> dict[str, Certificate]:
    """The best certificate of each family by its name. Raises as `certify`."""
    return {row.kind: row for row in certificates(instance)}


def certificates(instance: Instance) -> list[Certificate]:
    """The best certificate of each family, the simplest argument first."""
    problem = Problem(instance)
    if not problem.names:
        return [Certificate(bound_ms=0, kind="path", witness={"task": None, "lifts": []}, said="there is no task")]
    alone = [model_price(problem, model) for model in problem.models]
    tried = [(prices, priced(problem, prices)) for prices in find_prices(problem)]
    sets = [(prices, price) for prices, price in tried if price.capacity]
    plain = Raised(paths=Paths(problem))
    best_sets = _best_prices(problem, sets, plain)
    prices, together = best_sets or ({}, Price(source="", costs={}, capacity=0))
    raised = _raise(problem, plain, [*alone, together])
    found: list[Certificate] = []
    for state in (plain, raised) if raised.heads or raised.tails else (plain,):
        shared = _lift_rows(problem, state)
        hosts = _by_host(problem, prices) if shared else {}
        found.append(_path(problem, state, shared, hosts))
        found += [_energy(problem, state, price, shared, hosts) for price in alone]
        found += [
            _energy(problem, state, price, shared, _by_host(problem, prices))
            for prices, price in (sets if state is plain else [best_sets] if best_sets else [])
        ]
    found += [
        Certificate(
            bound_ms=row.bound_ms,
            kind="loads",
            witness={"host": problem.places[row.place].names[0], "models": list(row.models)},
            said=f"{problem.places[row.place].names[0]} loads {' and '.join(row.models)} one after the other",
        )
        for row in load_bounds(problem, plain.paths.tails)
    ]
    found += [_replicas(problem, prices, plain) for prices, _ in sets]
    times = clock_times(problem)
    found += _clock(problem, times)
    if len(problem.names) <= SWITCHING_TASKS_MAX:
        found += _switching(problem, times)
    best: dict[str, Certificate] = {}
    for row in found:
        if row.kind not in best or row.bound_ms > best[row.kind].bound_ms:
            best[row.kind] = row
    return list(best.values())


def _best_prices(problem: Problem, sets: Sequence[tuple[Prices, Price]], state: Raised) -> tuple[Prices, Price] | None:
    return max(
        sets,
        key=lambda row: best_window(row[1], state.paths.heads, state.paths.tails, problem.musts).bound_ms,
        default=None,
    )


def _raise(problem: Problem, state: Raised, prices: Sequence[Price]) -> Raised:
    """Heads and tails raised by cuts, twice, because a raised head raises what comes after it.

    When a task ends, anything may be in memory: loads count for heads alone.
    """
    order = range(len(problem.names))
    floors: tuple[dict[int, Lift], dict[int, Lift]] = {}, {}
    paths = state.paths
    loaded = [msgspec.structs.replace(price, loads={}) for price in prices]
    for _ in range(ROUNDS):
        ahead = lifts(order, problem.before, paths.heads, prices, problem.musts)
        behind = lifts(reversed(order), problem.after, paths.tails, loaded, problem.musts)
        if not ahead and not behind:
            break
        for kept, rows in zip(floors, (ahead, behind), strict=True):
            kept.update({row.task: row for row in rows})
        paths = Paths(problem, *([rows[at].value_ms if at in rows else 0 for at in order] for rows in floors))
    return Raised(
        paths=paths,
        heads=[floors[0][at] for at in sorted(floors[0])],
        tails=[floors[1][at] for at in sorted(floors[1], reverse=True)],
    )


def _lift_rows(problem: Problem, state: Raised) -> list[tuple[str, str, str, int]]:
    rows = [("head", row) for row in state.heads] + [("tail", row) for row in state.tails]
    return [(side, problem.names[row.task], row.source, row.after_ms) for side, row in rows]


def _by_host(problem: Problem, prices: Prices) -> Prices:
    return {
        name: {model: price for model, price in sorted(prices.get(place.names[0], {}).items()) if price}
        for place in problem.places
        for name in place.names
    }


def _path(problem: Problem, state: Raised, rows: Sequence[tuple[str, str, str, int]], prices: Prices) -> Certificate:
    length, at = state.paths.longest
    task = problem.names[at]
    said = f"'{task}' cannot start before {_s(state.paths.heads[at])} and leaves {_s(state.paths.tails[at])} after it"
    kind = "cut" if rows else "path"
    return Certificate(
        bound_ms=length, kind=kind, witness={"task": task, "lifts": list(rows), "prices": prices}, said=said
    )


def _energy(
    problem: Problem, state: Raised, price: Price, rows: Sequence[tuple[str, str, str, int]], prices: Prices
) -> Certificate:
    window = best_window(price, state.paths.heads, state.paths.tails, problem.musts)
    what = f"the work of {price.source}" if price.source else "the work that memory lets run at once"
    frame = f" between {_s(window.after_ms)} after the start and {_s(window.before_ms)} before the end"
    return Certificate(
        bound_ms=window.bound_ms,
        kind="energy" if price.source else "residency",
        witness={
            "model": price.source,
            "prices": prices,
            "after_ms": window.after_ms,
            "before_ms": window.before_ms,
            "lifts": list(rows),
        },
        said=f"{what}{frame if window.after_ms or window.before_ms else ''} takes {_s(window.bound_ms)} in all",
    )


def _replicas(problem: Problem, prices: Prices, state: Raised) -> Certificate:
    bound_ms = replicas_ms(problem, prices, state.paths.tails)
    said = (
        f"in less than {_s(bound_ms)} memory allows neither the work nor the loads on as many hosts as that would take"
    )
    return Certificate(bound_ms=bound_ms, kind="replicas", witness={"prices": _by_host(problem, prices)}, said=said)


def _clocks(times: Mapping[str, ClockTime], models: Sequence[str]) -> dict[str, tuple[int, int]]:
    return {model: (times[model].after_ms, times[model].before_ms) for model in models if model in times}


def _clock(problem: Problem, times: Mapping[str, ClockTime]) -> list[Certificate]:
    return [
        Certificate(
            bound_ms=row.bound_ms,
            kind="clock",
            witness={
                "host": problem.places[row.place].names[0],
                "weights": {model: weight for model, weight in row.weights.items() if weight},
                "clocks": _clocks(times, sorted(row.weights)),
            },
            said="; ".join(
                f"{model} must be ready for {_s(times[model].ready_ms)}"
                for model, weight in sorted(row.weights.items())
                if weight
            ),
        )
        for row in clock_sums(problem, times)
        if row.bound_ms
    ]


def _switching(problem: Problem, times: Mapping[str, ClockTime]) -> list[Certificate]:
    made = []
    for row in switchings(problem, times):
        host = problem.places[row.place].names[0]
        local = {model: time for model, time in times.items() if time.place == row.place}
        ready = row.bound_ms - row.switching_ms
        made.append(
            Certificate(
                bound_ms=row.bound_ms,
                kind="switching",
                witness={
                    "host": host,
                    "groups": [list(group) for group in row.groups],
                    "clocks": _clocks(local, sorted(local)),
                    "switching_ms": row.switching_ms,
                },
                said=f"models on {host} must be ready for {_s(ready)} one after the other and swap for at least "
                f"{_s(row.switching_ms)}",
            )
        )
    return made


def _s(ms: int) -> str:
    return f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + " s"
