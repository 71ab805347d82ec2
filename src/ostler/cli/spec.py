"""The options that describe one task, shared by `submit` and `route`, and the `TaskSpec` they make."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from ostler.cli.flags import Number
from ostler.domain.catalog import Capability
from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import AGENT_NAMES, Complexity, Priority, ResultsRule, TaskKind, TaskSpec

F = TypeVar("F", bound=Callable[..., Any])

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
ID_RULE = "1 to 128 letters, digits, or . _ - : @, beginning with a letter or digit"
MAX_INPUT_BYTES = 8 * 1024 * 1024
"""More than any model reads, and less than a hub takes in one request."""
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

PRIORITIES: Mapping[str, Priority] = {priority.name.lower(): priority for priority in Priority}

_OPTIONS = (
    click.option("--command", "is_command", is_flag=True, help="The words are a command to run: `--command -- make`."),
    click.option("--kind", type=click.Choice([kind.value for kind in TaskKind]), help="Kind of work."),
    click.option("--title", metavar="TEXT", help="Name to show in lists."),
    click.option("--system", metavar="TEXT", help="System prompt."),
    click.option("--tier", metavar="NAME", help="Run on this tier of the ladder; aliases count."),
    click.option("--model", metavar="NAME", help="Run on this model."),
    click.option("--fallback", metavar="MODEL", multiple=True, help="Model that may stand in for it.  [several times]"),
    click.option("--endpoint", metavar="NAME", help="Run on this endpoint."),
    click.option("--complexity", type=click.Choice([level.value for level in Complexity]), help="How hard it is."),
    click.option("--type", "task_type", metavar="NAME", help="What kind of task it is, such as `code`."),
    click.option("--local-only", is_flag=True, help="The data must not leave your own machines."),
    click.option(
        "--capability",
        "capabilities",
        multiple=True,
        type=click.Choice([capability.value for capability in Capability]),
        help="The model must be capable of this.  [may be given several times]",
    ),
    click.option("--context", "context_tokens", metavar="TOKENS", type=click.IntRange(min=1), help="Context it needs."),
    click.option("--max-output", metavar="TOKENS", type=click.IntRange(min=1), help="Longest answer."),
    click.option("--temperature", type=Number(0, 2), help="Temperature of the model."),
    click.option("--priority", type=click.Choice(list(PRIORITIES)), help="What runs first.  [default: normal]"),
    click.option("--critical", is_flag=True, help="Ignores soft spending limits."),
    click.option("--needs", metavar="ID", multiple=True, help="Run after this task.  [several times]"),
    click.option(
        "--results", type=click.Choice([rule.value for rule in ResultsRule]), help="Hand it results of needs."
    ),
    click.option("--requires", metavar="NAME", multiple=True, help="The worker must have this.  [several times]"),
    click.option("--worker", metavar="NAME", help="Run on this worker."),
    click.option("--runner", type=click.Choice(AGENT_NAMES), help="Agent command line that runs it."),
    click.option("--agent", metavar="NAME", help="Agent whose role it takes on: see `ostler agents list`."),
    click.option("--repo", metavar="NAME", help="Repository it works in."),
    click.option("--branch", metavar="NAME", help="Where an agent's work on the repository begins."),
    click.option("--cwd", metavar="DIR", help="Folder that a command runs in."),
    click.option("--env", metavar="NAME=VALUE", multiple=True, help="Environment of a command.  [several times]"),
    click.option("--touches", metavar="PATH", multiple=True, help="A file it works on.  [several times]"),
    click.option("--verify", metavar="COMMAND", multiple=True, help="Command that proves success.  [several times]"),
    click.option("--timeout", metavar="DURATION", help="Longest run of one attempt, such as `90s`."),
    click.option("--ttl", metavar="DURATION", help="Longest wait in the queue, such as `10m`."),
    click.option("--max-attempts", type=click.IntRange(min=1), help="Attempts before it is given up."),
    click.option("--owner", metavar="NAME", help="Who is asked when it needs a person."),
    click.option("--answer-within", metavar="DURATION", help="How long an answer is waited for then, such as `4h`."),
    click.option("--session", metavar="NAME", help="Conversation it belongs to."),
    click.option("--tick", metavar="NAME", help="Step of its session."),
    click.option("--label", metavar="NAME=VALUE", multiple=True, help="Note to keep with it.  [several times]"),
)


def spec_options(command: F) -> F:
    """Add the options of a task; the command takes them as keywords and hands them to `build_spec`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def new_id() -> str:
    """A new task id: `t-` and 50 random bits, readable aloud."""
    return "t-" + "".join(_BASE32[byte % 32] for byte in os.urandom(10))


