"""Pipelines as values: wildcards, derived phases, and the needs that a declared order breaks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.instance import Instance, PlanTask
from ostler.planning.phases import Group, broken_needs
from ostler.planning.pipeline import Phase, claimed_order, depths, derived_phases, is_wildcard, matching

MAP = {
    "architect": (),
    "python": ("architect",),
    "go": (),
    "authentik": (),
    "qa": ("python", "go"),
    "security": ("python", "authentik"),
    "docs": ("python",),
    "devops": ("qa", "security"),
}
SEED = (
    Phase(name="architecture", tasks=("architect",), parallel=False),
    Phase(name="core", tasks=("python", "go", "authentik", "devops")),
    Phase(name="quality", tasks=("qa", "security", "docs")),
)


def instance(needs: dict[str, tuple[str, ...]]) -> Instance:
    """Tasks with needs, and nothing else."""
    return Instance(
        hosts=(), tasks=tuple(PlanTask(id=task, choices=(), needs=wanted) for task, wanted in needs.items())
    )


def test_declared_phases_become_an_order_to_check() -> None:
    """DevOps among the coders stands before the two reviews that it needs; nothing else is broken."""
    order = claimed_order(SEED)

    assert order[0] == Group(name="architecture", tasks=("architect",), sequential=True)
    assert [(pair.task, pair.need) for pair in broken_needs(order, instance(MAP))] == [
        ("devops", "qa"),
        ("devops", "security"),
    ]


def test_phases_are_derived_from_depth_and_model() -> None:
    """Tasks of one depth and one model stand together; models in the order they first appear."""
    models = {task: "quality" if task in {"architect", "qa", "security", "docs"} else "latest" for task in MAP}

    found = [(phase.depth, phase.model, phase.tasks) for phase in derived_phases(MAP, models)]
    assert found == [
        (0, "quality", ("architect",)),
        (0, "latest", ("go", "authentik")),
        (1, "latest", ("python",)),
        (2, "quality", ("qa", "security", "docs")),
        (3, "latest", ("devops",)),
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ("a-api", "b-api", "b.x")),
        ("*-api", ("a-api", "b-api")),
        ("?-api", ("a-api", "b-api")),
        ("b.?", ("b.x",)),
        ("b*", ("b-api", "b.x")),
        ("api", ()),
        ("[ab]-api", ()),
    ],
)
def test_a_wildcard_matches_whole_names(pattern: str, found: tuple[str, ...]) -> None:
    """Only `*` and `?` mean something; a dot is a dot and a bracket a bracket."""
    assert matching(pattern, ["a-api", "b-api", "b.x"]) == found


def test_a_name_without_signs_is_no_wildcard() -> None:
    """Only names with `*` or `?` stand for several."""
    assert [is_wildcard(name) for name in ("a", "a.b", "a*", "?")] == [False, False, True, True]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Needs without a ring, among at most nine tasks."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 9)))]
    return {
        name: tuple(draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=3))) if index else ()
        for index, name in enumerate(names)
    }


@given(graphs(), st.data())
def test_derived_phases_hold_every_task_once_and_break_no_need(
    needs: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    """Whatever the graph and the models: run one after the other, the derived phases are a valid order."""
    models = {task: data.draw(st.sampled_from(["m1", "m2"])) for task in needs}
    derived = derived_phases(needs, models)
    claimed = [Phase(name=str(index), tasks=phase.tasks) for index, phase in enumerate(derived)]

    assert sorted(task for phase in derived for task in phase.tasks) == sorted(needs), "each task stands in one phase"
    assert broken_needs(claimed_order(claimed), instance(needs)) == (), "a derived order keeps every need"
    assert all(models[task] == phase.model for phase in derived for task in phase.tasks), "one model for each phase"


@given(graphs())
def test_a_task_is_deeper_than_all_it_needs_and_by_one_than_the_deepest(needs: dict[str, tuple[str, ...]]) -> None:
    """The definition of depth, for every task."""
    found = depths(needs)

    for task, wanted in needs.items():
        assert found[task] == max((found[need] + 1 for need in wanted), default=0)
    assert all(found[need] < found[task] for task, need in itertools.product(needs, needs) if need in needs[task])
