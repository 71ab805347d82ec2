"""A file of claims (`ostler plan FILE --claims CLAIMS`): what somebody said about plans, read strictly, to be audited.

    claims:
      - name: sequential
        total: 47.8m                     # optional; else what the steps add up to
        steps:                           # in their order; `phase:` is work, `swap:` is none
          - {phase: architecture, tasks: chief-architect, lasts: 3m}
          - {swap: quality to latest, lasts: 40s}
          - {phase: implementation, tasks: ["*-api", Python Specialist], lasts: 25m, agents: 9}
    figures:                             # one quantity, what several places say about it
      - {quantity: a swap, where: the table, value: [35s, 45s]}
      - {quantity: a swap, where: the text, value: 60s}

Tasks are ids, titles or wildcards of the file that is planned. `lasts` is for all steps of a claim or for none;
`parallel: false` is a phase whose tasks run one after the other; `agents` is how many the phase speaks of.
"""

from collections.abc import Mapping

import msgspec

from ostler.cli.taskfields import WrongValue, count, flag, milliseconds, named, some_time, text, texts
from ostler.cli.taskfile import TaskFileError, read_text, read_tree
from ostler.cli.taskreader import Notes
from ostler.config.nodes import Member, Node
from ostler.domain.errors import nearest
from ostler.planning.audit import Account, Claim, Figure, Step
from ostler.planning.phases import Group
from ostler.planning.pipeline import is_wildcard, matching

SECTIONS = ("claims", "figures")
CLAIM_FIELDS = ("name", "total", "steps")
STEP_FIELDS = ("phase", "swap", "tasks", "lasts", "agents", "parallel")
FIGURE_FIELDS = ("quantity", "where", "value")
RANGE = 2


class ClaimsFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file claims."""

    claims: tuple[Claim, ...] = ()
    figures: tuple[Figure, ...] = ()


class _Draft(msgspec.Struct, frozen=True):
    """A step as it is written; no duration is `None`."""

    step: Step
    lasts: bool
    parallel: bool


def load_claims(path: str, titles: Mapping[str, str]) -> ClaimsFile:
    """Read a file of claims about tasks with these ids and titles. Raises `TaskFileError` with every mistake."""
    return parse_claims(read_text(path), path, titles)


def parse_claims(content: str, source: str, titles: Mapping[str, str]) -> ClaimsFile:
    """The claims in a text. Raises `TaskFileError` with all mistakes, in the order of the file."""
    notes = Notes(source)
    root = read_tree(content, source, notes, empty="write a list of `claims:`")
    file = _Reader(notes, titles).file(root)
    if notes.problems:
        raise TaskFileError(notes.in_order())
    return file


def _range_ms(node: Node) -> tuple[int, int]:
    ends = [milliseconds(item) for item in node.value] if isinstance(node.value, list) else [milliseconds(node)]
    if not 1 <= len(ends) <= RANGE or ends != sorted(ends):
        raise WrongValue("expected a duration or a range", "write 40s or [35s, 45s]")
    return ends[0], ends[-1]


class _Reader:
    """Walks the tree of one file. What has a mistake is noted and left out."""

    def __init__(self, notes: Notes, titles: Mapping[str, str]) -> None:
        self._notes = notes
        self._titles = titles
        self._by_title = {title: task for task, title in titles.items() if title}

    def file(self, root: Node) -> ClaimsFile:
        """The whole file, as far as it is right."""
        sections = self._fields(root, "", SECTIONS)
        claims = [self._claim(node, f"claims[{index}]") for index, node in enumerate(self._list(sections, "claims"))]
        figures = [
            self._figure(node, f"figures[{index}]") for index, node in enumerate(self._list(sections, "figures"))
        ]
        if not claims and not figures:
            self._notes.refuse(root.place, "claims", "nothing is claimed", "write a list of `claims:`")
        return ClaimsFile(
            claims=tuple(claim for claim in claims if claim is not None),
            figures=tuple(figure for figure in figures if figure is not None),
        )

    def _claim(self, node: Node, where: str) -> Claim | None:
        fields = self._fields(node, where, CLAIM_FIELDS)
        try:
            name = text(fields["name"].node) if "name" in fields else ""
            total_ms = some_time(fields["total"].node) if "total" in fields else None
        except WrongValue as wrong:
            self._notes.refuse(node.place, where, wrong.what, wrong.remedy)
            return None
        if not name:
            self._notes.refuse(node.place, where, "the claim has no name", "give it one: `name: NAME`")
        rows = enumerate(self._list(fields, "steps"))
        drafts = [draft for index, row in rows if (draft := self._step(row, f"{where}.steps[{index}]")) is not None]
        timed = [draft for draft in drafts if draft.lasts]
        if timed and len(timed) < len(drafts):
            missing = next(draft.step.name for draft in drafts if not draft.lasts)
            what = f"'{missing}' does not say how long it lasts, others do"
            self._notes.refuse(node.place, f"{where}.steps", what, "give `lasts` to every step, or to none")
        order = tuple(
            Group(name=draft.step.name, tasks=draft.step.tasks, sequential=not draft.parallel)
            for draft in drafts
            if draft.step.tasks
        )
        if not timed:
            return Claim(name=name, order=order, total_ms=total_ms)
        account = Account(name=name, steps=tuple(draft.step for draft in timed), total_ms=total_ms)
        return Claim(name=name, order=order, account=account)

    def _step(self, node: Node, where: str) -> _Draft | None:
        fields = self._fields(node, where, STEP_FIELDS)
        try:
            return self._draft(fields, where)
        except WrongValue as wrong:
            self._notes.refuse(node.place, where, wrong.what, wrong.remedy)
            return None

    def _draft(self, fields: Mapping[str, Member], where: str) -> _Draft:
        is_swap = "swap" in fields
        if is_swap == ("phase" in fields):
            raise WrongValue("a step is a phase or a swap", "write `phase: NAME` or `swap: NAME`")
        if is_swap and (extra := sorted(fields.keys() & {"tasks", "agents", "parallel"})):
            raise WrongValue(f"a swap has no {extra[0]}", "write `phase: NAME` where work is done")
        name = text(fields["swap" if is_swap else "phase"].node)
        if not is_swap and "tasks" not in fields:
            raise WrongValue(f"phase '{name}' has no tasks", "list its `tasks:`")
        step = Step(
            name=f"the swap from {name}" if is_swap else name,
            tasks=self._tasks(fields["tasks"].node, where) if "tasks" in fields else (),
            lasts_ms=milliseconds(fields["lasts"].node) if "lasts" in fields else 0,
            agents=count(fields["agents"].node) if "agents" in fields else None,
        )
        parallel = flag(fields["parallel"].node) if "parallel" in fields else True
        return _Draft(step, "lasts" in fields, parallel)

    def _tasks(self, node: Node, where: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for word in texts(node):
            if is_wildcard(word):
                names = matching(word, self._titles)
            else:
                names = (word,) if word in self._titles else (self._by_title.get(word, ""),)
            if not names or not names[0]:
                known = {*self._titles, *self._by_title}
                self._notes.refuse(node.place, where, f"no task '{word}' is planned", nearest(word, known))
                continue
            found.update(dict.fromkeys(names))
        return tuple(found)

    def _figure(self, node: Node, where: str) -> Figure | None:
        fields = self._fields(node, where, FIGURE_FIELDS)
        if missing := [name for name in FIGURE_FIELDS if name not in fields]:
            if isinstance(node.value, dict):
                self._notes.refuse(node.place, where, f"it has no {missing[0]}", f"write `{missing[0]}:`")
            return None
        value = fields["value"].node
        try:
            least_ms, most_ms = _range_ms(value)
            quantity, place = text(fields["quantity"].node), text(fields["where"].node)
        except WrongValue as wrong:
            self._notes.refuse(value.place, where, wrong.what, wrong.remedy)
            return None
        return Figure(quantity=quantity, where=place, least_ms=least_ms, most_ms=most_ms)

    def _fields(self, node: Node, where: str, known: tuple[str, ...]) -> dict[str, Member]:
        if not isinstance(node.value, dict):
            what = f"expected {' and '.join(known[:2])}, got {named(node)}"
            self._notes.refuse(node.place, where or "claims", what, f"write `{known[0]}:`")
            return {}
        fields = {}
        for name, member in node.value.items():
            if name in known:
                fields[name] = member
            else:
                self._notes.refuse(member.place, where or name, f"unknown field '{name}'", nearest(name, known))
        return fields

    def _list(self, fields: Mapping[str, Member], name: str) -> list[Node]:
        member = fields.get(name)
        if member is None or member.node.value is None:
            return []
        if not isinstance(member.node.value, list):
            self._notes.refuse(member.place, name, f"expected a list, got {named(member.node)}", "begin each with `- `")
            return []
        return member.node.value
