"""Generated pipeline documents against what the reference says of them: who gives a task what, and who needs whom."""

import fnmatch
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ostler.cli.taskfile import TaskFile, TaskFileError, parse_task_file
from ostler.cli.taskreader import Values, layered
from ostler.domain.tasks import TaskSpec

FIELDS: dict[str, list[Any]] = {
    "model": ["m1", "m2", "m3"],
    "priority": ["urgent", "low"],
    "optional": [True, False],
    "expected": ["1m", "2h"],
    "system": ["be brief", "be kind"],
    "tier": ["t1"],
}
"""Fields that every layer may give, with values to tell them apart."""
NAMES = ["a", "b-api", "c-api", "b.x", "d"]
ATTRIBUTES = {"expected": "expected_ms"}


@st.composite
def given_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Some fields with values."""
    chosen = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=4))
    return {name: draw(st.sampled_from(FIELDS[name])) for name in chosen}


def model_of(*layers: dict[str, Any]) -> dict[str, Any]:
    """The reference's own words: later layers first; a tier without a model takes away models from further away."""
    found: dict[str, Any] = {}
    for layer in layers:
        if "tier" in layer and "model" not in layer:
            found.pop("model", None)
        found.update(layer)
    return found


def read(document: dict[str, Any]) -> TaskFile:
    """JSON is YAML: generated documents need no writer."""
    return parse_task_file(json.dumps(document), "f")


def shown(spec: TaskSpec) -> dict[str, Any]:
    """The fields of a task as a person writes them."""
    found = {name: getattr(spec, ATTRIBUTES.get(name, name)) for name in FIELDS}
    found["priority"] = spec.priority.name.lower()
    found["expected"] = {60_000: "1m", 7_200_000: "2h"}.get(spec.expected_ms or 0)
    return found


@given(given_fields(), given_fields(), given_fields(), given_fields())
def test_the_nearest_word_counts(
    defaults: dict[str, Any], phase: dict[str, Any], role: dict[str, Any], own: dict[str, Any]
) -> None:
    """Task, then role, then phase, then defaults, field by field."""
    phase = {name: value for name, value in phase.items() if name != "system"}
    file = read(
        {
            "defaults": defaults,
            "roles": {"r": role},
            "phases": [{"name": "p", "tasks": ["a"], **phase}],
            "tasks": [{"id": "a", "prompt": "x", "role": "r", **own}],
        }
    )

    blank = {"model": None, "priority": "normal", "optional": False, "expected": None, "system": "", "tier": None}
    assert shown(file.specs[0]) == {**blank, **model_of(defaults, phase, role, own)}


@given(st.lists(given_fields(), max_size=5))
def test_layers_never_lose_what_nobody_gainsays(layers: list[Values]) -> None:
    """A field that only one layer names has that layer's value, unless it is a model and a later tier took it away."""
    found = layered(*layers)
    for name in FIELDS:
        naming = [index for index, layer in enumerate(layers) if name in layer]
        taken = name == "model" and any("tier" in layer and "model" not in layer for layer in layers)
        if naming and not taken:
            assert found[name] == layers[naming[-1]][name], "the last layer that names a field counts"
        if not naming:
            assert name not in found, "nothing is made up"


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """A need: a name, a wildcard, or a name that nobody has."""
    return "".join(
        draw(st.lists(st.sampled_from(["a", "b", "c", "-api", ".", "x", "*", "?", "d"]), min_size=1, max_size=4))
    )


@given(st.lists(patterns(), min_size=1, max_size=3))
def test_wildcards_mean_what_they_mean_elsewhere(needs: list[str]) -> None:
    """The last task needs the names that a shell's pattern would match, or the file is refused for one of its needs."""
    others = NAMES[:-1]
    document = {
        "tasks": [
            *({"id": name, "prompt": "x"} for name in others),
            {"id": NAMES[-1], "prompt": "x", "needs": needs},
        ]
    }
    wanted: dict[str, None] = {}
    unmet = []
    for need in needs:
        if "*" in need or "?" in need:
            matched = [name for name in others if fnmatch.fnmatchcase(name, need)]
        else:
            matched = [need] if need in NAMES else []
        unmet += [] if matched else [need]
        wanted.update(dict.fromkeys(matched))
    try:
        file = read(document)
    except TaskFileError as error:
        said = " ".join(str(problem) for problem in error.problems)
        assert unmet or NAMES[-1] in wanted, "a file whose needs are all met is accepted"
        assert all(f"'{need}'" in said for need in unmet), "every need that is not met is told"
        return
    assert not unmet, "a need that is not met is refused"
    assert file.specs[-1].needs == tuple(wanted)


@given(st.permutations(NAMES), st.integers(0, 5), st.booleans())
def test_every_phase_keeps_its_own_order(order: list[str], cut: int, parallel: bool) -> None:
    """Tasks stand in a phase as it lists them, whatever their order in the file; nothing is in two phases."""
    groups = [group for group in (order[:cut], order[cut:]) if group]
    file = read(
        {
            "phases": [
                {"name": f"p{number}", "agents": group, "parallel": parallel} for number, group in enumerate(groups)
            ],
            "tasks": [{"id": name, "prompt": "x"} for name in NAMES],
        }
    )

    assert [list(phase.tasks) for phase in file.phases] == groups
    assert {spec.id: spec.phase for spec in file.specs} == {
        name: f"p{number}" for number, group in enumerate(groups) for name in group
    }
    assert {phase.parallel for phase in file.phases} == {parallel}


@given(st.sampled_from(NAMES), st.text("abc.-*?", min_size=1, max_size=4))
def test_titles_and_ids_name_the_same_task(name: str, title: str) -> None:
    """A phase may list a task by its title; an id is never mistaken for another task's title."""
    tasks = [{"id": other, "prompt": "x", **({"title": title} if other == name else {})} for other in NAMES]
    if any(sign in title for sign in "*?"):
        return
    file = read({"phases": [{"name": "p", "tasks": [title]}], "tasks": tasks})

    assert file.phases[0].tasks == ((title,) if title in NAMES else (name,))