def build_spec(task_id: str, words: tuple[str, ...], fields: Mapping[str, Any]) -> TaskSpec:
    """The task that the options describe. Raises `InvalidInputError` with the flag that is wrong."""
    check_id(task_id, "--id")
    argv = words if fields["is_command"] else ()
    prompt = "" if fields["is_command"] else _prompt(words)
    if fields["is_command"] and not argv:
        raise InvalidInputError("no command is given", where="--command", remedy="write it last: `--command -- make`")
    told = {
        "title": fields["title"],
        "system": fields["system"],
        "cwd": fields["cwd"],
        "runner": fields["runner"],
        "agent": fields["agent"],
        "repo": fields["repo"],
        "branch": fields["branch"],
        "worker": fields["worker"],
        "task_type": fields["task_type"],
        "tier": fields["tier"],
        "model": fields["model"],
        "endpoint": fields["endpoint"],
        "context_tokens": fields["context_tokens"],
        "max_output_tokens": fields["max_output"],
        "temperature": fields["temperature"],
        "max_attempts": fields["max_attempts"],
        "owner": fields["owner"],
        "session": fields["session"],
        "tick": fields["tick"],
        "complexity": Complexity(fields["complexity"]) if fields["complexity"] else None,
        "priority": PRIORITIES[fields["priority"]] if fields["priority"] else None,
        "timeout_s": _duration(fields, "timeout", 1000),
        "ttl_ms": _duration(fields, "ttl", 1),
        "answer_within_ms": _duration(fields, "answer_within", 1),
    }
    return TaskSpec(
        id=task_id,
        kind=_kind(fields),
        prompt=prompt,
        argv=argv,
        env=_pairs(fields["env"], "--env"),
        file_hints=fields["touches"],
        verify=tuple(split_command(command, "--verify") for command in fields["verify"]),
        needs=fields["needs"],
        results=ResultsRule(fields["results"] or ResultsRule.AUTO),
        fallback_models=fields["fallback"],
        requires=frozenset(fields["requires"]),
        critical=fields["critical"],
        local_only=fields["local_only"],
        capabilities=frozenset(Capability(name) for name in fields["capabilities"]),
        metadata=_pairs(fields["label"], "--label"),
        **{name: value for name, value in told.items() if value is not None},
    )


def check_id(task_id: str, where: str) -> None:
    """Refuse an id that could not stand in an address. Raises `InvalidInputError`."""
    if not ID.fullmatch(task_id):
        raise InvalidInputError(f"'{task_id}' cannot be an id", where=where, remedy=f"use {ID_RULE}")


def split_command(text: str, where: str) -> tuple[str, ...]:
    """A command line as an argument vector; no shell takes part. Raises `InvalidInputError`."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidInputError(f"'{text}' is no command: {error}", where=where, remedy="close the quote") from None
    if not argv:
        raise InvalidInputError("the command is empty", where=where, remedy="write a program and its arguments")
    return argv


def _prompt(words: tuple[str, ...]) -> str:
    text = _standard_input() if words == ("-",) else " ".join(words)
    if not text.strip():
        remedy = "write it as an argument, or `-` to read it from standard input"
        raise InvalidInputError("no prompt is given", where="PROMPT", remedy=remedy)
    return text


def _standard_input() -> str:
    """What is piped in. Raises `InvalidInputError` for what is no text, or more than a hub takes."""
    data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(data) > MAX_INPUT_BYTES:
        remedy = "put the text in a file that the task reads"
        raise InvalidInputError(f"more than {MAX_INPUT_BYTES} bytes", where="standard input", remedy=remedy)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError("not UTF-8 text", where="standard input", remedy="convert it first") from None


def _kind(fields: Mapping[str, Any]) -> TaskKind:
    if fields["kind"] is None:
        told = TaskKind.AGENT if fields["agent"] else TaskKind.CHAT
        return TaskKind.COMMAND if fields["is_command"] else told
    kind = TaskKind(fields["kind"])
    if (kind is TaskKind.COMMAND) != fields["is_command"]:
        raise InvalidInputError(
            "a command is told by --command, and only a command is", where="--kind", remedy="leave --kind out"
        )
    return kind


def _duration(fields: Mapping[str, Any], name: str, unit_ms: int) -> float | int | None:
    text = fields[name]
    if text is None:
        return None
    ms = duration_ms(text, f"--{name}")
    return ms if unit_ms == 1 else ms / unit_ms


def duration_ms(text: str, where: str) -> int:
    """A duration as a person writes it. Raises `InvalidInputError`."""
    from ostler.config.units import parse_duration_ms

    try:
        return parse_duration_ms(text)
    except ValueError:
        remedy = "write a number with its unit, such as 500ms, 90s, 5m or 2h"
        raise InvalidInputError(f"'{text}' is no duration", where=where, remedy=remedy) from None


def _pairs(texts: tuple[str, ...], where: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidInputError(f"'{text}' is no pair", where=where, remedy="write NAME=VALUE")
        pairs[name] = value
    return pairs
