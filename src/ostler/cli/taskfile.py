"""A file of tasks (`ostler run FILE`), read strictly: every mistake with file, line, field and remedy, all at once.

    name: nightly            # shown, optional
    defaults:                # fields that every task has unless it says otherwise
      tier: standard
    tasks:
      - id: build
        command: make build
      - id: notes
        prompt: Write the release notes.
        needs: build

Ids are local to the file: when it is handed in, they are prefixed with the id of the run, which is the tasks' batch
too, so that the same file can be run again. Nothing is handed in unless the whole file is right.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ostler.cli.spec import ID, ID_RULE
from ostler.cli.taskfields import FIELDS, MEANT, OWN, WrongValue, named, text
from ostler.config.document import read_document
from ostler.config.nodes import Member, Node, Place
from ostler.domain.errors import Problem, ProfileError, nearest
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.scheduling.dependencies import find_cycle

BYTES_MAX = 4 * 1024 * 1024
LOCAL_ID_MAX = 80
SEPARATOR = "."
SECTIONS = ("name", "defaults", "tasks")


class TaskFileError(ProfileError):
    """The file is refused; `problems` has every mistake found."""

    code = "invalid_task_file"


class TaskFile(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of a file, with the ids they have in it."""

    name: str
    specs: tuple[TaskSpec, ...]
    places: Mapping[str, str] = {}
    """Id in the file -> where the task is written."""

    def locate(self, run_id: str, where: str, what: str) -> str:
        """The place in the file that a hub means which refuses a run.

        It names the task, or only a field (`tier`) and in its words the value that it does not know. Another place is
        given back as it is.
        """
        names = set(re.split(r"[ ,:]+", where))
        for spec in self.specs:
            value = getattr(spec, where, None)
            if run_id + SEPARATOR + spec.id in names:
                return f"{self.places[spec.id]} {where}"
            if isinstance(value, str) and f"'{value}'" in what:
                return f"{self.places[spec.id]} {spec.id}.{where}"
        return where

    def for_run(self, run_id: str) -> tuple[TaskSpec, ...]:
        """The tasks to hand in for one run."""
        return tuple(
            msgspec.structs.replace(
                spec,
                id=run_id + SEPARATOR + spec.id,
                needs=tuple(run_id + SEPARATOR + needed for needed in spec.needs),
                batch=run_id,
                title=spec.title or spec.id,
            )
            for spec in self.specs
        )


