"""The pipeline's part of a task file: roles, wildcards, other models, slots, phases - and every mistake in them."""

from pathlib import Path

import pytest

from ostler.cli.taskfile import SECTIONS, TaskFile, TaskFileError, parse_task_file
from ostler.cli.tasksections import PHASE_WORDS
from ostler.domain.tasks import Priority, TaskSpec
from ostler.planning.pipeline import Phase

PIPELINE = """\
name: army
defaults: {expected: 10m, model: latest}
roles:
  reviewer: {model: quality, fallback: [latest, opus], expected: 15m, system: Be strict., optional: true}
  urgent: {priority: high}
slots: {latest: 4, quality: 2}
phases:
  - name: design
    agents: [Chief Architect]
    parallel: false
    model: quality
    fallback: latest
    priority: medium
  - name: code
    tasks: ["*-implementation"]
  - review
tasks:
  - {id: architect, title: Chief Architect, prompt: x}
  - {id: api-implementation, prompt: x, needs: architect}
  - {id: app-implementation, prompt: x, expected: 20m, role: urgent}
  - {id: check, command: make, needs: "*-implementation"}
  - {id: qa, prompt: x, phase: review, role: reviewer, needs: ["*-implementation", check, "a*"]}
"""


def read(text: str) -> TaskFile:
    return parse_task_file(text, "f")


def spec_of(file: TaskFile, task_id: str) -> TaskSpec:
    return next(spec for spec in file.specs if spec.id == task_id)


def test_a_task_takes_on_its_role() -> None:
    """What the role says counts before the defaults, and its name is kept."""
    spec = spec_of(read(PIPELINE), "qa")

    assert (spec.role, spec.model, spec.fallback_models) == ("reviewer", "quality", ("latest", "opus"))
    assert (spec.expected_ms, spec.system, spec.optional) == (900_000, "Be strict.", True)


def test_a_task_takes_on_what_its_phase_gives() -> None:
    """A phase may name model, other models and priority, as the other system's document does; medium is normal."""
    spec = spec_of(read(PIPELINE), "architect")

    assert (spec.phase, spec.model, spec.fallback_models) == ("design", "quality", ("latest",))
    assert (spec.priority, spec.expected_ms) == (Priority.NORMAL, 600_000)


def test_the_tasks_own_word_counts_first() -> None:
    """Task, then role, then defaults."""
    spec = spec_of(read(PIPELINE), "app-implementation")

    assert (spec.expected_ms, spec.priority, spec.model) == (1_200_000, Priority.HIGH, "latest")


def test_wildcards_stand_for_the_tasks_they_match() -> None:
    """In the order of the file, each once, never the task itself."""
    file = read(PIPELINE)

    assert spec_of(file, "check").needs == ("api-implementation", "app-implementation")
    assert spec_of(file, "qa").needs == ("api-implementation", "app-implementation", "check", "architect")


def test_a_wildcard_never_matches_its_own_task() -> None:
    """`*` needs all others; no ring comes of it."""
    assert spec_of(read("tasks: [{id: a, prompt: x}, {id: last, prompt: x, needs: '*'}]"), "last").needs == ("a",)


def test_phases_are_kept_as_a_claim() -> None:
    """Listed by title, by wildcard, or said by the task; in the declared order."""
    assert read(PIPELINE).pipeline.phases == (
        Phase(name="design", tasks=("architect",), parallel=False),
        Phase(name="code", tasks=("api-implementation", "app-implementation")),
        Phase(name="review", tasks=("qa",)),
    )


def test_slots_are_kept() -> None:
    """Model by model."""
    assert read(PIPELINE).pipeline.slots == {"latest": 4, "quality": 2}


def test_a_run_has_the_needs_that_wildcards_meant() -> None:
    """What the hub gets are whole ids."""
    (_, _, _, check, _) = read(PIPELINE).for_run("r-1")

    assert check.needs == ("r-1.api-implementation", "r-1.app-implementation")


def test_who_names_a_tier_gets_no_model_from_elsewhere() -> None:
    """A role's or default's model would otherwise win over the tier the task asks for."""
    text = "roles: {r: {model: m, fallback: n}}\ntasks: [{id: a, prompt: x, role: r, tier: large}]"
    (spec,) = read(text).specs

    assert (spec.tier, spec.model, spec.fallback_models) == ("large", None, ())


def test_a_command_ignores_other_models_from_elsewhere() -> None:
    """A role of models may be given to a command; only what the command itself says of models is a mistake."""
    (spec,) = read("roles: {r: {fallback: n}}\ntasks: [{id: a, command: make, role: r}]").specs

    assert spec.fallback_models == ()


