"""The model of a headless agent's run: first it calls a tool, and when the result is there it says that it is done.

The tool is chosen from those the request offers, by what agent command lines call theirs: a tool that writes a file,
else one that runs a command. Requests without tools (a title for the session, a summary) get a short text.
"""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from tests.gateway.dialects import AnswerDialect, Said, Tool
from tests.gateway.plays import answers
from tests.gateway.upstream import Call, Json, Play, Step

FINAL_TEXT = "The stable is swept and the note is written."
FILE_LISTING = "return a *file listing*"
"""What an agent without tools (aider) asks for: whole files, written between its words."""
SIDE_TEXT = "A note for the stable"
WRITERS = ("write", "write_file", "create_file")
SHELLS = ("bash", "shell", "run_command", "exec_command")
COMMAND_FIELDS = ("command", "cmd")
SUB_AGENTS = ("agent", "task")
SUB_TYPES = {"agent": "general-purpose", "task": "general"}
SUB_PROMPT = "Write the note that is asked for, in the very folder you are in."
SUB_CALL = "call_sub_1"
BUILT_IN = ("namespace", "web_search", "custom")
"""Kinds of tools that are no function of the client's by itself."""
PATH_FIELDS = ("file_path", "filePath", "path", "filename")


def writes_note(path: str, content: str, *, endless: bool = False) -> Play:
    """The play of an agent that leaves `content` in the file `path`. `endless`: it does so over and over."""

    def agent(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        body = call.json
        if endless and _offered(body):
            tool = _chosen(dict(_offered(body)), path, content)
            return answers(Said(text="Once more.", tools=(tool,), finish="tools"))(call, dialect)
        return answers(what_it_says(body, dialect, path, content))(call, dialect)

    return agent


def delegates(path: str, content: str) -> Play:
    """The play of an agent that lets a sub-agent of its own leave `content` in the file `path`."""

    def agent(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        body, names = call.json, {name.lower(): name for name, _ in _offered(call.json)}
        told, came_back = json.dumps(body), f'"{SUB_CALL}"'
        if SUB_PROMPT in told and came_back not in told:
            said = what_it_says(body, dialect, path, content)  # the sub-agent itself
        elif came_back in told or not names:
            said = Said(text=FINAL_TEXT if names else SIDE_TEXT)
        else:
            name = next(names[wanted] for wanted in SUB_AGENTS if wanted in names)
            asked = {"description": "Write the note", "prompt": SUB_PROMPT, "subagent_type": SUB_TYPES[name.lower()]}
            said = Said(text="Somebody else writes it.", tools=(Tool(SUB_CALL, name, asked),), finish="tools")
        return answers(said)(call, dialect)

    return agent


def what_it_says(body: Json, dialect: AnswerDialect, path: str, content: str) -> Said:
    """The answer to one request of the run."""
    tools = dict(_offered(body))
    if not tools and FILE_LISTING in json.dumps(body):
        return Said(text=f"I write the note.\n\n{PurePosixPath(path).name}\n```\n{content}\n```\n")
    if not tools:
        return Said(text=SIDE_TEXT)
    if has_result(body):
        return Said(text=FINAL_TEXT)
    return Said(text="I write the note.", tools=(_chosen(tools, path, content),), finish="tools")


def has_result(body: Json) -> bool:
    """Whether a tool has given its result, in any of the formats."""
    for turn in body.get("messages") or body.get("input") or ():
        if turn.get("role") == "tool" or turn.get("type") == "function_call_output":
            return True
        content = turn.get("content")
        blocks = content if isinstance(content, list) else []
        if any(block.get("type") == "tool_result" for block in blocks):
            return True
    return False


def _offered(body: Json) -> list[tuple[str, Json]]:
    """Names and schemas of the tools of a request, in any of the formats."""
    functions = [tool.get("function", tool) for tool in body.get("tools") or () if tool.get("type") not in BUILT_IN]
    schemas = [function.get("parameters", function.get("input_schema", {})) for function in functions]
    return [(function["name"], schema) for function, schema in zip(functions, schemas, strict=True)]


def _chosen(tools: dict[str, Json], path: str, content: str) -> Tool:
    by_name = {name.lower(): name for name in tools}
    for wanted in WRITERS:
        if wanted in by_name:
            name = by_name[wanted]
            field = next(field for field in PATH_FIELDS if field in tools[name]["properties"])
            return Tool("call_note_1", name, {field: path, "content": content})
    shell = next(by_name[wanted] for wanted in SHELLS if wanted in by_name)
    field = next(field for field in COMMAND_FIELDS if field in tools[shell]["properties"])
    return Tool("call_note_1", shell, {field: f"printf '%s' '{content}' > '{path}'"})
