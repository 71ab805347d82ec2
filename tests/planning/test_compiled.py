"""An instance in numbers: classes, options, paces, ranks."""

from hypothesis import given

from ostler.planning.compiled import Class, Compiled, Option, paced
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from tests.planning.instances import instances, one_host, task


def two_hosts() -> tuple[PlanHost, PlanHost]:
    fast = PlanHost(name="fast", memory_bytes=9, models={"m": Serving(memory_bytes=5, slots=2)})
    slow = PlanHost(name="slow", memory_bytes=9, models={"m": Serving(memory_bytes=5, pace_permille=1_500)})
    return slow, fast


def test_tasks_of_one_kind_share_a_class() -> None:
    """Same models, same hosts, same memory: one queue, whatever the durations."""
    compiled = Compiled(Instance(hosts=(one_host(),), tasks=(task("a", "small", 5), task("b", "small", 9))))

    assert compiled.classes == [Class(("small",), (0,), (1_000,), everywhere=True, memory_bytes=0)]
    assert compiled.options == [(Option(0, 5, 0, 0),), (Option(0, 9, 0, 0),)]


def test_a_class_lists_its_hosts_the_fastest_first() -> None:
    """Dispatch goes through them in that order."""
    compiled = Compiled(Instance(hosts=two_hosts(), tasks=(task("a", "m", 100),)))

    assert compiled.classes[0].hosts == (1, 0)
    assert compiled.classes[0].paces == (1_000, 1_500)
    assert compiled.shortest == [100]


def test_a_task_bound_to_a_host_is_a_class_of_its_own() -> None:
    """And the slower host is then the only one."""
    bound = PlanTask(id="a", choices=(Choice(models=("m",), duration_ms=101, hosts=("slow",)),))

    compiled = Compiled(Instance(hosts=two_hosts(), tasks=(bound, task("b", "m"))))

    assert [kind.hosts for kind in compiled.classes] == [(0,), (1, 0)]
    assert [kind.everywhere for kind in compiled.classes] == [False, True]
    assert compiled.shortest[0] == 152


def test_a_choice_that_no_host_can_serve_is_no_option() -> None:
    """A model that is nowhere, or larger than every memory."""
    choices = (
        Choice(models=("unheard-of",), duration_ms=1),
        Choice(models=("large", "other"), duration_ms=1),
        Choice(models=("small",), duration_ms=7),
    )

    compiled = Compiled(Instance(hosts=(one_host(),), tasks=(PlanTask(id="a", choices=choices),)))

    assert [option.choice for option in compiled.options[0]] == [2]


def test_a_task_that_no_host_can_serve_has_no_option() -> None:
    """`instance.checked` refuses such a problem; here it is a task that never runs."""
    compiled = Compiled(Instance(hosts=(one_host(),), tasks=(task("a", "unheard-of"),)))

    assert compiled.options == [()]
    assert compiled.shortest == [0]


def test_of_two_choices_in_one_class_the_cheaper_counts() -> None:
    """Both would wait in the same queue; nobody would take the dearer one."""
    choices = (
        Choice(models=("small",), duration_ms=5, cost_micro_usd=9),
        Choice(models=("small",), duration_ms=8, cost_micro_usd=0),
        Choice(models=("small",), duration_ms=7, cost_micro_usd=0),
    )

    compiled = Compiled(Instance(hosts=(one_host(),), tasks=(PlanTask(id="a", choices=choices),)))

    assert compiled.options == [(Option(0, 7, 0, 2),)]


def test_a_model_named_twice_is_needed_once() -> None:
    """A set is a set."""
    twice = PlanTask(id="a", choices=(Choice(models=("small", "small"), duration_ms=1),))

    assert Compiled(Instance(hosts=(one_host(),), tasks=(twice,))).classes[0].models == ("small",)


def test_the_rank_is_the_longest_path_that_hangs_on_a_task() -> None:
    """Its own duration included."""
    tasks = (task("a", "small", 5), task("b", "small", 7, "a"), task("c", "small", 1, "a"), task("d", "small", 2, "b"))

    assert Compiled(Instance(hosts=(one_host(),), tasks=tasks)).rank == [14, 9, 1, 2]


def test_gates_count_needs_once_and_a_release_that_is_not_at_once() -> None:
    """A need named twice is one need."""
    late = PlanTask(id="c", choices=task("x", "small").choices, needs=("a", "a", "b"), release_ms=9)

    compiled = Compiled(Instance(hosts=(one_host(),), tasks=(task("a", "small"), task("b", "small"), late)))

    assert compiled.needs[2] == (0, 1)
    assert compiled.gates == [0, 0, 3]
    assert compiled.successors == [(2,), (2,), ()]


