"""Agents as files say them: a role with a prompt, a model or tier, and tools. What a task takes on when it names one.

A role only fills in what its task leaves open; the task's own word counts first. `model` stays a name: a tier of the
ladder (or an alias) is resolved to a model when the task is dispatched, with all the fallback of that tier.
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.errors import Problem

AGENT_TOOLS = ("read", "glob", "grep", "edit", "write", "bash", "webfetch", "websearch", "task", "todo")
"""Tools by the names that all agent command lines share here."""


class AgentRole(msgspec.Struct, frozen=True, kw_only=True):
    """One agent. What is `None` or empty is left open."""

    name: str
    place: str
    """The file it was read from."""
    description: str = ""
    prompt: str = ""
    role: str | None = None
    model: str | None = None
    """A tier, an alias of one, or a model."""
    model_place: str = ""
    """Where that is written."""
    fallback_models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    """Those it may use; empty = all that its command line has."""
    runner: str | None = None
    task_type: str | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    timeout_s: float | None = None
    local_only: bool = False
    notes: tuple[str, ...] = ()
    """What of its file means nothing here."""


class AgentShelf(msgspec.Struct, frozen=True, kw_only=True):
    """All agents of some folders, and what is wrong with files of theirs."""

    roles: Mapping[str, AgentRole] = {}
    problems: Mapping[str, tuple[Problem, ...]] = {}
    """By the name that the agent would have."""
    passed_over: tuple[str, ...] = ()
    """Files that are no agents."""