def test_its_own_model_is_not_tried_twice() -> None:
    """A role's list of other models may hold the model of the task."""
    (spec,) = read("roles: {r: {model: m, fallback: [n, o]}}\ntasks: [{id: a, prompt: x, role: r, model: n}]").specs

    assert (spec.model, spec.fallback_models) == ("n", ("o",))


A = "  - {id: a, prompt: x}\n"
B = "  - {id: b, prompt: x}\n"
TASKS = "tasks:\n" + A

BAD: list[tuple[str, str, str]] = [
    (
        "a wildcard for nothing",
        TASKS + "  - id: b\n    prompt: x\n    needs: '*-impl'\n",
        "f:5 b.needs: '*-impl' matches no other task (`*` is any text, `?` one character; valid: a)",
    ),
    (
        "a wildcard for itself alone",
        TASKS + "  - {id: b-impl, prompt: x, needs: '*-impl'}\n",
        "f:3 b-impl.needs: '*-impl' matches no other task",
    ),
    (
        "a ring through wildcards",
        "tasks:\n  - {id: a1, prompt: x, needs: 'a*'}\n  - {id: a2, prompt: x, needs: 'a*'}\n",
        "f:2 a1.needs: tasks need each other in a ring: a1 -> a2 -> a1 (remove one of these needs)",
    ),
    (
        "an unknown role",
        "roles: {coder: {tier: t}}\n" + TASKS + "  - {id: b, prompt: x, role: codr}\n",
        "f:4 b.role: no role 'codr' in this file (did you mean 'coder'?)",
    ),
    (
        "a role without roles",
        TASKS + "  - {id: b, prompt: x, role: coder}\n",
        "f:3 b.role: no role 'coder' in this file (none is defined)",
    ),
    (
        "an unknown field of a role",
        "roles: {coder: {modle: m}}\n" + TASKS,
        "f:1 roles.coder: unknown field 'modle' (did you mean 'model'?)",
    ),
    (
        "a role's prompt",
        "roles: {coder: {prompt: x}}\n" + TASKS,
        "f:1 roles.coder.prompt: it is a task's own (say it in each task)",
    ),
    (
        "a role of a role",
        "roles: {coder: {role: x}}\n" + TASKS,
        "f:1 roles.coder.role: it is a task's own (a task has one role)",
    ),
    (
        "a role's phase",
        "roles: {coder: {phase: x}}\n" + TASKS,
        "f:1 roles.coder.phase: it is a task's own (say it in each task, or list the task under `phases`)",
    ),
    ("a role that is text", "roles: {coder: m}\n" + TASKS, "f:1 roles.coder: expected the fields of a role, got 'm'"),
    ("roles that are a list", "roles: [coder]\n" + TASKS, "f:1 roles: expected names with values, got a list"),
    ("a wrong value in a role", "roles: {c: {expected: 5}}\n" + TASKS, "f:1 roles.c.expected: expected a duration"),
    ("no time at all", TASKS + "  - {id: b, prompt: x, expected: 0s}\n", "f:3 b.expected: expected a duration"),
    (
        "another model twice",
        TASKS + "  - {id: b, prompt: x, model: m, fallback: [n, n]}\n",
        "f:3 b.fallback: 'n' is given twice (keep one)",
    ),
    (
        "its model as the other one",
        TASKS + "  - {id: b, prompt: x, model: m, fallback: [m, n]}\n",
        "f:3 b.fallback: 'm' is its model already (keep the others)",
    ),
    (
        "another model behind nothing",
        TASKS + "  - {id: b, prompt: x, fallback: n}\n",
        "f:3 b.fallback: it says no model or tier that these stand behind (add `model:` or `tier:`)",
    ),
    (
        "another model of a command",
        TASKS + "  - {id: b, command: make, fallback: n}\n",
        "f:3 b.fallback: a command uses no model (leave it out)",
    ),
    ("a field of the other system", TASKS + "  - {id: b, prompt: x, duration: 5m}\n", "(did you mean 'expected'?)"),
    ("slots that are a list", "slots: [m]\n" + TASKS, "f:1 slots: expected names with values, got a list"),
    ("no slots", "slots: {m: 0}\ntasks: [{id: a, prompt: x, model: m}]\n", "f:1 slots.m: expected a whole number"),
    (
        "slots of another model",
        "slots: {latst: 2}\ntasks: [{id: a, prompt: x, model: latest}]\n",
        "f:1 slots.latst: no task uses a model 'latst' (did you mean 'latest'?)",
    ),
    ("phases that are names", "phases: {a: b}\n" + TASKS, "f:1 phases: expected a list of phases, got names with"),
    ("a phase that is a number", "phases: [3]\n" + TASKS, "f:1 phases[0]: expected a phase, got 3"),
    ("a phase without a name", "phases: [{tasks: a}]\n" + TASKS, "f:1 phases[0]: the phase has no name"),
    (
        "an unknown field of a phase",
        "phases: [{name: p, agent: [a]}]\n" + TASKS + "  - {id: b, prompt: x, phase: p}\n",
        "f:1 phases[0]: unknown field 'agent' (did you mean 'agents'?)",
    ),
    (
        "a field of the other document",
        "phases: [{name: p, tasks: a, fallbackModel: m}]\n" + TASKS,
        "f:1 phases[0]: unknown field 'fallbackModel' (did you mean 'fallback'?)",
    ),
    (
        "a wrong value in a phase",
        "phases: [{name: p, tasks: a, parallel: 1}]\n" + TASKS,
        "f:1 phases[0]: expected true",
    ),
    (
        "a wrong model in a phase",
        "phases: [{name: p, tasks: a, model: 1}]\n" + TASKS,
        "f:1 phases[0].model: expected a text, got 1 (put it in quotes)",
    ),
    (
        "a phase twice",
        "phases:\n  - {name: p, tasks: a}\n  - p\n" + TASKS,
        "f:3 phases[1]: the phase 'p' is given twice (first in line 2)",
    ),
    (
        "an unknown task in a phase",
        "phases:\n  - name: p\n    tasks:\n      - a\n      - aa\n" + TASKS,
        "f:5 phases.p: no task 'aa' in this file (did you mean 'a'?)",
    ),
    (
        "a task in two phases",
        "phases:\n  - {name: p, tasks: a}\n  - {name: q, tasks: ['*']}\n" + TASKS + "  - {id: b, prompt: x}\n",
        "f:3 phases.q: 'a' is in phase 'p' already (keep it in one of the two)",
    ),
    (
        "a phase nobody is in",
        "phases:\n  - {name: p, tasks: a}\n  - q\n" + TASKS,
        "f:3 phases.q: no task is in this phase (list its `tasks:`, or say `phase: q` in a task)",
    ),
    (
        "an unknown phase",
        "phases: [{name: late, tasks: a}]\n" + TASKS + "  - {id: b, prompt: x, phase: lat}\n",
        "f:4 b.phase: no phase 'lat' in this file (did you mean 'late'?)",
    ),
    (
        "two words on one phase",
        "phases: [{name: p, tasks: a}, {name: q, tasks: b}]\ntasks:\n  - {id: a, prompt: x, phase: q}\n" + B,
        "f:3 a.phase: phase 'p' lists this task (line 1) (keep it in one of the two)",
    ),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_mistake_is_told_with_place_and_remedy(text: str, message: str) -> None:
    """File, line, field, what is wrong, what to write: exactly one message for one mistake."""
    with pytest.raises(TaskFileError) as caught:
        read(text)

    (problem,) = caught.value.problems
    assert message in str(problem)


def test_mistakes_of_all_sections_are_told_at_once() -> None:
    """Roles, slots, phases and tasks are all read to the end."""
    text = "roles: {r: {tire: x}}\nslots: {m: x}\nphases: [{tasks: a}]\ntasks:\n  - {id: a, prompt: x, role: q}\n"
    with pytest.raises(TaskFileError) as caught:
        read(text)

    assert [problem.where for problem in caught.value.problems] == [
        "f:1 roles.r",
        "f:2 slots.m",
        "f:3 phases[0]",
        "f:5 a.role",
    ]


def test_the_example_of_the_reference_is_right() -> None:
    """What a reader copies from the page of the format is accepted as it stands, wildcards and all."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "pipeline.md").read_text(encoding="utf-8")
    file = read(page.partition("```yaml\n")[2].partition("```")[0])

    assert [phase.tasks for phase in file.phases] == [
        ("architect",),
        ("api-implementation", "app-implementation"),
        ("qa",),
    ]
    assert spec_of(file, "qa").needs == ("api-implementation", "app-implementation")


def test_the_reference_names_every_section_and_every_field_of_a_pipeline() -> None:
    """A new section or field without a line there is a gap."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "pipeline.md").read_text(encoding="utf-8")

    assert [name for name in (*SECTIONS, *PHASE_WORDS) if f"`{name}`" not in page] == []


def test_a_phase_is_only_a_name_where_none_is_declared() -> None:
    """Without `phases:` a task's phase groups it for people and claims nothing."""
    file = read("tasks: [{id: a, prompt: x, phase: any}]")

    assert (file.specs[0].phase, file.phases) == ("any", ())


def test_slots_may_be_for_any_model_where_a_task_leaves_it_open() -> None:
    """A tier's models are the profile's: the file cannot know them."""
    assert read("slots: {m: 2}\ntasks: [{id: a, prompt: x, tier: t}]").slots == {"m": 2}
