"""Problems for the tests of search: those of the families, and generated ones with everything a problem may have."""

from hypothesis import strategies as st

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, can_host


class Count:
    """An effort by count: spent after so many questions."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spent(self) -> bool:
        self.left -= 1
        return self.left < 0


def one_host(memory: int = 24, resident: tuple[str, ...] = (), **slots: int) -> PlanHost:
    """A host of 24 bytes with `small` (5) and two models of 20, `large` and `other`."""
    sizes = {"small": 5, "large": 20, "other": 20}
    models = {
        name: Serving(memory_bytes=size, load_ms=10 * size, unload_ms=3 * size, slots=slots.get(name, 2))
        for name, size in sizes.items()
    }
    return PlanHost(name="box", memory_bytes=memory, models=models, resident=resident)


def task(name: str, model: str, duration_ms: int = 1_000, *needs: str) -> PlanTask:
    return PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=duration_ms),), needs=needs)


NAMES = ("m0", "m1", "m2", "m3")


@st.composite
def instances(draw: st.DrawFn, *, plain: bool = False) -> Instance:
    """Up to three hosts, a cloud perhaps, up to twelve tasks; unless plain, sets of models and memory of tasks too."""
    hosts = []
    for index in range(draw(st.integers(1, 3))):
        models = {
            name: Serving(
                memory_bytes=draw(st.integers(1, 10)),
                load_ms=draw(st.integers(0, 40)),
                unload_ms=draw(st.integers(0, 20)),
                slots=draw(st.integers(1, 3)),
                pace_permille=draw(st.sampled_from((1_000, 1_000, 1_700))),
            )
            for name in NAMES
        }
        resident = draw(st.sampled_from((*NAMES, None, None)))
        hosts.append(
            PlanHost(
                name=f"h{index}",
                memory_bytes=draw(st.integers(20, 30)),
                models=models,
                resident=(resident,) if resident else (),
                max_resident=draw(st.sampled_from((None, None, 2))),
            )
        )
    if draw(st.booleans()):
        hosts.append(PlanHost(name="sky", models={"m0": Serving(slots=2), "m9": Serving(slots=3)}, cloud=True))
    tasks: list[PlanTask] = []
    for index in range(draw(st.integers(1, 12))):
        choices = []
        for _ in range(draw(st.sampled_from((1, 1, 2)))):
            size = 1 if plain else draw(st.sampled_from((1, 1, 2, 0)))
            choice = Choice(
                models=tuple(draw(st.lists(st.sampled_from(NAMES), min_size=size, max_size=size, unique=True))),
                duration_ms=draw(st.integers(1, 90)),
                memory_bytes=0 if plain else draw(st.sampled_from((0, 0, 3))),
                cost_micro_usd=draw(st.sampled_from((0, 0, 500))),
            )
            if any(can_host(choice, host) for host in hosts):
                choices.append(choice)
        if not choices:
            choices.append(Choice(models=("m0",), duration_ms=5))
        needs = draw(st.lists(st.sampled_from(tasks), max_size=2, unique_by=lambda one: one.id)) if tasks else []
        release = draw(st.sampled_from((0, 0, 0, 25)))
        deadline = draw(st.sampled_from((None, None, 60)))
        tasks.append(
            PlanTask(
                id=f"t{index}",
                choices=tuple(choices),
                needs=tuple(one.id for one in needs),
                release_ms=release,
                deadline_ms=deadline,
            )
        )
    return Instance(hosts=tuple(hosts), tasks=tuple(tasks), name="generated")
