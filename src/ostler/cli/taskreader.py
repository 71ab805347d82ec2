"""Reading the parts of a task file that several sections share: the fields of a task, with every mistake noted.

A reader never stops at a mistake: it notes it with its place and goes on with what is right.
"""

from collections.abc import Iterable, Mapping

from ostler.cli.taskfields import FIELDS, MEANT, WrongValue, named
from ostler.config.nodes import Member, Node, Place
from ostler.domain.errors import Problem, nearest

Values = dict[str, object]
"""Field of `TaskSpec` -> value."""


class Notes:
    """The mistakes found so far. `problems` grows."""

    def __init__(self, source: str) -> None:
        self.problems: list[tuple[int, Problem]] = []
        self.source = source

    def report(self, place: Place, problem: Problem) -> None:
        """Keep a mistake with its line."""
        self.problems.append((place.line or 0, problem))

    def refuse(self, place: Place, field: str, what: str, remedy: str) -> None:
        """Note that a field is wrong."""
        self.report(place, Problem(what, where=f"{place} {field}", remedy=remedy))

    def in_order(self) -> Iterable[Problem]:
        """All mistakes in the order of the file."""
        return (problem for _, problem in sorted(self.problems, key=lambda pair: pair[0]))


def task_fields(notes: Notes, node: Node, where: str, what: str = "task") -> dict[str, Member]:
    """The fields of a task (or of what gives tasks their fields) that exist, as they are written."""
    if not isinstance(node.value, dict):
        remedy = "write `id: NAME`" if what == "task" else "write `FIELD: value` lines"
        notes.refuse(node.place, where, f"expected the fields of a {what}, got {named(node)}", remedy)
        return {}
    fields = {}
    for name, member in node.value.items():
        if name in FIELDS:
            fields[name] = member
            continue
        meant = f"did you mean '{MEANT[name]}'?" if name in MEANT else nearest(name, FIELDS)
        notes.refuse(member.place, where, f"unknown field '{name}'", meant)
    return fields


def decoded(notes: Notes, fields: Mapping[str, Member], where: str) -> Values:
    """The values of fields, under the names they have in `TaskSpec`."""
    values: Values = {}
    for name, member in fields.items():
        field = FIELDS[name]
        try:
            values[field.attribute] = field.decode(member.node)
        except WrongValue as wrong:
            notes.refuse(member.place, f"{where}.{name}", wrong.what, wrong.remedy)
    return values


def shared_fields(
    notes: Notes, member: Member | None, where: str, *, refused: Mapping[str, str], what: str = "task"
) -> Values:
    """The values that a section gives to many tasks. `refused`: fields that it cannot give -> what to do instead."""
    if member is None or member.node.value is None:
        return {}
    fields = task_fields(notes, member.node, where, what)
    for name in sorted(refused.keys() & fields.keys()):
        notes.refuse(fields[name].place, f"{where}.{name}", "it is a task's own", refused[name])
    return decoded(notes, {name: field for name, field in fields.items() if name not in refused}, where)


def layered(*layers: Values) -> Values:
    """Values of several layers, the later over the earlier. Who names a tier and no model wants none from below."""
    values: Values = {}
    for layer in layers:
        if "tier" in layer and "model" not in layer and values.keys() & {"model", "fallback_models"}:
            values = {name: value for name, value in values.items() if name not in ("model", "fallback_models")}
        values.update(layer)
    return values
