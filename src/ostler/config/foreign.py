"""What the configurations of other systems say, in words that they share; and how such a file is read.

A file is read as a tree that knows its lines, JSON too, because all of JSON is YAML. What is wrong with it is noted
with its line; what it says and Ostler does not take over is noted in words, so that nothing is lost unsaid.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from ostler.config.document import read_document
from ostler.config.nodes import Member, Node, Place
from ostler.config.sources import BYTES_MAX
from ostler.config.units import parse_bytes, parse_tokens
from ostler.domain.errors import Problem, ProfileError, nearest

T = TypeVar("T")
SELF_HOSTED = "ollama/"
"""What a proxy puts in front of the name of a model that Ollama serves."""


class ForeignModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as another system describes it."""

    name: str
    aliases: tuple[str, ...] = ()
    memory_bytes: int | None = None
    context_tokens: int | None = None
    priority: str = ""
    """`low`, `medium` or `high`; empty = not said."""


class ForeignEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A place that serves models."""

    name: str
    url: str
    models: tuple[str, ...] = ()


class ForeignPhase(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a pipeline: its agents run together, after those of the step before."""

    name: str
    agents: tuple[str, ...]
    model: str
    fallback: str = ""
    priority: str = ""
    parallel: bool = True
    place: Place


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """All that one file says. Several files are laid over each other (see `importing`)."""

    name: str = ""
    description: str = ""
    models: tuple[ForeignModel, ...] = ()
    endpoints: tuple[ForeignEndpoint, ...] = ()
    default: str = ""
    """Model of work that names none."""
    max_loaded: int | None = None
    preload: tuple[str, ...] = ()
    phases: tuple[ForeignPhase, ...] = ()
    notes: tuple[str, ...] = ()
    """What was not taken over, and why."""


class ForeignFileError(ProfileError):
    """The file cannot be imported; `problems` has every mistake found."""

    code = "invalid_import"


def bare(name: str) -> str:
    """A model's name as its own server calls it.

    >>> bare("ollama/coder:7b"), bare("coder:7b")
    ('coder:7b', 'coder:7b')
    """
    return name.removeprefix(SELF_HOSTED)


def read_foreign(path: str) -> Node:
    """The tree of a file. Raises `ForeignFileError`."""
    try:
        raw = Path(path).read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise ForeignFileError([Problem(what, where=path, remedy="check the path")]) from None
    except UnicodeDecodeError:
        raise ForeignFileError([Problem("the file is not UTF-8", where=path, remedy="save it as UTF-8")]) from None
    if len(raw) > BYTES_MAX:
        what = f"the file has {len(raw)} bytes, at most {BYTES_MAX} are read"
        raise ForeignFileError([Problem(what, where=path, remedy="is this the right file?")])
    return parse_foreign(text, path)


def parse_foreign(text: str, source: str) -> Node:
    """The tree of a text. Raises `ForeignFileError`. Tabs between the parts of JSON are blanks."""
    try:
        root, found = read_document(text.replace("\t", "  "), source)
    except ProfileError as error:
        raise ForeignFileError(_reworded(problem) for problem in error.problems) from None
    if found:
        raise ForeignFileError(_reworded(problem) for _, problem in found)
    return root


def _reworded(problem: Problem) -> Problem:
    """The reader of documents speaks of profiles, whose files it was made for."""
    what, remedy = (text.replace("profile", "file") for text in (problem.what, problem.remedy))
    return Problem(what, where=problem.where, remedy=remedy.replace("start it with a section such as `routing:`", ""))


class Reader:
    """Takes a tree apart. `problems` and `notes` grow; what is wrong gives nothing."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def mapping(self, node: Node | None, where: str, known: Iterable[str]) -> dict[str, Member]:
        """The members of a mapping. Those that are not known are noted."""
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.refuse(node.place, where, "expected names with values")
            return {}
        names = tuple(known)
        for name, member in node.value.items():
            if names and name not in names:
                path = f"{where}.{name}" if where else name
                self.notes.append(f"{member.place} {path}: not taken over, nothing here means this")
        return {name: member for name, member in node.value.items() if not names or name in names}

    def items(self, member: Member | None, where: str) -> list[Node]:
        """The items of a list."""
        if member is None:
            return []
        if not isinstance(member.node.value, list):
            self.refuse(member.place, where, "expected a list")
            return []
        return member.node.value

    def text(self, member: Member | None, where: str) -> str:
        """A text; empty when there is none."""
        if member is None or member.node.value is None:
            return ""
        if not isinstance(member.node.value, str):
            self.refuse(member.place, where, "expected a text")
            return ""
        return member.node.value

    def texts(self, member: Member | None, where: str) -> tuple[str, ...]:
        """Several texts; one alone needs no list."""
        if member is not None and isinstance(member.node.value, str):
            return (member.node.value,)
        found = []
        for item in self.items(member, where):
            if isinstance(item.value, str):
                found.append(item.value)
            else:
                self.refuse(item.place, where, "expected a text")
        return tuple(found)

    def flag(self, member: Member | None, where: str, *, default: bool) -> bool:
        """True or false."""
        if member is None:
            return default
        if not isinstance(member.node.value, bool):
            self.refuse(member.place, where, "expected true or false")
            return default
        return member.node.value

    def count(self, member: Member | None, where: str) -> int | None:
        """A whole number from 1 up."""
        if member is None:
            return None
        value = member.node.value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.refuse(member.place, where, "expected a whole number from 1 up")
            return None
        return value

    def size(self, member: Member | None, where: str) -> int | None:
        """An amount of memory, such as `32GB`."""
        return self._parsed(member, where, parse_bytes, "expected a size with its unit, such as 32GB")

    def tokens(self, member: Member | None, where: str) -> int | None:
        """A number of tokens, plain or such as `128k`."""
        return self._parsed(member, where, parse_tokens, "expected a number of tokens, such as 128k")

    def choice(self, member: Member | None, where: str, choices: Sequence[str]) -> str:
        """One of a few words; empty when there is none."""
        found = self.text(member, where)
        if found and found not in choices and member is not None:
            self.refuse(member.place, where, f"'{found}' is no valid choice", nearest(found, choices))
            return ""
        return found

    def refuse(self, place: Place, where: str, what: str, remedy: str = "") -> None:
        """Note a mistake."""
        self.problems.append(Problem(what, where=f"{place} {where}".rstrip(), remedy=remedy))

    def _parsed(self, member: Member | None, where: str, parse: Callable[[str], T], expected: str) -> T | None:
        if member is None:
            return None
        value = member.node.value
        try:
            return parse(str(value) if isinstance(value, str | int) and not isinstance(value, bool) else "")
        except ValueError:
            self.refuse(member.place, where, expected)
            return None
