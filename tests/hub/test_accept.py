"""From specs to rows: where a task begins, what it is called, and what refuses a batch before anything is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import CycleError, InvalidInputError
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Complexity, Priority, ResultsRule, TaskKind, TaskSpec
from ostler.hub.accept import (
    MAX_BATCH,
    MAX_ID_LENGTH,
    MAX_TITLE_LENGTH,
    Fleet,
    as_it_runs,
    check_batch,
    disagreement,
    new_tasks,
    outside_needs,
)
from ostler.store.guards import submit_problem
from tests.scheduling.rig import three_tiers

NOW_MS = 1_000_000
POLICY = three_tiers()


def command(task_id: str = "t", **fields: object) -> TaskSpec:
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=("make", "test"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "settled", "state", "wait"),
    [
        ({}, {}, TaskState.QUEUED, WaitCode.READY),
        ({"needs": ("a",)}, {"a": True}, TaskState.QUEUED, WaitCode.READY),
        ({"needs": ("a",)}, {"a": False}, TaskState.QUEUED, WaitCode.DEPS),
        ({"needs": ("a",)}, {}, TaskState.QUEUED, WaitCode.DEPS),
        ({"not_before_ms": NOW_MS}, {}, TaskState.QUEUED, WaitCode.READY),
        ({"not_before_ms": NOW_MS + 1}, {}, TaskState.SCHEDULED, None),
        ({"needs": ("a",), "not_before_ms": NOW_MS + 1}, {}, TaskState.QUEUED, WaitCode.DEPS),
        ({"needs": ("a",), "not_before_ms": NOW_MS + 1}, {"a": True}, TaskState.SCHEDULED, None),
    ],
)
def test_a_task_begins_where_it_belongs(
    fields: dict[str, object], settled: dict[str, bool], state: TaskState, wait: WaitCode | None
) -> None:
    """Needs first, then its time; a store takes every such row, and the event says the same."""
    (row,) = new_tasks([command("t", **fields)], POLICY, first_seq=7, now_ms=NOW_MS, settled=settled)

    assert row.task.state is state
    assert (row.task.wait.code if row.task.wait is not None else None) is wait
    assert row.task.eligible_ms == (NOW_MS if wait is WaitCode.READY else None)
    assert (row.event.metadata["state"], row.event.metadata["wait"]) == (state.value, wait.value if wait else None)
    assert submit_problem(row, seq_is_taken=False) is None


def test_open_needs_are_named_in_order_and_met_ones_are_not() -> None:
    """The reason reads the same however the needs were written."""
    specs = [command(needs=("z", "m", "a"))]
    (row,) = new_tasks(specs, POLICY, first_seq=1, now_ms=NOW_MS, settled={"m": True})

    assert row.task.wait == Wait(code=WaitCode.DEPS, since_ms=NOW_MS, detail="needs a, z")


def test_what_a_spec_leaves_open_comes_from_the_profile() -> None:
    """Attempts and time to live; a 0 that was said is kept."""
    specs = [command("a"), command("b", max_attempts=1, ttl_ms=0, priority=Priority.URGENT, optional=True)]
    plain, told = (row.task for row in new_tasks(specs, POLICY, first_seq=5, now_ms=NOW_MS, settled={}))

    assert (plain.max_attempts, plain.ttl_ms, plain.priority, plain.optional) == (3, 600_000, Priority.NORMAL, False)
    assert (told.max_attempts, told.ttl_ms, told.priority, told.optional) == (1, 0, Priority.URGENT, True)
    assert (plain.seq, told.seq) == (5, 6)


@pytest.mark.parametrize(
    ("spec", "title"),
    [
        (command(title="Named"), "Named"),
        (command(), "make test"),
        (TaskSpec(id="t", prompt="  First line\nand more"), "First line"),
        (TaskSpec(id="t", prompt="x" * MAX_TITLE_LENGTH), "x" * MAX_TITLE_LENGTH),
        (TaskSpec(id="t", prompt="x" * (MAX_TITLE_LENGTH + 1)), "x" * (MAX_TITLE_LENGTH - 1) + "…"),
    ],
)
def test_a_task_without_a_title_is_called_by_its_first_line(spec: TaskSpec, title: str) -> None:
    """Short enough for a list."""
    (row,) = new_tasks([spec], POLICY, first_seq=1, now_ms=NOW_MS, settled={})

    assert row.task.title == title


@pytest.mark.parametrize("task_id", ["", " ", "a b", "a\n", "a\x00", "x" * (MAX_ID_LENGTH + 1)])
def test_an_id_that_cannot_be_typed_is_refused(task_id: str) -> None:
    """With what is allowed."""
    with pytest.raises(InvalidInputError, match="is no task id") as caught:
        check_batch([command(task_id)], {})
    assert str(MAX_ID_LENGTH) in caught.value.remedy
    check_batch([command("x" * MAX_ID_LENGTH), command("größe/1")], {})


def test_a_batch_has_a_bound() -> None:
    """Ten thousand are taken, one more is not."""
    specs = [command(f"t{number}") for number in range(MAX_BATCH + 1)]
    check_batch(specs[:-1], {})
    with pytest.raises(InvalidInputError, match="10001 tasks at once"):
        check_batch(specs, {})


def test_a_need_is_a_task_of_the_batch_or_one_that_exists() -> None:
    """Else it is named, with the task that has it and the nearest id."""
    check_batch([command("a", needs=("old",)), command("b", needs=("a",))], {"old": TaskState.RUNNING})
    with pytest.raises(InvalidInputError) as caught:
        check_batch([command("build"), command("b", needs=("biuld",))], {})

    assert str(caught.value) == "task b, needs: there is no task biuld (did you mean 'build'?)"


def test_a_ring_refuses_the_batch() -> None:
    """Before anything is stored; a ring through tasks that exist cannot be made, because those are stored already."""
    with pytest.raises(CycleError, match="a -> b -> a"):
        check_batch([command("a", needs=("b",)), command("b", needs=("a",))], {})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from("abcxyz"))), unique_by=lambda one: one[0]))
def test_outside_needs_are_those_that_the_batch_does_not_bring(tasks: list[tuple[str, list[str]]]) -> None:
    """Sorted, each once."""
    specs = [command(name, needs=tuple(needs)) for name, needs in tasks]
    names = {name for name, _ in tasks}
    outside = outside_needs(specs)

    assert outside == sorted(set(outside))
    assert set(outside) == {need for _, needs in tasks for need in needs if need not in names}


def test_a_stated_complexity_that_the_words_contradict_is_said() -> None:
    """And one that agrees, or is the only word there is, is not."""
    specs = [
        TaskSpec(id="odd", prompt="Redesign the architecture of it all", complexity=Complexity.TRIVIAL),
        TaskSpec(id="fit", prompt="Redesign the architecture of it all", complexity=Complexity.COMPLEX),
        TaskSpec(id="own", prompt="Redesign the architecture of it all"),
    ]
    rows = new_tasks(specs, POLICY, first_seq=1, now_ms=NOW_MS, settled={})
    odd, fit, own = (disagreement(row.task.facts, NOW_MS) for row in rows)

    assert (fit, own) == (None, None)
    assert odd is not None
    assert odd.metadata == {"task_id": "odd", "explicit_tier": "trivial", "inferred_tier": "complex"}
    assert 0 < odd.measurements["confidence"] <= 1


FLEET = Fleet(endpoints=frozenset({"gpu"}), models=frozenset({"listed"}), all_listed=True)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"model": "quen"}, "task t, model"),
        ({"model": "qwen", "fallback_models": ("listed", "quen")}, "task t, fallback_models"),
        ({"fallback_models": ("quen",)}, "task t, fallback_models"),
    ],
)
def test_a_model_that_nobody_knows_is_refused_wherever_it_is_named(fields: dict[str, object], where: str) -> None:
    """With the nearest one; a stand-in is found missing now, not when it is needed."""
    spec = TaskSpec(id="t", prompt="x", **fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError) as caught:
        as_it_runs(spec, POLICY, FLEET)
    assert caught.value.where == where
    assert "did you mean 'qwen'" in caught.value.remedy
    as_it_runs(spec, POLICY, Fleet(endpoints=FLEET.endpoints, models=FLEET.models))


def test_results_of_needs_that_are_met_are_counted_at_once() -> None:
    """Only of a task that can start now; the others hear of them with the last need."""
    specs = [
        TaskSpec(id="now", prompt="x", needs=("a", "b")),
        TaskSpec(id="names", prompt="{{ results.b }}", needs=("a", "b")),
        TaskSpec(id="later", prompt="x", needs=("a", "open")),
        command("files", needs=("a",)),
    ]
    settled, lengths = {"a": True, "b": True}, {"a": 100, "b": 20}
    rows = new_tasks(specs, POLICY, first_seq=1, now_ms=NOW_MS, settled=settled, lengths=lengths)
    assert [row.task.handed_tokens for row in rows] == [120, 20, 0, 0]


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 7)), st.booleans(), st.sampled_from(list(ResultsRule)), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_what_is_handed_private_data_is_private(
    tasks: list[tuple[set[int], bool, ResultsRule, bool]], outside: bool
) -> None:
    """Exactly those with a chain of handed results from a local-only task, or their own word, are local only."""
    specs = [
        TaskSpec(
            id=f"t{number}",
            kind=TaskKind.COMMAND if is_command else TaskKind.CHAT,
            prompt="" if is_command else "x",
            argv=("true",) if is_command else (),
            needs=(*(f"t{need}" for need in sorted(needs) if need < number), *(("gone",) if number == 0 else ())),
            results=rule,
            local_only=private,
        )
        for number, (needs, private, rule, is_command) in enumerate(tasks)
    ]
    rows = new_tasks(specs, POLICY, first_seq=1, now_ms=NOW_MS, settled={}, local={"gone"} if outside else ())
    expected = {"gone"} if outside else set()
    for spec in specs:  # they only need earlier ones
        handed = spec.needs if spec.results is ResultsRule.AUTO else ()
        if spec.local_only or expected & set(handed):
            expected.add(spec.id)
    assert {row.task.id for row in rows if row.task.facts.local_only} == expected - {"gone"}
