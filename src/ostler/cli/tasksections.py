"""The sections of a task file beside its tasks: roles, slots, and phases.

roles:
  coder: {model: latest, expected: 15m, fallback: quality}
slots: {latest: 4}                       # tasks of this file at once on that model
phases:                                  # a claim about the order: it is checked, it orders nothing
  - name: implementation
    tasks: [python, "*-api"]             # ids, titles or wildcards; `agents:` is the same
  - credentials                          # tasks say `phase: credentials` themselves
"""

from collections.abc import Iterable, Mapping

import msgspec

from ostler.cli.taskfields import OWN, WrongValue, count, flag, named, text, texts
from ostler.cli.taskreader import Notes, Values, decoded, shared_fields
from ostler.config.nodes import Member, Node, Place
from ostler.domain.errors import nearest
from ostler.planning.pipeline import is_wildcard, matching

ROLE_REFUSES: Mapping[str, str] = {
    **dict.fromkeys(OWN, "say it in each task"),
    "role": "a task has one role",
    "phase": "say it in each task, or list the task under `phases`",
}
PHASE_FIELDS = ("model", "tier", "fallback", "priority", "optional", "expected")
"""What a phase may give its tasks, beside its name and who belongs to it."""
PHASE_WORDS = ("name", "tasks", "agents", "parallel", *PHASE_FIELDS)
PHASE_MEANT = {"models": "model", "fallbackModel": "fallback", "fallback_model": "fallback", "duration": "expected"}
SEED_PRIORITIES = {"medium": "normal"}


class PhaseDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as it is written."""

    name: str
    place: Place
    members: tuple[tuple[str, Place], ...] = ()
    """Ids, titles or wildcards of its tasks."""
    parallel: bool = True
    values: Values = {}


def read_roles(notes: Notes, member: Member | None) -> dict[str, Values]:
    """Role -> what it gives its tasks. A role with a mistake is there all the same, so that it is not missed too."""
    roles: dict[str, Values] = {}
    for name, role in _mapping(notes, member, "roles", "write `NAME: {model: ...}` lines").items():
        roles[name] = shared_fields(notes, role, f"roles.{name}", refused=ROLE_REFUSES, what="role")
    return roles


def read_slots(notes: Notes, member: Member | None) -> dict[str, int]:
    """Model -> tasks of this file that may use it at once."""
    slots: dict[str, int] = {}
    for name, number in _mapping(notes, member, "slots", "write `MODEL: NUMBER` lines").items():
        try:
            slots[name] = count(number.node)
        except WrongValue as wrong:
            notes.refuse(number.place, f"slots.{name}", wrong.what, wrong.remedy)
    return slots


def check_slots(notes: Notes, member: Member | None, used: Iterable[str]) -> None:
    """Refuse slots for a model that no task names."""
    names = frozenset(used)
    for name, number in _mapping(Notes(notes.source), member, "slots", "").items():
        if name not in names:
            notes.refuse(number.place, f"slots.{name}", f"no task uses a model '{name}'", nearest(name, names))


def read_phases(notes: Notes, member: Member | None) -> list[PhaseDraft]:
    """The declared phases in their order."""
    if member is None or member.node.value is None:
        return []
    if not isinstance(member.node.value, list):
        what = f"expected a list of phases, got {named(member.node)}"
        notes.refuse(member.place, "phases", what, "begin each phase with `- name: NAME`")
        return []
    drafts: list[PhaseDraft] = []
    for index, node in enumerate(member.node.value):
        draft = _phase(notes, node, f"phases[{index}]")
        if draft is None:
            continue
        first = next((other for other in drafts if other.name == draft.name), None)
        if first is not None:
            what = f"the phase '{draft.name}' is given twice (first in line {first.place.line})"
            notes.refuse(draft.place, f"phases[{index}]", what, "give each phase a name of its own")
            continue
        drafts.append(draft)
    return drafts


def _phase(notes: Notes, node: Node, where: str) -> PhaseDraft | None:
    if isinstance(node.value, str):
        return PhaseDraft(name=node.value, place=node.place)
    if not isinstance(node.value, dict):
        notes.refuse(
            node.place, where, f"expected a phase, got {named(node)}", "write its name, or `name:` and `tasks:`"
        )
        return None
    members = dict(node.value)
    for word in [word for word in members if word not in PHASE_WORDS]:
        meant = f"did you mean '{PHASE_MEANT[word]}'?" if word in PHASE_MEANT else nearest(word, PHASE_WORDS)
        notes.refuse(members.pop(word).place, where, f"unknown field '{word}'", meant)
    if "name" not in members:
        notes.refuse(node.place, where, "the phase has no name", "give it one: `name: NAME`")
        return None
    try:
        name = text(members["name"].node)
        parallel = flag(members["parallel"].node) if "parallel" in members else True
        listed = [_members(members[word]) for word in ("tasks", "agents") if word in members]
    except WrongValue as wrong:
        notes.refuse(node.place, where, wrong.what, wrong.remedy)
        return None
    fields = {word: _in_our_words(word, member) for word, member in members.items() if word in PHASE_FIELDS}
    values = decoded(notes, fields, where)
    every = tuple(pair for pairs in listed for pair in pairs)
    return PhaseDraft(name=name, place=node.place, members=every, parallel=parallel, values=values)


def _in_our_words(word: str, member: Member) -> Member:
    """A phase of the other document calls normal priority medium."""
    value = member.node.value
    if word == "priority" and isinstance(value, str) and value in SEED_PRIORITIES:
        return Member(Node(SEED_PRIORITIES[value], member.node.place), member.place)
    return member


def _members(member: Member) -> list[tuple[str, Place]]:
    items = member.node.value if isinstance(member.node.value, list) else [member.node]
    return [(name, item.place) for item in items for name in texts(item)]


def _mapping(notes: Notes, member: Member | None, where: str, remedy: str) -> dict[str, Member]:
    if member is None or member.node.value is None:
        return {}
    if not isinstance(member.node.value, dict):
        notes.refuse(member.place, where, f"expected names with values, got {named(member.node)}", remedy)
        return {}
    return member.node.value


def assign(notes: Notes, drafts: Iterable[PhaseDraft], titles: Mapping[str, str]) -> dict[str, PhaseDraft]:
    """Task -> the phase that lists it. `titles`: every task's id and title. Notes what is in two phases or in none."""
    found: dict[str, PhaseDraft] = {}
    by_title = {title: task for task, title in titles.items() if title}
    for draft in drafts:
        where = f"phases.{draft.name}"
        for word, place in draft.members:
            tasks = (
                matching(word, titles) if is_wildcard(word) else (word if word in titles else by_title.get(word, word),)
            )
            if not tasks or tasks[0] not in titles:
                what = f"no task '{word}' in this file"
                notes.refuse(place, where, what, nearest(word, {*titles, *by_title}))
                continue
            for task in tasks:
                other = found.setdefault(task, draft)
                if other.name != draft.name:
                    notes.refuse(
                        place, where, f"'{task}' is in phase '{other.name}' already", "keep it in one of the two"
                    )
    return found
