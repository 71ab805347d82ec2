"""Agents from Markdown files: YAML between two lines of `---`, then the prompt.

    ---
    model: sonnet            # a tier, an alias of one, or a model
    tools: read, grep, bash
    ---
    You are a careful reviewer ...

Every mistake is told with its line. A key that is a slip is refused, because `modle: opus` would otherwise run on
another tier in silence; keys that other tools put into such files are passed over and noted. A file without such a
head is no agent, as a README beside them is not.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ostler.config.decode import decode
from ostler.config.document import read_document
from ostler.config.mistakes import Mistakes, SettingPath
from ostler.config.nodes import Located, Member, Node, Place
from ostler.config.settings import AtLeastOne
from ostler.domain.agents import AGENT_TOOLS, AgentRole, AgentShelf
from ostler.domain.errors import Problem, ProfileError, nearest
from ostler.domain.tasks import AGENT_NAMES

BYTES_MAX = 256 * 1024
FILES_MAX = 1_000
INHERIT = "inherit"
"""A model that is left to the task."""
_FENCE = "---"
_FOREIGN = frozenset({
    "color", "mode", "permission", "permissionMode", "mcpServers", "hooks", "skills", "memory", "background", "effort",
    "isolation", "hidden", "disable", "steps", "maxTurns", "temperature", "top_p", "disallowedTools", "initialPrompt",
    "version", "author", "tags", "license",
})  # fmt: skip
"""Keys of other tools' agent files that change nothing here."""
_TOOLS = {
    **{name: name for name in AGENT_TOOLS},
    "multiedit": "edit",
    "notebookedit": "edit",
    "patch": "edit",
    "ls": "glob",
    "list": "glob",
    "agent": "task",
    "todowrite": "todo",
    "todoread": "todo",
}
"""What agent command lines call their tools, in lower case."""


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The head of a file as it is written."""

    name: str | None = None
    description: str = ""
    role: str | None = None
    model: str | None = None
    fallback: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    runner: str | None = None
    type: str | None = None
    context_tokens: AtLeastOne | None = None
    max_output: AtLeastOne | None = None
    timeout_ms: AtLeastOne | None = None
    local_only: bool = False


def read_agents(folders: Sequence[str]) -> AgentShelf:
    """All agents of these folders and the folders in them; the first file of a name counts. Reads files."""
    roles: dict[str, AgentRole] = {}
    problems: dict[str, tuple[Problem, ...]] = {}
    passed_over: list[str] = []
    for path in _files(folders, problems):
        try:
            role = parse_agent(path.read_bytes(), str(path))
        except OSError as error:
            problems[path.stem] = (Problem(f"cannot read the agent: {error.strerror}", where=str(path)),)
        except ProfileError as error:
            problems[path.stem] = error.problems
        else:
            if role is None:
                passed_over.append(str(path))
            elif role.name in roles:
                there = f"the agent '{role.name}' is in {roles[role.name].place} already"
                problems[role.name] = (Problem(there, where=str(path), remedy="give it another `name:`"),)
            else:
                roles[role.name] = role
    return AgentShelf(roles=roles, problems=problems, passed_over=tuple(passed_over))


def parse_agent(data: bytes, source: str) -> AgentRole | None:
    """The agent of one file; `None` for a file without a head. Raises `ProfileError` with all mistakes."""
    if len(data) > BYTES_MAX:
        raise _refused(f"the file has {len(data)} bytes, an agent at most {BYTES_MAX}", source, "shorten its prompt")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _refused("this is not UTF-8", f"{source}:{line}", "save the file as UTF-8") from None
    if not lines or lines[0].rstrip() != _FENCE:
        return None
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise _refused("the head has no end", f"{source}:1", "write a line of `---` between it and the prompt")
    # An empty line for the fence, so that lines count as in the file.
    return _role("\n".join(["", *lines[1:end]]), "\n".join(lines[end + 1 :]).strip(), source)


def _files(folders: Sequence[str], problems: dict[str, tuple[Problem, ...]]) -> Iterable[Path]:
    for folder in folders:
        path = Path(folder)
        if not path.is_dir():
            remedy = "make it, or correct agents.folders"
            problems[folder] = (Problem("there is no such folder of agents", where=folder, remedy=remedy),)
            continue
        yield from sorted(found for found in path.rglob("*.md") if found.is_file())[:FILES_MAX]


def _role(head: str, prompt: str, source: str) -> AgentRole:
    places: dict[SettingPath, Place] = {}
    mistakes = Mistakes(places, source)
    root = Node({}, Place(source, 1))
    foreign: tuple[str, ...] = ()
    if any(line.strip() and not line.lstrip().startswith("#") for line in head.splitlines()):
        whole, found = _read(head, source)
        mistakes.include(found)
        root, foreign = _known(whole)
    written = decode(_Head, root, mistakes, places)
    tools = _tools(written.tools, mistakes)
    if written.runner is not None and written.runner not in AGENT_NAMES:
        what = f"there is no agent command line '{written.runner}'"
        mistakes.add(("runner",), what, nearest(written.runner, AGENT_NAMES))
    name = written.name if written.name is not None else Path(source).stem
    if not name.isprintable() or not name.strip() or " " in name:
        mistakes.add(("name",), f"'{name}' is no name", "letters, digits and hyphens, without spaces")
    if mistakes.problems:
        raise ProfileError(mistakes.problems)
    return AgentRole(
        name=name,
        place=source,
        description=written.description,
        prompt=prompt,
        role=written.role,
        model_place=str(mistakes.place_of(("model",))),
        model=None if written.model in (None, INHERIT) else written.model,
        fallback_models=written.fallback,
        tools=tools,
        runner=written.runner,
        task_type=written.type,
        context_tokens=written.context_tokens,
        max_output_tokens=written.max_output,
        timeout_s=written.timeout_ms / 1_000 if written.timeout_ms is not None else None,
        local_only=written.local_only,
        notes=foreign,
    )


def _read(head: str, source: str) -> tuple[Node, list[Located]]:
    try:
        return read_document(head, source)
    except ProfileError as error:
        if error.problems[0].what.startswith("not YAML"):
            raise
        raise _refused("the head is no mapping", f"{source}:2", "write `name: value` lines") from None


def _known(root: Node) -> tuple[Node, tuple[str, ...]]:
    """The head without keys of other tools, and what these are. Lists may be written as people do: `read, bash`."""
    members = root.value if isinstance(root.value, dict) else {}
    kept = {key: member for key, member in members.items() if key not in _FOREIGN}
    foreign = tuple(f"`{key}` changes nothing here" for key in members if key in _FOREIGN)
    for key in ("tools", "fallback"):
        if key in kept:
            kept[key] = Member(_as_list(kept[key].node), kept[key].place)
    return Node(kept, root.place), foreign


def _as_list(node: Node) -> Node:
    if isinstance(node.value, str):
        words = [word.strip() for word in node.value.split(",")]
        return Node([Node(word, node.place) for word in words if word], node.place)
    if isinstance(node.value, dict) and all(isinstance(each.node.value, bool) for each in node.value.values()):
        # `write: false` takes one tool away from all.
        said = {_TOOLS.get(key.lower(), key): each.node.value for key, each in node.value.items()}
        left = [tool for tool in AGENT_TOOLS if said.pop(tool, True)]
        return Node([Node(word, node.place) for word in (*left, *said)], node.place)
    return node


def _tools(written: Iterable[str], mistakes: Mistakes) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word in written:
        plain = _TOOLS.get(word.lower())
        if plain is None:
            narrowed = "(" in word
            what = f"'{word}' is narrower than a tool" if narrowed else f"there is no tool '{word}'"
            remedy = f"write {word.partition('(')[0].lower()}" if narrowed else nearest(word.lower(), _TOOLS)
            mistakes.add(("tools",), what, remedy)
            continue
        found[plain] = None
    return tuple(tool for tool in AGENT_TOOLS if tool in found)


def _refused(what: str, where: str, remedy: str) -> ProfileError:
    return ProfileError([Problem(what, where=where, remedy=remedy)])
