"""The parts of the reader of task files, one by one: fields, shared fields, layers, sections."""

from collections.abc import Callable

import pytest

from ostler.cli.taskreader import Notes, Values, decoded, layered, shared_fields, task_fields
from ostler.cli.tasksections import PhaseDraft, assign, check_slots, read_phases, read_roles, read_slots
from ostler.config.document import read_document
from ostler.config.nodes import Member, Node, Place
from ostler.domain.errors import Problem
from ostler.domain.tasks import Priority


def section(text: str, name: str) -> Member:
    """A section of a document, with its places."""
    root, _ = read_document(text, "f")
    assert isinstance(root.value, dict)
    return root.value[name]


def noted(notes: Notes) -> list[str]:
    return [str(problem) for problem in notes.in_order()]


def test_mistakes_come_in_the_order_of_the_file() -> None:
    """Whenever they were found; those without a line stand first."""
    notes = Notes("f")
    notes.refuse(Place("f", 7), "b", "late", "")
    notes.report(Place("f"), Problem("whole", where="f"))
    notes.refuse(Place("f", 2), "a", "early", "mend it")

    assert noted(notes) == ["f: whole", "f:2 a: early (mend it)", "f:7 b: late"]


def test_fields_that_exist_are_kept_beside_those_that_do_not() -> None:
    """A misspelt field does not take the others with it."""
    notes = Notes("f")
    fields = task_fields(notes, section("t: {model: m, modl: x, after: y}", "t").node, "t")

    assert list(fields) == ["model"]
    assert noted(notes) == [
        "f:1 t: unknown field 'modl' (did you mean 'model'?)",
        "f:1 t: unknown field 'after' (did you mean 'needs'?)",
    ]


@pytest.mark.parametrize(("what", "remedy"), [("task", "write `id: NAME`"), ("role", "write `FIELD: value` lines")])
def test_what_is_no_mapping_is_told_by_what_it_should_be(what: str, remedy: str) -> None:
    """A task and a role are written differently."""
    notes = Notes("f")

    assert task_fields(notes, Node("x", Place("f", 1)), "t", what) == {}
    assert noted(notes) == [f"f:1 t: expected the fields of a {what}, got 'x' ({remedy})"]


def test_values_have_the_names_that_a_task_gives_them() -> None:
    """Those that are wrong are left out and told."""
    notes = Notes("f")
    fields = task_fields(notes, section("t: {expected: 15m, type: code, ttl: soon, priority: high}", "t").node, "t")

    assert decoded(notes, fields, "t") == {"expected_ms": 900_000, "task_type": "code", "priority": Priority.HIGH}
    assert noted(notes) == ["f:1 t.ttl: expected a duration, got 'soon' (write a unit too: 500ms, 90s, 5m or 2h)"]


def test_shared_fields_leave_out_what_is_a_tasks_own() -> None:
    """Refused with what to do instead; the rest counts."""
    notes = Notes("f")
    found = shared_fields(
        notes, section("d: {id: x, model: m}", "d"), "d", refused={"id": "say it in each task", "needs": "no"}
    )

    assert found == {"model": "m"}
    assert noted(notes) == ["f:1 d.id: it is a task's own (say it in each task)"]


@pytest.mark.parametrize("text", ["d:\n", "d: {}\n"])
def test_an_empty_section_gives_nothing(text: str) -> None:
    """A heading without anything below it is no mistake."""
    notes = Notes("f")

    assert shared_fields(notes, section(text, "d"), "d", refused={}) == {}
    assert shared_fields(notes, None, "d", refused={}) == {}
    assert noted(notes) == []


LAYERS: list[tuple[list[Values], Values]] = [
    ([], {}),
    ([{"model": "a"}, {"model": "b"}], {"model": "b"}),
    ([{"model": "a", "fallback_models": ("b",)}, {"tier": "t"}], {"tier": "t"}),
    ([{"tier": "t"}, {"model": "a"}], {"tier": "t", "model": "a"}),
    ([{"model": "a"}, {"tier": "t", "model": "b"}], {"tier": "t", "model": "b"}),
    ([{"model": "a", "system": "s"}, {"tier": "t"}, {"model": "c"}], {"system": "s", "tier": "t", "model": "c"}),
    ([{"tier": "t"}, {"tier": "u"}], {"tier": "u"}),
]


