"""From the records of a run to its figures. Percentiles are nearest rank, so that each is a wait that somebody had."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ostler.hub.simulated import HostResult, Miss, Result, Spread
from ostler.simulate.virtual.records import Ending, Run

PERMILLE = 1000
MISSES_SHOWN = 20
SUCCEEDED = "succeeded"


def spread(values: Iterable[int]) -> Spread:
    """Mean, percentiles and maximum; zeros for nothing.

    >>> spread([4, 1, 3, 2]).p50_ms, spread([]).max_ms
    (2, 0)
    """
    ordered = sorted(values)
    if not ordered:
        return Spread()
    return Spread(
        mean_ms=round(sum(ordered) / len(ordered)),
        p50_ms=_rank(ordered, 50),
        p95_ms=_rank(ordered, 95),
        p99_ms=_rank(ordered, 99),
        max_ms=ordered[-1],
    )


def _rank(ordered: Sequence[int], percent: int) -> int:
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def result_of(run: Run) -> Result:
    """The figures of a run."""
    endings = list(run.endings.values())
    good = [ending for ending in endings if ending.state == SUCCEEDED]
    bad = [ending for ending in endings if ending.state != SUCCEEDED]
    makespan_ms = makespan(endings)
    return Result(
        policy=run.policy,
        kind="rival" if run.rival else "policy",
        fleet=run.fleet,
        tasks=len(endings),
        succeeded=len(good),
        makespan_ms=makespan_ms,
        wait=spread(wait for ending in endings if (wait := ending.wait_ms) is not None),
        turnaround=spread(e.ended_ms - e.arrived_ms for e in good if e.ended_ms is not None),
        loads=sum(site.loads for site in run.sites.values()),
        swaps=sum(site.swaps for site in run.sites.values()),
        swap_ms=sum(site.load_ms + site.unload_ms for site in run.sites.values()),
        cost_micro_usd=sum(ending.cost_micro_usd or 0 for ending in endings),
        unpriced=sum(ending.cost_micro_usd is None for ending in endings),
        missed=dict(sorted(Counter(ending.state for ending in bad).items())),
        misses=tuple(Miss(task=e.job, state=e.state, reason=e.reason) for e in bad[:MISSES_SHOWN]),
        hosts=tuple(
            HostResult(
                name=name,
                calls=site.calls,
                loads=site.loads,
                swaps=site.swaps,
                load_ms=site.load_ms,
                unload_ms=site.unload_ms,
                busy_permille=site.busy_ms * PERMILLE // makespan_ms if makespan_ms else 0,
            )
            for name, site in run.sites.items()
        ),
        by_model=dict(sorted(Counter(ending.model or "" for ending in good).items())),
    )


def makespan(endings: Sequence[Ending]) -> int:
    """From the first arrival to the end of the last job that ended."""
    first_ms = min((ending.arrived_ms for ending in endings), default=0)
    return max((e.ended_ms for e in endings if e.ended_ms is not None), default=first_ms) - first_ms