def test_what_makes_a_problem_special_is_known() -> None:
    """Sets of models or memory of tasks, prices, deadlines: each asks for more than the common case."""

    def made(choice: Choice, deadline_ms: int | None = None) -> Compiled:
        job = PlanTask(id="a", choices=(choice,), deadline_ms=deadline_ms)
        return Compiled(Instance(hosts=(one_host(memory=50),), tasks=(job,)))

    common = made(Choice(models=("small",), duration_ms=1))
    assert (common.plain, common.priced, common.dated) == (True, False, False)
    assert not made(Choice(models=("small", "large"), duration_ms=1)).plain
    assert not made(Choice(models=("small",), duration_ms=1, memory_bytes=1)).plain
    assert not made(Choice(models=(), duration_ms=1)).plain
    assert made(Choice(models=("small",), duration_ms=1, cost_micro_usd=1)).priced
    assert made(Choice(models=("small",), duration_ms=1), deadline_ms=5).dated


def test_a_pace_rounds_up() -> None:
    """As `instance.task_ms` does."""
    assert (paced(100, 1_000), paced(101, 1_500), paced(1, 1)) == (100, 152, 1)


@given(instances())
def test_needs_come_before_those_that_need_them(instance: Instance) -> None:
    """The topological order is whole and an order."""
    compiled = Compiled(instance)

    order = compiled.topological()

    place = {number: at for at, number in enumerate(order)}
    assert sorted(order) == list(range(compiled.size)), "every task is in it once"
    assert all(place[need] < place[number] for number in order for need in compiled.needs[number]), "needs come first"
    assert all(
        compiled.rank[number] >= compiled.shortest[number] + compiled.rank[after]
        for number in order
        for after in compiled.successors[number]
    ), "a rank is at least each path through those that follow"


def test_a_change_on_the_way_makes_a_chain_longer() -> None:
    """`large` and `other` never fit together: between them lie an unload and a load; `small` fits beside either."""
    chain = (task("a", "large", 100), task("b", "other", 100, "a"), task("c", "small", 100, "b"))

    compiled = Compiled(Instance(hosts=(one_host(25),), tasks=chain))

    assert compiled.path == [300, 200, 100]
    assert compiled.rank == [300 + 60 + 200, 200, 100]


def test_a_limit_of_residents_makes_changes_too() -> None:
    """Two models that would fit by memory do not where one alone may be resident."""
    host = one_host().models
    alone = PlanHost(name="box", memory_bytes=99, models=host, max_resident=1)

    compiled = Compiled(Instance(hosts=(alone,), tasks=(task("a", "small", 5), task("b", "large", 5, "a"))))

    assert compiled.rank == [10 + 15 + 200, 5]


def test_hosts_share_a_change() -> None:
    """Of two hosts one changes, and the other goes on meanwhile."""
    hosts = tuple(PlanHost(name=name, memory_bytes=24, models=one_host().models) for name in ("a", "b"))
    chain = (task("a", "large", 100), task("b", "other", 100, "a"))

    assert Compiled(Instance(hosts=hosts, tasks=chain)).rank == [200 + (60 + 200) // 2, 100]


def test_where_one_host_can_hold_both_nothing_changes() -> None:
    """Nor where the second task runs elsewhere anyway."""
    models = one_host().models
    roomy = PlanHost(name="roomy", memory_bytes=48, models=models)
    first = PlanTask(id="a", choices=(Choice(models=("large",), duration_ms=100, hosts=("box",)),))
    second = PlanTask(id="b", needs=("a",), choices=(Choice(models=("other",), duration_ms=100, hosts=("roomy",)),))

    for tasks in ((task("a", "large", 100), task("b", "other", 100, "a")), (first, second)):
        assert Compiled(Instance(hosts=(one_host(), roomy), tasks=tasks)).rank == [200, 100]


@given(instances())
def test_a_rank_lies_between_the_path_and_the_path_with_every_change(instance: Instance) -> None:
    """No change is gained, and none counts twice."""
    compiled = Compiled(instance)
    dearest = sum(one.load_ms + one.unload_ms for host in compiled.footprints for one in host.values())

    for number in range(compiled.size):
        assert compiled.path[number] <= compiled.rank[number], "a change never makes a chain shorter"
        assert compiled.rank[number] <= compiled.path[number] + dearest * compiled.size, "one change for each need"
        for after in compiled.successors[number]:
            assert 0 <= compiled.change_ms(number, after) <= dearest, (
                "a change is an unload and a load of what is known"
            )
