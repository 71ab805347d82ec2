"""A profile from its sources to a `LoadedProfile`, or one error that lists every mistake.

Layers, the later over the earlier: the profile it extends, the file, `OSTLER_HUB_*` and `OSTLER_WORKER_*` variables. A
profile without tiers of its own extends `default`. Nothing is half accepted: one mistake refuses the whole profile.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ostler.config.alerting import resolve_alerts
from ostler.config.budget import resolve_budget
from ostler.config.classic import with_classic_tiers
from ostler.config.decode import decode
from ostler.config.document import read_document
from ostler.config.draft import Draft
from ostler.config.ladder import Ladder, tier_reference
from ostler.config.layers import environment_layer, merge, name_list_items
from ostler.config.mistakes import Mistakes, SettingPath
from ostler.config.nodes import Node, Place
from ostler.config.place import usual_data_dir
from ostler.config.resolve import resolve_catalog
from ostler.config.rules import check_numbers, resolve_rules
from ostler.config.schema import ProfileFile
from ostler.config.settings import AgentSettings, HubSettings, LoadedProfile, WorkerSettings, policy_version
from ostler.config.show import effective_settings
from ostler.config.sources import DEFAULT, Source, built_in, built_in_names, expand_user, find_profile, read_text
from ostler.domain.errors import ProfileError, nearest
from ostler.domain.policy import GatewayPolicy, Policy

DATABASE_FILE = "ostler.db"


def load_profile(
    path: str | Path | None, env: Mapping[str, str], *, cwd: Path | None = None, flag: str = "--profile"
) -> LoadedProfile:
    """Read, check and resolve the profile that `path` (a file or the name of a built-in profile) or the search finds.

    `flag`: where the path was given, for messages. Raises `ProfileError` with all mistakes.
    """
    folder = cwd or Path.cwd()
    return load_source(find_profile(path, env, folder, flag=flag), env, folder)


def load_source(source: Source, env: Mapping[str, str], cwd: Path) -> LoadedProfile:
    """Read, check and resolve one profile. Raises `ProfileError` with all mistakes."""
    return load_text(read_text(source), source, env, cwd)


def load_text(text: str, source: Source, env: Mapping[str, str], cwd: Path) -> LoadedProfile:
    """Check and resolve the text of a profile. Raises `ProfileError` with all mistakes."""
    root, found = read_document(text, source.label)
    places: dict[SettingPath, Place] = {}
    mistakes = Mistakes(places, source.label)
    mistakes.include(found)
    root = name_list_items(root, "endpoints", mistakes)
    root = merge(_with_base(root, mistakes), environment_layer(env))
    draft = Draft(decode(ProfileFile, root, mistakes, places), mistakes, places)
    profile = _resolve(draft, source, env, cwd)
    if mistakes.problems:
        raise ProfileError(mistakes.problems)
    origins = {row.setting: draft.origin(row.path) for row in effective_settings(profile)}
    return msgspec.structs.replace(profile, origins=origins)


def _with_base(root: Node, mistakes: Mistakes) -> Node:
    members = root.value if isinstance(root.value, dict) else {}
    wanted = members["extends"].node.value if "extends" in members else None
    if wanted is None:
        if _has_tiers(root):
            return with_classic_tiers(root)
        wanted = DEFAULT
    elif not isinstance(wanted, str) or wanted not in built_in_names():
        what = f"there is no built-in profile '{wanted}'"
        place = members["extends"].place
        mistakes.add_unread(("extends",), what, nearest(str(wanted), built_in_names()), place=place)
        wanted = DEFAULT
    base = built_in(wanted)
    below, _ = read_document(read_text(base), base.label)
    return merge(name_list_items(below, "endpoints", mistakes), root)


def _has_tiers(root: Node) -> bool:
    node: Node | None = root
    for key in ("routing", "tiers"):
        members = node.value if node is not None and isinstance(node.value, dict) else {}
        node = members[key].node if key in members else None
    return node is not None and node.value not in (None, {})


def _resolve(draft: Draft, source: Source, env: Mapping[str, str], cwd: Path) -> LoadedProfile:
    catalog, ladder = resolve_catalog(draft)
    routing = resolve_rules(draft, ladder)
    check_numbers(draft)
    budget, money = resolve_budget(draft, ladder, catalog)
    file = draft.file
    draft.note(("name",), "the name of the profile")
    policy = Policy(
        catalog=catalog,
        routing=routing,
        scheduler=file.scheduler,
        residency=file.residency,
        gateway=GatewayPolicy(fallback_wait_ms=file.gateway.fallback_wait_ms, context_rule=file.gateway.context_rule),
        learning=file.learning,
        budget=money,
        profile=file.name or source.name,
    )
    folder = cwd if source.built_in else source.path.parent
    return LoadedProfile(
        policy=msgspec.structs.replace(policy, version=policy_version(policy)),
        worker=_worker(file.worker, env, folder),
        agents=_agents(draft, ladder, env, folder),
        gateway=file.gateway,
        alerts=file.alerts,
        alert_rules=resolve_alerts(draft),
        telemetry=file.telemetry,
        hub=_hub(draft, env, folder),
        budget=budget,
        context=file.context,
        agi_loop=file.agi_loop,
        path=source.path,
        origins={},
    )


def _hub(draft: Draft, env: Mapping[str, str], folder: Path) -> HubSettings:
    hub = draft.file.hub
    if hub.data_dir:
        data_dir = folder / expand_user(hub.data_dir, env)
    else:
        data_dir = usual_data_dir(env)
        if env.get("XDG_DATA_HOME"):
            draft.note(("hub", "data_dir"), "environment XDG_DATA_HOME")
    draft.note(("hub", "database"), "a file in hub.data_dir")
    is_url = "://" in hub.database
    database = hub.database if is_url else str(data_dir / expand_user(hub.database or DATABASE_FILE, env))
    return msgspec.structs.replace(hub, data_dir=str(data_dir), database=database)


def _worker(worker: WorkerSettings, env: Mapping[str, str], folder: Path) -> WorkerSettings:
    roots = tuple(str(folder / expand_user(root, env)) for root in worker.cwd_roots)
    repos = tuple(_repo(repo, env, folder) for repo in worker.repos)
    return msgspec.structs.replace(worker, cwd_roots=roots, repos=repos)


def _agents(draft: Draft, ladder: Ladder, env: Mapping[str, str], folder: Path) -> AgentSettings:
    agents = draft.file.agents
    judge = agents.judge
    if judge is not None:
        judge = tier_reference(draft, ladder, judge, ("agents", "judge"))
    return msgspec.structs.replace(
        agents, judge=judge, folders=tuple(str(folder / expand_user(one, env)) for one in agents.folders)
    )


def _repo(written: str, env: Mapping[str, str], folder: Path) -> str:
    """`NAME=PATH` with the path made absolute; a bare name stays."""
    name, sign, path = written.partition("=")
    return f"{name}={folder / expand_user(path, env)}" if sign else written
