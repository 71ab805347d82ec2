"""Tiny instances with everything the problem has: more varied than those of the benchmarks, small enough to try all.

One seed, one instance. Pinned models and residents, a limit of residents, releases, paces that differ, clouds with a
price, tasks of two models, of two choices, of memory of their own, bound to a host, of no duration, optional ones.
"""

from random import Random

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, can_host


def varied_instance(seed: int, tasks_max: int = 5) -> Instance:
    """One instance, which always has a plan."""
    dice = Random(f"varied/{seed}")
    while True:
        instance = _draw(dice, seed, tasks_max)
        if _plannable(instance):
            return instance


def _draw(dice: Random, seed: int, tasks_max: int) -> Instance:
    names = [f"m{index}" for index in range(dice.randint(1, 3))]
    sizes = {name: dice.choice((2, 3, 4, 6)) for name in names}
    hosts = [_host(dice, f"h{index}", names, sizes) for index in range(dice.choice((1, 1, 1, 2)))]
    if dice.random() < 0.25:
        models = {name: Serving(slots=dice.randint(1, 2), pace_permille=dice.choice((800, 1500))) for name in names}
        hosts.append(PlanHost(name="cloud", cloud=True, models=models))
    tasks: list[PlanTask] = []
    for index in range(dice.randint(3, tasks_max)):
        earlier = [task.id for task in tasks]
        needs = dice.sample(earlier, min(len(earlier), dice.choice((0, 0, 1, 1, 2))))
        choices = [_choice(dice, names, hosts) for _ in range(dice.choice((1, 1, 1, 2)))]
        tasks.append(
            PlanTask(
                id=f"t{index}",
                choices=tuple(choices),
                needs=tuple(sorted(needs)),
                release_ms=dice.choice((0, 0, 0, 0, 3, 8)),
                optional=dice.random() < 0.08,
            )
        )
    return Instance(hosts=tuple(hosts), tasks=tuple(tasks), name=f"varied-{seed}")


def _host(dice: Random, name: str, names: list[str], sizes: dict[str, int]) -> PlanHost:
    memory = dice.choice((6, 6, 7, 9, 12))
    resident: tuple[str, ...] = (dice.choice(names),) if dice.random() < 0.35 else ()
    models = {
        model: Serving(
            memory_bytes=sizes[model],
            load_ms=dice.randint(0, 6),
            unload_ms=dice.randint(0, 3),
            slots=dice.randint(1, 3),
            pace_permille=dice.choice((1000, 1000, 1000, 1500, 700)),
            pinned=model in resident and dice.random() < 0.4,
        )
        for model in names
    }
    limit = dice.choice((None, None, None, 1, 2))
    return PlanHost(name=name, memory_bytes=memory, models=models, resident=resident, max_resident=limit)


def _choice(dice: Random, names: list[str], hosts: list[PlanHost]) -> Choice:
    models = dice.sample(names, min(len(names), dice.choice((1, 1, 1, 1, 2))))
    return Choice(
        models=tuple(models),
        duration_ms=dice.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9)),
        hosts=(dice.choice(hosts).name,) if dice.random() < 0.1 else (),
        memory_bytes=dice.choice((0, 0, 0, 1, 2)),
        cost_micro_usd=dice.choice((0, 5)),
    )


def _plannable(instance: Instance) -> bool:
    """Whether each task has a choice that some host can run beside what is pinned there."""

    def possible(choice: Choice, host: PlanHost) -> bool:
        pinned = {model for model in host.resident if host.models[model].pinned}
        together = tuple(sorted(pinned | set(choice.models)))
        beside = Choice(models=together, duration_ms=0, hosts=choice.hosts, memory_bytes=choice.memory_bytes)
        return can_host(choice, host) and (host.cloud or can_host(beside, host))

    return all(
        any(possible(choice, host) for choice in task.choices for host in instance.hosts) for task in instance.tasks
    )