@pytest.mark.parametrize(("layers", "found"), LAYERS)
def test_later_layers_win_and_a_tier_takes_models_away(layers: list[Values], found: Values) -> None:
    """Each case by hand."""
    assert layered(*layers) == found


def test_a_role_with_a_mistake_is_not_missed_as_well() -> None:
    """Tasks that name it are right: one mistake, one message."""
    notes = Notes("f")
    roles = read_roles(notes, section("roles:\n  coder: {tire: x}\n  clerk:\n", "roles"))

    assert roles == {"coder": {}, "clerk": {}}
    assert noted(notes) == ["f:2 roles.coder: unknown field 'tire' (did you mean 'tier'?)"]


def test_slots_are_numbers_from_one_up() -> None:
    """The rest is told model by model."""
    notes = Notes("f")

    assert read_slots(notes, section("slots: {a: 2, b: 0, c: x}", "slots")) == {"a": 2}
    assert [problem.where for problem in notes.in_order()] == ["f:1 slots.b", "f:1 slots.c"]


def test_slots_for_nobody_are_told_once() -> None:
    """Only of models that no task names; a section that is no mapping was told before."""
    notes = Notes("f")
    check_slots(notes, section("slots: {a: 1, bb: 1}", "slots"), ["a", "b"])
    check_slots(notes, section("slots: [x]", "slots"), ["a"])
    check_slots(notes, None, [])

    assert noted(notes) == ["f:1 slots.bb: no task uses a model 'bb' (did you mean 'b'?)"]


def test_phases_are_read_as_names_and_as_mappings() -> None:
    """In their order, with what they give their tasks in a task's own words."""
    notes = Notes("f")
    text = "phases:\n  - design\n  - {name: code, agents: A, tasks: [b, c], priority: medium, parallel: false}\n"
    design, code = read_phases(notes, section(text, "phases"))

    assert (design.name, design.members, design.values) == ("design", (), {})
    assert [name for name, _ in code.members] == ["b", "c", "A"]
    assert (code.parallel, code.values) == (False, {"priority": Priority.NORMAL})
    assert noted(notes) == []


TWICE = "f:1 phases.q: 'a' is in phase 'p' already (keep it in one of the two)"
ASSIGNED: list[tuple[list[tuple[str, list[str]]], dict[str, str], list[str]]] = [
    ([("p", ["a"]), ("q", ["b*"])], {"a": "p", "b1": "q", "b2": "q"}, []),
    ([("p", ["Title"])], {"a": "p"}, []),
    ([("p", ["*"])], {"a": "p", "b1": "p", "b2": "p"}, []),
    ([("p", ["a", "a"])], {"a": "p"}, []),
    ([("p", ["x*"])], {}, ["f:1 phases.p: no task 'x*' in this file (valid: Title, a, b1, b2)"]),
    (
        [("p", ["a"]), ("q", ["a"])],
        {"a": "p"},
        ["f:1 phases.q: 'a' is in phase 'p' already (keep it in one of the two)"],
    ),
]


@pytest.mark.parametrize(("phases", "found", "problems"), ASSIGNED)
def test_tasks_are_found_by_id_title_or_wildcard(
    phases: list[tuple[str, list[str]]], found: dict[str, str], problems: list[str]
) -> None:
    """Each task in the first phase that lists it; what names nothing, or a task of another phase, is told."""
    notes = Notes("f")
    place = Place("f", 1)
    drafts = [
        PhaseDraft(name=name, place=place, members=tuple((word, place) for word in words)) for name, words in phases
    ]
    listed = assign(notes, drafts, {"a": "Title", "b1": "", "b2": ""})

    assert {task: draft.name for task, draft in listed.items()} == found
    assert noted(notes) == problems


READERS: list[tuple[str, Callable[[Notes, Member | None], object], object]] = [
    ("roles", read_roles, {}),
    ("slots", read_slots, {}),
    ("phases", read_phases, []),
]


@pytest.mark.parametrize(("name", "reader", "empty"), READERS)
def test_a_section_that_is_not_there_is_empty(
    name: str, reader: Callable[[Notes, Member | None], object], empty: object
) -> None:
    """Neither absence nor an empty heading is a mistake."""
    notes = Notes("f")

    assert reader(notes, None) == empty
    assert reader(notes, section(f"{name}:\n", name)) == empty
    assert noted(notes) == []
