"""Small planning problems of every kind, drawn by hypothesis: several hosts, clouds, resident and pinned models, limits
of residents, tasks of two models, tasks that take memory themselves, choices, releases and needs.
"""

from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, can_host

MODELS = ("a", "b", "c", "d")


@st.composite
def servings(draw: st.DrawFn) -> Serving:
    return Serving(
        memory_bytes=draw(st.integers(1, 6)),
        load_ms=draw(st.integers(0, 30)),
        unload_ms=draw(st.integers(0, 10)),
        slots=draw(st.integers(1, 3)),
        pace_permille=draw(st.sampled_from((1000, 1000, 1500))),
    )


@st.composite
def hosts(draw: st.DrawFn, index: int) -> PlanHost:
    models = {name: draw(servings()) for name in MODELS}
    memory = draw(st.integers(6, 14))
    resident = draw(st.sampled_from((*MODELS, "", "")))
    return PlanHost(
        name=f"h{index}",
        memory_bytes=memory,
        models=models,
        resident=(resident,) if resident else (),
        max_resident=draw(st.sampled_from((None, None, 1, 2))),
    )


@st.composite
def choices(draw: st.DrawFn, *, cloud: bool) -> Choice:
    duration_ms = draw(st.integers(1, 100))
    if cloud and draw(st.booleans()):
        return Choice(models=("api",), duration_ms=duration_ms, cost_micro_usd=draw(st.integers(0, 200)))
    models = draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=2, unique=True))
    memory_bytes = draw(st.sampled_from((0, 0, 0, 1, 2)))
    return Choice(models=tuple(models), duration_ms=duration_ms, memory_bytes=memory_bytes)


@st.composite
def instances(draw: st.DrawFn, max_tasks: int = 12) -> Instance:
    """Every task has a choice that some host can serve; what cannot be served anywhere is not drawn."""
    cloud = draw(st.booleans())
    made = [draw(hosts(index)) for index in range(draw(st.integers(1, 3)))]
    if cloud:
        made.append(PlanHost(name="sky", cloud=True, models={"api": Serving(slots=draw(st.integers(1, 4)))}))
    tasks: list[PlanTask] = []
    for index in range(draw(st.integers(1, max_tasks))):
        drawn = draw(st.lists(choices(cloud=cloud), min_size=1, max_size=2))
        if not any(can_host(choice, host) for choice in drawn for host in made):
            drawn.append(Choice(models=("a",), duration_ms=10))
        earlier = [task.id for task in tasks]
        needs = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
        release_ms = draw(st.sampled_from((0, 0, 0, 50)))
        tasks.append(PlanTask(id=f"t{index}", choices=tuple(drawn), needs=tuple(needs), release_ms=release_ms))
    price = draw(st.sampled_from((0, 100_000)))
    plain = Instance(hosts=tuple(made), tasks=tuple(tasks), minute_price_micro_usd=price)
    pinned = replace(plain, hosts=tuple(with_pinned(host) for host in made))
    return pinned if draw(st.booleans()) and all(has_place(task, pinned) for task in tasks) else plain


def with_pinned(host: PlanHost) -> PlanHost:
    """The host with what is resident at the start pinned."""
    models = {name: replace(row, pinned=name in host.resident) for name, row in host.models.items()}
    return replace(host, models=models)


def has_place(task: PlanTask, instance: Instance) -> bool:
    """Whether some choice of the task can ever run somewhere."""
    return any(can_host(choice, host) for choice in task.choices for host in instance.hosts)
