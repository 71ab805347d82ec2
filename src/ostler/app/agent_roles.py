"""`ostler agents list`, `show` and `check`: the agents that a hub of this profile would know, without a hub."""

import os

from ostler.app.options import AgentList, AgentRow
from ostler.app.prices import with_list_prices
from ostler.config.agent_files import read_agents
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.domain.agents import AgentRole, AgentShelf
from ostler.domain.errors import NotFoundError, Problem, ProfileError, nearest
from ostler.domain.policy import Policy
from ostler.hub.roles import check_model, is_tier
from ostler.routing.ladder import Ladder


def list_agents(profile: str | None) -> AgentList:
    """All agents by name, with what is wrong with the files that are none. Reads files; starts nothing."""
    loaded, shelf = _read(profile)
    rows = tuple(agent_row(shelf.roles[name], loaded.policy) for name in sorted(shelf.roles))
    return AgentList(
        folders=loaded.agents.folders,
        agents=rows,
        problems=tuple(_told(problem) for problem in _problems(shelf, loaded.policy)),
        passed_over=shelf.passed_over,
    )


def show_agent(name: str, profile: str | None) -> AgentRow:
    """One agent. Raises `NotFoundError`, `ProfileError` when its file is refused."""
    loaded, shelf = _read(profile)
    role = shelf.roles.get(name)
    if role is None and name in shelf.problems:
        raise ProfileError(shelf.problems[name])
    if role is None:
        remedy = nearest(name, shelf.roles) if shelf.roles else "set agents.folders"
        raise NotFoundError(f"there is no agent '{name}'", remedy=remedy)
    return agent_row(role, loaded.policy)


def check_agents(profile: str | None) -> AgentList:
    """As `list_agents`. Raises `ProfileError` with every mistake of every file."""
    loaded, shelf = _read(profile)
    problems = _problems(shelf, loaded.policy)
    if problems:
        raise ProfileError(problems)
    return list_agents(profile)


def agent_row(role: AgentRole, policy: Policy) -> AgentRow:
    """An agent with what its model comes to on the ladder of a profile."""
    tier = Ladder(policy.catalog).find(role.model) if role.model is not None else None
    models = tier.models if tier is not None else (role.model, *role.fallback_models) if role.model else ()
    return AgentRow(role=role, tier=tier.name if tier is not None else None, models=models)


def _read(profile: str | None) -> tuple[LoadedProfile, AgentShelf]:
    loaded = with_list_prices(load_profile(profile, os.environ))
    return loaded, read_agents(loaded.agents.folders)


def _problems(shelf: AgentShelf, policy: Policy) -> list[Problem]:
    found = [problem for name in sorted(shelf.problems) for problem in shelf.problems[name]]
    for name in sorted(shelf.roles):
        role = shelf.roles[name]
        if (wrong := check_model(role, policy)) is not None:
            found.append(wrong)
        elif role.fallback_models and role.model is not None and is_tier(role.model, policy):
            what = "fallback: the models of a tier are the tier's own"
            found.append(Problem(what, where=role.place, remedy="name a model, or leave fallback out"))
    return found


def _told(problem: Problem) -> str:
    return str(problem)
