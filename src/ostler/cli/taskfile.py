"""A file of tasks (`ostler run FILE`), read strictly: every mistake with file, line, field and remedy, all at once.

    name: nightly            # shown, optional
    defaults:                # fields that every task has unless it says otherwise
      tier: standard
    roles:                   # fields that the tasks of a role have unless they say otherwise
      writer: {model: quality, expected: 10m}
    tasks:
      - id: build
        command: make build
      - id: notes
        prompt: Write the release notes.
        role: writer
        needs: [build, "*-tests"]

What a task says itself counts first, then its role, then its phase, then the defaults. A wildcard among needs stands
for all tasks of the file that it matches, except the task itself.

Ids are local to the file: when it is handed in, they are prefixed with the id of the run, which is the tasks' batch
too, so that the same file can be run again. Nothing is handed in unless the whole file is right.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ostler.cli.spec import ID, ID_RULE
from ostler.cli.taskfields import OWN, WrongValue, count, named, text
from ostler.cli.taskreader import Notes, Values, decoded, layered, shared_fields, task_fields
from ostler.cli.tasksections import PhaseDraft, assign, check_slots, read_phases, read_roles, read_slots
from ostler.config.document import read_document
from ostler.config.nodes import Member, Node, Place
from ostler.domain.errors import InvalidInputError, Problem, ProfileError, nearest
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.planning.pipeline import Phase, Pipeline, is_wildcard, matching
from ostler.routing.handing import check_names
from ostler.scheduling.dependencies import find_cycle

BYTES_MAX = 4 * 1024 * 1024
LOCAL_ID_MAX = 80
SEPARATOR = "."
SECTIONS = ("name", "defaults", "roles", "slots", "limit", "phases", "tasks")


class TaskFileError(ProfileError):
    """The file is refused; `problems` has every mistake found."""

    code = "invalid_task_file"


class TaskFile(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of a file, with the ids they have in it."""

    name: str
    specs: tuple[TaskSpec, ...]
    places: Mapping[str, str] = {}
    """Id in the file -> where the task is written."""
    slots: Mapping[str, int] = {}
    """Model, as it is written -> tasks of this file that may work on it at once."""
    limit: int | None = None
    """So many of its tasks may run at once."""
    phases: tuple[Phase, ...] = ()
    """The order that the file claims."""

    @property
    def pipeline(self) -> Pipeline:
        """What planning needs of it."""
        return Pipeline(name=self.name, specs=self.specs, slots=self.slots, limit=self.limit, phases=self.phases)

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
                batch_limit=self.limit,
                batch_slots=self.slots,
                title=spec.title or spec.id,
            )
            for spec in self.specs
        )


def load_task_file(path: str) -> TaskFile:
    """Read a file of tasks. Raises `TaskFileError`."""
    return parse_task_file(read_text(path), path)