def load_task_file(path: str) -> TaskFile:
    """Read a file of tasks. Raises `TaskFileError`."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise TaskFileError([Problem(f"cannot be read: {reason}", where=path, remedy="check the path")]) from None
    if len(raw) > BYTES_MAX:
        what = f"the file has {len(raw)} bytes, at most {BYTES_MAX} are read"
        raise TaskFileError([Problem(what, where=path, remedy="is this the right file?")])
    try:
        return parse_task_file(raw.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise TaskFileError([Problem(what, where=f"{path}:{line}", remedy="save the file as UTF-8")]) from None


def parse_task_file(content: str, source: str) -> TaskFile:
    """The tasks in a text. Raises `TaskFileError` with all mistakes, in the order of the file."""
    if not content.strip():
        raise TaskFileError([Problem("the file is empty", where=source, remedy="write a list of `tasks:`")])
    try:
        root, found = read_document(content, source)
    except ProfileError as error:
        raise TaskFileError(_reworded(problem) for problem in error.problems) from None
    reader = _Reader(source)
    for place, problem in found:
        reader.report(place, problem)
    file = reader.file(root)
    if reader.problems:
        raise TaskFileError(problem for _, problem in sorted(reader.problems, key=lambda pair: pair[0]))
    return file


def _reworded(problem: Problem) -> Problem:
    """The reader of documents speaks of profiles, whose files it was made for."""
    remedy = problem.remedy.replace("start it with a section such as `routing:`", "start it with `tasks:`")
    return Problem(
        problem.what.replace("profile", "task file"),
        where=problem.where,
        remedy=remedy.replace("profile", "task file"),
    )


class _Reader:
    """Walks the tree of one file. `problems` grows; a task with a mistake is left out of what is returned."""

    def __init__(self, source: str) -> None:
        self.problems: list[tuple[int, Problem]] = []
        self._source = source
        self._places: dict[str, Place] = {}

    def report(self, place: Place, problem: Problem) -> None:
        """Keep a mistake with its line."""
        self.problems.append((place.line or 0, problem))

    def file(self, root: Node) -> TaskFile:
        """The whole file, as far as it is right."""
        sections: Mapping[str, Member] = root.value if isinstance(root.value, dict) else {}
        for name, member in sections.items():
            if name not in SECTIONS:
                self._refuse(member.place, name, f"unknown section '{name}'", nearest(name, SECTIONS))
        defaults = self._defaults(sections.get("defaults"))
        specs = [self._task(node, defaults, index) for index, node in enumerate(self._tasks(sections.get("tasks")))]
        good = tuple(spec for spec in specs if spec is not None)
        if len(good) == len(specs):
            self._check_needs(good)
        places = {task_id: str(place) for task_id, place in self._places.items()}
        return TaskFile(name=self._name(sections.get("name")), specs=good, places=places)

    def _name(self, member: Member | None) -> str:
        if member is None:
            return ""
        try:
            return text(member.node)
        except WrongValue as wrong:
            self._refuse(member.place, "name", wrong.what, wrong.remedy)
            return ""

    def _defaults(self, member: Member | None) -> dict[str, object]:
        if member is None or member.node.value is None:
            return {}
        fields = self._fields(member.node, "defaults")
        for name in sorted(OWN & fields.keys()):
            self._refuse(fields[name].place, f"defaults.{name}", "it is a task's own", "say it in each task")
        return self._decoded({name: field for name, field in fields.items() if name not in OWN}, "defaults")

    def _tasks(self, member: Member | None) -> list[Node]:
        if member is None:
            self._refuse(Place(self._source), "tasks", "there are no tasks", "write a list of `tasks:`")
            return []
        if not isinstance(member.node.value, list) or not member.node.value:
            what = f"expected a list of tasks, got {named(member.node)}"
            self._refuse(member.place, "tasks", what, "begin each task with `- id: NAME`")
            return []
        return member.node.value

    def _task(self, node: Node, defaults: Mapping[str, object], index: int) -> TaskSpec | None:
        known = len(self.problems)
        fields = self._fields(node, f"tasks[{index}]")
        task_id = self._id(fields.get("id"), node, index)
        own = self._decoded({name: field for name, field in fields.items() if name != "id"}, task_id)
        values = {**defaults, **own}
        if len(self.problems) == known:
            values["kind"] = self._kind(values, node, task_id)
        return TaskSpec(id=task_id, **values) if len(self.problems) == known else None  # type: ignore[arg-type]

    def _fields(self, node: Node, where: str) -> dict[str, Member]:
        if not isinstance(node.value, dict):
            self._refuse(node.place, where, f"expected the fields of a task, got {named(node)}", "write `id: NAME`")
            return {}
        fields = {}
        for name, member in node.value.items():
            if name in FIELDS:
                fields[name] = member
                continue
            meant = f"did you mean '{MEANT[name]}'?" if name in MEANT else nearest(name, FIELDS)
            self._refuse(member.place, where, f"unknown field '{name}'", meant)
        return fields

    def _id(self, member: Member | None, node: Node, index: int) -> str:
        where = f"tasks[{index}]"
        if member is None:
            if isinstance(node.value, dict):
                self._refuse(node.place, where, "the task has no id", "give it one: `id: NAME`")
            return where
        found = str(self._decoded({"id": member}, where).get("id", where))
        if found == where:
            return where
        if not ID.fullmatch(found) or len(found) > LOCAL_ID_MAX:
            self._refuse(member.place, where, f"'{found}' cannot be an id", f"use {ID_RULE}, {LOCAL_ID_MAX} at most")
        elif found in self._places:
            first = f"the id '{found}' is given twice (first in line {self._places[found].line})"
            self._refuse(member.place, where, first, "give each task an id of its own")
        self._places.setdefault(found, member.place)
        return found

    def _decoded(self, fields: Mapping[str, Member], where: str) -> dict[str, object]:
        values = {}
        for name, member in fields.items():
            field = FIELDS[name]
            try:
                values[field.attribute] = field.decode(member.node)
            except WrongValue as wrong:
                self._refuse(member.place, f"{where}.{name}", wrong.what, wrong.remedy)
        return values

    def _kind(self, values: Mapping[str, object], node: Node, task_id: str) -> object:
        has_prompt, has_command = bool(values.get("prompt")), bool(values.get("argv"))
        kind = values.get("kind") or (TaskKind.CHAT if has_prompt or not has_command else TaskKind.COMMAND)
        if kind is TaskKind.COMMAND and not has_command:
            self._refuse(node.place, task_id, "it runs a command and has none", "add `command:`")
        elif kind is not TaskKind.COMMAND and not has_prompt:
            self._refuse(node.place, task_id, "it has neither a prompt nor a command", "add `prompt:` or `command:`")
        return kind

    def _check_needs(self, specs: tuple[TaskSpec, ...]) -> None:
        ids = {spec.id for spec in specs}
        for spec in specs:
            for needed in spec.needs:
                if needed not in ids:
                    place = self._places[spec.id]
                    self._refuse(place, f"{spec.id}.needs", f"no task '{needed}' in this file", nearest(needed, ids))
        cycle = find_cycle({spec.id: spec.needs for spec in specs})
        if cycle is not None:
            what = "tasks need each other in a ring: " + " -> ".join(cycle)
            self._refuse(self._places[cycle[0]], f"{cycle[0]}.needs", what, "remove one of these needs")

    def _refuse(self, place: Place, field: str, what: str, remedy: str) -> None:
        self.report(place, Problem(what, where=f"{place} {field}", remedy=remedy))
