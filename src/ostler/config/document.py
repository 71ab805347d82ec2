"""YAML 1.2 text -> a tree of nodes that know their place.

Built from the parser's events, not from its objects: a key that is given twice, a tag or a second document is a
mistake to report, where a loader would pick one or build what nobody wants.

At most `DEPTH_MAX` levels. An alias shares the node of its anchor, so that the tree is never larger than the file.
Linear in the text.
"""

from collections.abc import Iterator

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from ostler.config.nodes import Located, Member, Node, Place, resolve_plain
from ostler.domain.errors import Problem, ProfileError

DEPTH_MAX = 20
STRING_TAGS = ("!", "tag:yaml.org,2002:str")


def read_document(text: str, source: str) -> tuple[Node, list[Located]]:
    """The tree of a profile's text and the mistakes that leave the tree readable.

    Raises `ProfileError` when there is no tree: broken YAML, an empty file, no mapping at the top.
    """
    builder = _Builder(source)
    try:
        root = builder.root(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        raise ProfileError([_syntax_problem(error, source)]) from None
    except ReaderError as error:
        raise ProfileError([_character_problem(error, text, source)]) from None
    except (YAMLError, YAMLStreamError, ValueError) as error:  # what its reader and number parsing raise
        what, remedy = f"not YAML: {str(error).partition(chr(10))[0]}", "write it as plain YAML 1.2"
        raise ProfileError([Problem(what, where=source, remedy=remedy)]) from None
    return root, builder.found


def _character_problem(error: ReaderError, text: str, source: str) -> Problem:
    """A character that YAML does not allow."""
    before = text[: error.position]
    where = f"{source}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    code = ord(error.character) if isinstance(error.character, str) else error.character
    return Problem(f"not YAML: the character U+{code:04X} is not allowed", where=where, remedy="leave it out")


def _syntax_problem(error: MarkedYAMLError, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = source if mark is None else f"{source}:{mark.line + 1}:{mark.column + 1}"
    context = f" ({error.context})" if error.context and error.problem else ""
    return Problem(
        f"not YAML: {error.problem or error.context}{context}",
        where=where,
        remedy="check the indentation and the quotes of this line and the one above",
    )


class _Builder:
    """Events to nodes. `found` grows; an anchor is known once its node is complete, so no node holds itself."""

    def __init__(self, source: str) -> None:
        self.found: list[Located] = []
        self._source = source
        self._anchors: dict[str, Node] = {}

    def root(self, events: Iterator[Event]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self._refuse(event, "a second document starts here", "a profile is one document: remove the `---`")
                root = self._node(next(events), events, 0)
        if root is None or root.value is None:
            empty = Problem("the profile is empty", where=self._source, remedy="remove the file to use the defaults")
            raise ProfileError([empty])
        if not isinstance(root.value, dict):
            remedy = "start it with a section such as `routing:`"
            raise ProfileError([Problem("a profile is a mapping of sections", where=str(root.place), remedy=remedy)])
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        if depth > DEPTH_MAX:
            self._refuse(event, f"nested deeper than {DEPTH_MAX} levels", "a profile needs at most six")
        place = self._place(event)
        if isinstance(event, AliasEvent):
            anchor = str(event.anchor)
            if anchor not in self._anchors:
                self._refuse(event, f"nothing above is marked &{anchor}", "define the anchor before its use")
            return self._anchors[anchor]
        if isinstance(event, ScalarEvent):
            node = Node(self._scalar(event), place)
        elif isinstance(event, SequenceStartEvent):
            items = [self._node(item, events, depth + 1) for item in _until(events, SequenceEndEvent)]
            node = Node(items, place)
        else:
            node = Node(self._members(event, events, depth), place)
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._anchors[str(event.anchor)] = node
        return node

    def _members(self, start: Event, events: Iterator[Event], depth: int) -> dict[str, Member]:
        self._refuse_tag(start)
        members: dict[str, Member] = {}
        for event in _until(events, MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                self._refuse(event, "a key must be text", "write `name: value`")
            key = _text_of(event)
            value = self._node(next(events), events, depth + 1)
            place = self._place(event)
            if key in members:
                what = f"'{key}' is given twice (first in line {members[key].place.line})"
                self.found.append((place, Problem(what, where=str(place), remedy="keep one of the two")))
            else:
                members[key] = Member(value, place)
        return members

    def _scalar(self, event: ScalarEvent) -> bool | int | float | str | None:
        text = _text_of(event)
        if event.style is not None or event.tag in STRING_TAGS:
            return text
        self._refuse_tag(event)
        return resolve_plain(text)

    def _refuse_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in STRING_TAGS and not tag.startswith("tag:yaml.org,2002:map"):
            self._refuse(event, f"the tag {tag} has no meaning in a profile", "remove it")

    def _place(self, event: Event) -> Place:
        return Place(self._source, event.start_mark.line + 1)

    def _refuse(self, event: Event, what: str, remedy: str) -> None:
        """Stop here: what follows cannot be read as meant."""
        stop = Problem(what, where=str(self._place(event)), remedy=remedy)
        raise ProfileError([*(problem for _, problem in self.found), stop])


def _text_of(event: Event) -> str:
    return str(getattr(event, "value", ""))


def _until(events: Iterator[Event], end: type[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, end):
            return
        yield event