def read_text(path: str) -> str:
    """The text of a file. Raises `TaskFileError` if it cannot be read, is too large or no UTF-8."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise TaskFileError([Problem(f"cannot be read: {reason}", where=path, remedy="check the path")]) from None
    if len(raw) > BYTES_MAX:
        what = f"the file has {len(raw)} bytes, at most {BYTES_MAX} are read"
        raise TaskFileError([Problem(what, where=path, remedy="is this the right file?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise TaskFileError([Problem(what, where=f"{path}:{line}", remedy="save the file as UTF-8")]) from None


def parse_task_file(content: str, source: str) -> TaskFile:
    """The tasks in a text. Raises `TaskFileError` with all mistakes, in the order of the file."""
    notes = Notes(source)
    root = read_tree(content, source, notes, empty="write a list of `tasks:`")
    file = _Reader(notes).file(root)
    if notes.problems:
        raise TaskFileError(notes.in_order())
    return file


def read_tree(content: str, source: str, notes: Notes, *, empty: str) -> Node:
    """The tree of a text; its mistakes are noted. Raises `TaskFileError` where there is none.

    `empty` is what to write into an empty file.
    """
    if not content.strip():
        raise TaskFileError([Problem("the file is empty", where=source, remedy=empty)])
    try:
        root, found = read_document(content, source)
    except ProfileError as error:
        raise TaskFileError(_reworded(problem) for problem in error.problems) from None
    for place, problem in found:
        notes.report(place, problem)
    return root


def _reworded(problem: Problem) -> Problem:
    """The reader of documents speaks of profiles, whose files it was made for."""
    remedy = problem.remedy.replace("start it with a section such as `routing:`", "start it with `tasks:`")
    return Problem(
        problem.what.replace("profile", "task file"),
        where=problem.where,
        remedy=remedy.replace("profile", "task file"),
    )


class _Written(msgspec.Struct, frozen=True):
    """A task as it is written. `sound`: its id and the names of its fields are right."""

    node: Node
    id: str
    fields: dict[str, Member]
    sound: bool

    @property
    def title(self) -> str:
        """Its title, if it has one."""
        title = self.fields["title"].node.value if "title" in self.fields else ""
        return title if isinstance(title, str) else ""


class _Reader:
    """Walks the tree of one file. `notes` grows; a task with a mistake is left out of what is returned."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._places: dict[str, Place] = {}
        self._needs: dict[str, Place] = {}
        self._defaults: Values = {}
        self._roles: dict[str, Values] = {}
        self._drafts: list[PhaseDraft] = []
        self._listed: dict[str, PhaseDraft] = {}

    def file(self, root: Node) -> TaskFile:
        """The whole file, as far as it is right."""
        sections: Mapping[str, Member] = root.value if isinstance(root.value, dict) else {}
        for name, member in sections.items():
            if name not in SECTIONS:
                self._refuse(member.place, name, f"unknown section '{name}'", nearest(name, SECTIONS))
        refused = dict.fromkeys(OWN, "say it in each task")
        self._defaults = shared_fields(self._notes, sections.get("defaults"), "defaults", refused=refused)
        self._roles = read_roles(self._notes, sections.get("roles"))
        slots = read_slots(self._notes, sections.get("slots"))
        self._drafts = read_phases(self._notes, sections.get("phases"))
        nodes = self._tasks(sections.get("tasks"))
        written = [self._written(node, f"tasks[{index}]") for index, node in enumerate(nodes)]
        whole = all(task.sound for task in written)
        if whole:
            self._listed = assign(self._notes, self._drafts, {task.id: task.title for task in written})
        specs = [spec for task in written if (spec := self._task(task)) is not None]
        if len(specs) == len(written):
            specs = self._with_needs(specs)
            self._check_slots(sections.get("slots"), specs)
            self._check_names(specs)
        return TaskFile(
            name=self._name(sections.get("name")),
            specs=tuple(specs),
            places={task_id: str(place) for task_id, place in self._places.items()},
            slots=slots,
            limit=self._limit(sections.get("limit")),
            phases=self._phases(specs, whole=len(specs) == len(written)),
        )

    def _name(self, member: Member | None) -> str:
        if member is None:
            return ""
        try:
            return text(member.node)
        except WrongValue as wrong:
            self._refuse(member.place, "name", wrong.what, wrong.remedy)
            return ""

    def _limit(self, member: Member | None) -> int | None:
        if member is None:
            return None
        try:
            return count(member.node)
        except WrongValue as wrong:
            self._refuse(member.place, "limit", wrong.what, wrong.remedy)
            return None

    def _check_names(self, specs: list[TaskSpec]) -> None:
        """Refuse a prompt that names the result of a task which it does not need."""
        for spec in specs:
            try:
                check_names(spec)
            except InvalidInputError as error:
                self._refuse(self._places[spec.id], f"{spec.id}.needs", error.what, error.remedy)

    def _tasks(self, member: Member | None) -> list[Node]:
        if member is None:
            self._refuse(Place(self._notes.source), "tasks", "there are no tasks", "write a list of `tasks:`")
            return []
        if not isinstance(member.node.value, list) or not member.node.value:
            what = f"expected a list of tasks, got {named(member.node)}"
            self._refuse(member.place, "tasks", what, "begin each task with `- id: NAME`")
            return []
        return member.node.value

    def _written(self, node: Node, where: str) -> _Written:
        known = len(self._notes.problems)
        fields = task_fields(self._notes, node, where)
        task_id = self._id(fields.get("id"), node, where)
        if "needs" in fields:
            self._needs.setdefault(task_id, fields["needs"].place)
        return _Written(node, task_id, fields, len(self._notes.problems) == known)

    def _id(self, member: Member | None, node: Node, where: str) -> str:
        if member is None:
            if isinstance(node.value, dict):
                self._refuse(node.place, where, "the task has no id", "give it one: `id: NAME`")
            return where
        found = str(decoded(self._notes, {"id": member}, where).get("id", where))
        if found == where:
            return where
        if not ID.fullmatch(found) or len(found) > LOCAL_ID_MAX:
            self._refuse(member.place, where, f"'{found}' cannot be an id", f"use {ID_RULE}, {LOCAL_ID_MAX} at most")
        elif found in self._places:
            first = f"the id '{found}' is given twice (first in line {self._places[found].line})"
            self._refuse(member.place, where, first, "give each task an id of its own")
        self._places.setdefault(found, member.place)
        return found

    def _task(self, task: _Written) -> TaskSpec | None:
        """The task with all that applies to it: its own word first, then its role's, its phase's, the defaults."""
        known = len(self._notes.problems)
        own = decoded(self._notes, {name: field for name, field in task.fields.items() if name != "id"}, task.id)
        phase = self._phase_of(task, own)
        role = self._role_of(task, own)
        values = layered(self._defaults, phase.values if phase is not None else {}, role, own)
        if phase is not None:
            values["phase"] = phase.name
        if task.sound and len(self._notes.problems) == known:
            values["kind"] = self._kind(values, task.node, task.id)
            self._check_fallback(values, own, task)
        sound = task.sound and len(self._notes.problems) == known
        return TaskSpec(id=task.id, **values) if sound else None  # type: ignore[arg-type]

    def _phase_of(self, task: _Written, own: Values) -> PhaseDraft | None:
        listed = self._listed.get(task.id)
        said = own.get("phase")
        if said is None or not self._drafts:
            return listed
        meant = next((draft for draft in self._drafts if draft.name == said), None)
        place = task.fields["phase"].place
        if meant is None:
            remedy = nearest(str(said), [draft.name for draft in self._drafts])
            self._refuse(place, f"{task.id}.phase", f"no phase '{said}' in this file", remedy)
        elif listed is not None and listed is not meant:
            what = f"phase '{listed.name}' lists this task (line {listed.place.line})"
            self._refuse(place, f"{task.id}.phase", what, "keep it in one of the two")
        return meant

    def _role_of(self, task: _Written, own: Values) -> Values:
        said = own.get("role", self._defaults.get("role"))
        if said is None or said in self._roles:
            return self._roles[str(said)] if said is not None else {}
        place = task.fields["role"].place if "role" in task.fields else task.node.place
        self._refuse(place, f"{task.id}.role", f"no role '{said}' in this file", nearest(str(said), self._roles))
        return {}

    def _kind(self, values: Mapping[str, object], node: Node, task_id: str) -> object:
        has_prompt, has_command = bool(values.get("prompt")), bool(values.get("argv"))
        asks = TaskKind.AGENT if values.get("agent") else TaskKind.CHAT
        kind = values.get("kind") or (asks if has_prompt or not has_command else TaskKind.COMMAND)
        if kind is TaskKind.COMMAND and not has_command:
            self._refuse(node.place, task_id, "it runs a command and has none", "add `command:`")
        elif kind is not TaskKind.COMMAND and not has_prompt:
            self._refuse(node.place, task_id, "it has neither a prompt nor a command", "add `prompt:` or `command:`")
        return kind

    def _check_fallback(self, values: Values, own: Values, task: _Written) -> None:
        """Other models stand behind a model or a tier. What a command was given by its role or phase, it ignores."""
        others = values.get("fallback_models")
        if not others:
            return
        place = task.fields["fallback"].place if "fallback" in task.fields else task.node.place
        where = f"{task.id}.fallback"
        if values["kind"] is TaskKind.COMMAND:
            if "fallback_models" in own:
                self._refuse(place, where, "a command uses no model", "leave it out")
            values.pop("fallback_models")
        elif values.get("model") is None and values.get("tier") is None:
            self._refuse(place, where, "it says no model or tier that these stand behind", "add `model:` or `tier:`")
        elif isinstance(others, tuple) and values.get("model") in others:
            if "fallback_models" in own:
                self._refuse(place, where, f"'{values['model']}' is its model already", "keep the others")
            values["fallback_models"] = tuple(name for name in others if name != values["model"])

    def _with_needs(self, specs: list[TaskSpec]) -> list[TaskSpec]:
        """The tasks with wildcards among their needs resolved."""
        ids = {spec.id: None for spec in specs}
        resolved = [msgspec.structs.replace(spec, needs=self._resolved(spec, ids)) for spec in specs]
        cycle = find_cycle({spec.id: spec.needs for spec in resolved})
        if cycle is not None:
            what = "tasks need each other in a ring: " + " -> ".join(cycle)
            self._refuse(self._places[cycle[0]], f"{cycle[0]}.needs", what, "remove one of these needs")
        return resolved

    def _resolved(self, spec: TaskSpec, ids: Mapping[str, None]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for needed in spec.needs:
            if is_wildcard(needed):
                matched = [name for name in matching(needed, ids) if name != spec.id]
                if not matched:
                    remedy = f"`*` is any text, `?` one character; {nearest(needed, ids.keys() - {spec.id})}"
                    self._refuse(self._needs[spec.id], f"{spec.id}.needs", f"'{needed}' matches no other task", remedy)
                found.update(dict.fromkeys(matched))
            elif needed in ids:
                found[needed] = None
            else:
                what = f"no task '{needed}' in this file"
                self._refuse(self._needs[spec.id], f"{spec.id}.needs", what, nearest(needed, ids))
        return tuple(found)

    def _check_slots(self, member: Member | None, specs: list[TaskSpec]) -> None:
        """Slots are for models that tasks name; where a task leaves the model open it may be any."""
        if all(spec.model is not None or spec.kind is TaskKind.COMMAND for spec in specs):
            named_models = [name for spec in specs for name in (spec.model, *spec.fallback_models) if name is not None]
            check_slots(self._notes, member, named_models)

    def _phases(self, specs: list[TaskSpec], *, whole: bool) -> tuple[Phase, ...]:
        """The claim. A phase lists its tasks in its own order, then those that name it in theirs."""
        if not whole:
            return ()
        phases = []
        for draft in self._drafts:
            tasks = [task for task, listed in self._listed.items() if listed is draft]
            tasks += [spec.id for spec in specs if spec.phase == draft.name and spec.id not in tasks]
            if not tasks:
                remedy = f"list its `tasks:`, or say `phase: {draft.name}` in a task"
                self._refuse(draft.place, f"phases.{draft.name}", "no task is in this phase", remedy)
            phases.append(Phase(name=draft.name, tasks=tuple(tasks), parallel=draft.parallel))
        return tuple(phases)

    def _refuse(self, place: Place, field: str, what: str, remedy: str) -> None:
        self._notes.refuse(place, field, what, remedy)
