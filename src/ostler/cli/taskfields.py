"""The fields of a task in a task file: how each is written, and which field of `TaskSpec` it becomes. Pure.

A decoder takes the node of one field and gives the value, or raises `WrongValue` with what is wrong and a remedy; the
loader adds the place. Fields are named as the flags of `ostler submit`; the names of `TaskSpec` and of other tools
get a remedy.
"""

import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from ostler.cli.spec import PRIORITIES
from ostler.config.nodes import Node
from ostler.config.units import parse_duration_ms, parse_tokens
from ostler.domain.catalog import Capability
from ostler.domain.errors import nearest
from ostler.domain.talk import ROLES, Message
from ostler.domain.tasks import AGENT_NAMES, Complexity, ResultsRule, TaskKind

Decoder = Callable[[Node], object]


class WrongValue(Exception):
    """A value that is not what the field takes."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Field(NamedTuple):
    """The field of `TaskSpec` that is meant, and how it is read."""

    attribute: str
    decode: Decoder


def text(node: Node) -> str:
    """A text; numbers and truth values are not taken for it."""
    if not isinstance(node.value, str):
        remedy = "put it in quotes" if isinstance(node.value, bool | int | float) else ""
        raise WrongValue(f"expected a text, got {named(node)}", remedy)
    return node.value


def flag(node: Node) -> bool:
    """True or false."""
    if not isinstance(node.value, bool):
        raise WrongValue(f"expected true or false, got {named(node)}", "write true or false")
    return node.value


def count(node: Node) -> int:
    """A whole number from 1 up."""
    if isinstance(node.value, bool) or not isinstance(node.value, int) or node.value < 1:
        raise WrongValue(f"expected a whole number from 1 up, got {named(node)}")
    return node.value


def temperature(node: Node) -> float:
    """A number from 0 to 2."""
    if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not 0 <= node.value <= 2:  # noqa: PLR2004
        raise WrongValue(f"expected a number from 0 to 2, got {named(node)}")
    return float(node.value)


def tokens(node: Node) -> int:
    """Tokens, plain or like `128k`."""
    if not isinstance(node.value, str):
        return count(node)
    try:
        return parse_tokens(node.value)
    except ValueError:
        raise WrongValue(f"expected a number of tokens, got {named(node)}", "write 32768 or 32k") from None


def milliseconds(node: Node) -> int:
    """A duration with its unit."""
    try:
        return parse_duration_ms(text(node))
    except (ValueError, WrongValue):
        raise WrongValue(f"expected a duration, got {named(node)}", "write a unit too: 500ms, 90s, 5m or 2h") from None


def seconds(node: Node) -> float:
    """A duration with its unit, in seconds."""
    return milliseconds(node) / 1000


def some_time(node: Node) -> int:
    """A duration that is not nothing."""
    duration_ms = milliseconds(node)
    if duration_ms < 1:
        raise WrongValue(f"expected a duration, got {named(node)}", "write how long it runs, such as 15m")
    return duration_ms


def texts(node: Node) -> tuple[str, ...]:
    """Several texts; one alone needs no list."""
    if isinstance(node.value, list):
        return tuple(text(item) for item in node.value)
    return (text(node),)


def distinct(node: Node) -> tuple[str, ...]:
    """Several texts, each once; one alone needs no list."""
    names = texts(node)
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise WrongValue(f"'{twice}' is given twice", "keep one")
    return names


def pairs(node: Node) -> dict[str, str]:
    """Names and texts."""
    if not isinstance(node.value, dict):
        raise WrongValue(f"expected names with values, got {named(node)}", "write `NAME: value` lines")
    return {name: text(member.node) for name, member in node.value.items()}


def command(node: Node) -> tuple[str, ...]:
    """A command line, or a list of program and arguments; no shell takes part."""
    if isinstance(node.value, list):
        argv = texts(node)
    else:
        try:
            argv = tuple(shlex.split(text(node)))
        except ValueError as error:
            raise WrongValue(f"this is no command: {error}", "close the quote") from None
    if not argv:
        raise WrongValue("the command is empty", "write a program and its arguments")
    return argv


def commands(node: Node) -> tuple[tuple[str, ...], ...]:
    """Several commands; one alone needs no list."""
    if isinstance(node.value, list):
        return tuple(command(item) for item in node.value)
    return (command(node),)


def talk(node: Node) -> tuple[Message, ...]:
    """What was said before: a list of `ROLE: TEXT`."""
    if not isinstance(node.value, list):
        raise WrongValue(f"{named(node)} is no talk", "write a list of '- user: ...' and '- assistant: ...'")
    said = []
    for item in node.value:
        if not isinstance(item.value, dict) or len(item.value) != 1:
            raise WrongValue(f"{named(item)} is no message", "write '- user: ...' or '- assistant: ...'")
        ((role, member),) = item.value.items()
        if role not in ROLES:
            raise WrongValue(f"'{role}' is no role", nearest(role, ROLES))
        said.append(Message(role=role, text=text(member.node)))
    return tuple(said)


def choice(values: Mapping[str, object]) -> Decoder:
    """One of a few names."""

    def decode(node: Node) -> object:
        if not isinstance(node.value, str) or node.value not in values:
            raise WrongValue(f"{named(node)} is no valid choice", nearest(str(node.value), values))
        return values[node.value]

    return decode


def choices(kind: type[StrEnum]) -> Decoder:
    """Several of a few names."""
    one = choice({member.value: member for member in kind})

    def decode(node: Node) -> object:
        return frozenset(one(item) for item in (node.value if isinstance(node.value, list) else [node]))

    return decode


def named(node: Node) -> str:
    """What a value is, for a message."""
    if node.value is None:
        return "nothing"
    if isinstance(node.value, dict):
        return "names with values"
    if isinstance(node.value, list):
        return "a list"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    return f"'{node.value}'" if isinstance(node.value, str) else str(node.value)


def _members(kind: type[StrEnum]) -> dict[str, object]:
    return {member.value: member for member in kind}


FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "id": Field("id", text),
        "kind": Field("kind", choice(_members(TaskKind))),
        "title": Field("title", text),
        "prompt": Field("prompt", text),
        "system": Field("system", text),
        "talk": Field("talk", talk),
        "command": Field("argv", command),
        "cwd": Field("cwd", text),
        "env": Field("env", pairs),
        "timeout": Field("timeout_s", seconds),
        "runner": Field("runner", choice({name: name for name in AGENT_NAMES})),
        "agent": Field("agent", text),
        "tools": Field("tools", texts),
        "repo": Field("repo", text),
        "branch": Field("branch", text),
        "touches": Field("file_hints", texts),
        "success_criteria": Field("success_criteria", texts),
        "verify": Field("verify", commands),
        "needs": Field("needs", texts),
        "results": Field("results", choice(_members(ResultsRule))),
        "requires": Field("requires", lambda node: frozenset(texts(node))),
        "worker": Field("worker", text),
        "priority": Field("priority", choice(PRIORITIES)),
        "critical": Field("critical", flag),
        "optional": Field("optional", flag),
        "complexity": Field("complexity", choice(_members(Complexity))),
        "type": Field("task_type", text),
        "tier": Field("tier", text),
        "model": Field("model", text),
        "fallback": Field("fallback_models", distinct),
        "endpoint": Field("endpoint", text),
        "local_only": Field("local_only", flag),
        "capabilities": Field("capabilities", choices(Capability)),
        "context": Field("context_tokens", tokens),
        "max_output": Field("max_output_tokens", tokens),
        "temperature": Field("temperature", temperature),
        "recent_errors": Field("recent_errors", texts),
        "max_attempts": Field("max_attempts", count),
        "ttl": Field("ttl_ms", milliseconds),
        "owner": Field("owner", text),
        "answer_within": Field("answer_within_ms", milliseconds),
        "session": Field("session", text),
        "tick": Field("tick", text),
        "role": Field("role", text),
        "phase": Field("phase", text),
        "expected": Field("expected_ms", some_time),
        "labels": Field("metadata", pairs),
    }
)
"""Every field of a task, in the order of the documentation."""

OWN = frozenset({"id", "needs", "title", "prompt", "command"})
"""Fields that say which task it is: they have no default."""

MEANT: Mapping[str, str] = MappingProxyType(
    {
        **{field.attribute: name for name, field in FIELDS.items() if field.attribute != name},
        "name": "id",
        "depends_on": "needs",
        "dependencies": "needs",
        "after": "needs",
        "cmd": "command",
        "run": "command",
        "files": "touches",
        "capability": "capabilities",
        "task": "prompt",
        "fallbacks": "fallback",
        "fallback_model": "fallback",
        "duration": "expected",
        "estimate": "expected",
        "local": "local_only",
    }
)
"""Names that are not used here, and the field that is meant."""
