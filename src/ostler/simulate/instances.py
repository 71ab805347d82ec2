"""Random planning problems by family, for benchmarks and property tests. Seeded: one seed, one instance.

Two regimes, because the ratio of swap to work decides everything: `agent` (tasks of ten minutes, drains cost most) and
`call` (tasks of twenty seconds, loads cost most); log-normal durations with sigma 0.8. Two shapes: `layered` (one
graph, one to three predecessors each) and `jobs` (many workflows of plan, fan-out, review, fix). Memory: `tight` gives
every host 24 GB, `mixed` draws 24 to 96. Load and unload times grow with size (1.1 and 0.3 s a GB).
"""

from collections.abc import Sequence
from random import Random
from typing import Literal

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving

GB = 1000**3
SIZES_GB = (5, 20, 20, 9, 40, 3, 24, 12)
SLOTS = (4, 4, 2, 4, 2, 8, 2, 4)
MIXED_GB = (24, 32, 48, 64, 96)
SIGMA = 0.8
Regime = Literal["agent", "call"]
Shape = Literal["layered", "jobs"]
Memory = Literal["tight", "mixed"]
MEAN_MS = {"agent": 600_000, "call": 20_000}
SHARE_RESIDENT = 0.25
SHARE_TWO_CHOICES = 0.15


def serving(size_gb: int, slots: int) -> Serving:
    """A model of that size on any host."""
    return Serving(memory_bytes=size_gb * GB, load_ms=1100 * size_gb, unload_ms=300 * size_gb, slots=slots)


def duration_ms(dice: Random, regime: Regime) -> int:
    """A task's duration: log-normal around the mean of the regime, whole tenths of a second, at least one."""
    drawn = dice.lognormvariate(-SIGMA * SIGMA / 2, SIGMA) * MEAN_MS[regime]
    return max(1, round(drawn / 100)) * 100


def random_instance(
    seed: int,
    tasks: int,
    hosts: int,
    *,
    models: int = 4,
    regime: Regime = "agent",
    shape: Shape = "layered",
    memory: Memory = "tight",
) -> Instance:
    """One instance of a family. With `tight` memory only models that fit 24 GB are used."""
    dice = Random(f"{seed}/{tasks}/{hosts}/{models}/{regime}/{shape}/{memory}")
    sizes_gb = [24] * hosts if memory == "tight" else [dice.choice(MIXED_GB) for _ in range(hosts)]
    catalog = [
        (f"m{index}-{size}gb", serving(size, slots))
        for index, (size, slots) in enumerate(zip(SIZES_GB, SLOTS, strict=True))
        if size <= max(sizes_gb)
    ][:models]
    names = [name for name, _ in catalog]
    made = _layered(dice, names, tasks, regime) if shape == "layered" else _jobs(dice, names, tasks, regime)
    return Instance(
        hosts=tuple(
            PlanHost(name=f"host{index}", memory_bytes=size * GB, models=dict(catalog))
            for index, size in enumerate(sizes_gb)
        ),
        tasks=tuple(made),
        name=f"{shape}-{regime}-{memory}-{tasks}x{hosts}-{seed}",
    )


def _task(dice: Random, index: int, models: Sequence[str], regime: Regime, needs: Sequence[str]) -> PlanTask:
    choice = Choice(models=(dice.choice(models),), duration_ms=duration_ms(dice, regime))
    return PlanTask(id=f"t{index:05d}", choices=(choice,), needs=tuple(needs))


def _layered(dice: Random, models: Sequence[str], tasks: int, regime: Regime) -> list[PlanTask]:
    width = max(2, round(tasks**0.5))
    made: list[PlanTask] = []
    for index in range(tasks):
        layer = index // width
        earlier = [task.id for task in made[(layer - 1) * width : layer * width]] if layer else []
        needs = dice.sample(earlier, min(len(earlier), dice.randint(1, 3))) if earlier else []
        made.append(_task(dice, index, models, regime, sorted(needs)))
    return made


def _jobs(dice: Random, models: Sequence[str], tasks: int, regime: Regime) -> list[PlanTask]:
    """Workflows one after the other until there are enough tasks: plan, two to six pieces of work, review, fix."""
    made: list[PlanTask] = []
    while len(made) < tasks:
        first = len(made)
        fan_out = dice.randint(2, 6)
        made.append(_task(dice, first, models, regime, ()))
        made.extend(_task(dice, first + 1 + step, models, regime, (made[first].id,)) for step in range(fan_out))
        made.append(_task(dice, len(made), models, regime, [task.id for task in made[first + 1 :]]))
        made.append(_task(dice, len(made), models, regime, (made[-1].id,)))
    return made[:tasks]


def tiny_instance(seed: int) -> Instance:
    """A problem small enough for proofs: 4 to 9 tasks, 1 to 3 hosts, 2 to 4 models, four settings of memory.

    Some models are resident at the start, some tasks have two choices, durations are short against swaps or long.
    """
    dice = Random(f"tiny/{seed}")
    scale = dice.choice((1_000, 10_000))
    models = {
        f"m{index}": Serving(
            memory_bytes=dice.choice((2, 3, 4, 6)) * GB,
            load_ms=dice.randint(0, 6) * 1_000,
            unload_ms=dice.randint(0, 3) * 1_000,
            slots=dice.randint(1, 3),
        )
        for index in range(dice.randint(2, 4))
    }
    names = sorted(models)
    hosts = []
    for index in range(dice.randint(1, 3)):
        resident = (dice.choice(names),) if dice.random() < SHARE_RESIDENT else ()
        memory = dice.choice((6, 7, 9, 12)) * GB
        hosts.append(PlanHost(name=f"h{index}", memory_bytes=memory, models=models, resident=resident))
    tasks: list[PlanTask] = []
    for index in range(dice.randint(4, 9)):
        choices = [
            Choice(models=(model,), duration_ms=dice.randint(1, 9) * scale)
            for model in dice.sample(names, 2 if dice.random() < SHARE_TWO_CHOICES else 1)
        ]
        earlier = [task.id for task in tasks]
        needs = dice.sample(earlier, min(len(earlier), dice.choice((0, 0, 1, 1, 2))))
        tasks.append(PlanTask(id=f"t{index}", choices=tuple(choices), needs=tuple(sorted(needs))))
    return Instance(hosts=tuple(hosts), tasks=tuple(tasks), name=f"tiny-{seed}")
