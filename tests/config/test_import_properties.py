"""Generated files of the other systems: what is imported passes its own check and means what the file meant."""

import json
from collections.abc import Sized
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.cli.taskfile import parse_task_file
from ostler.config.foreign import ForeignFileError, parse_foreign
from ostler.config.importing import import_trees
from ostler.config.load import load_text
from ostler.config.settings import LoadedProfile
from ostler.config.sources import Source
from tests.config.test_import import KNOWN

Document = dict[str, Any]
NAMES = st.text("abcdefghij0123456789", min_size=1, max_size=6).map(lambda text: f"m{text}")
AGENTS = st.text("ABCDEF ghijkl-0123", min_size=1, max_size=12).filter(
    lambda text: any(sign.isalnum() for sign in text)
)


def loaded(text: str) -> LoadedProfile:
    source = Source(path=Path("/nowhere/ostler.yaml"), label="imported", name="imported")
    return load_text(text, source, {"HOME": "/nowhere"}, Path("/nowhere"))


@st.composite
def proxies(draw: st.DrawFn) -> Document:
    """A ccproxy file: models with aliases, sizes, windows, priorities."""
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=6))
    return {
        "models": {
            "default": draw(st.sampled_from(names)),
            "available": [
                {
                    "name": name,
                    "alias": [f"{name}-{word}" for word in draw(st.lists(st.sampled_from("xyz"), unique=True))],
                    "memory": f"{draw(st.integers(1, 80))}GB",
                    "context": draw(st.sampled_from(["8k", "32k", "128k", 100_000])),
                    "priority": draw(st.sampled_from(["low", "medium", "high"])),
                }
                for name in names
            ],
        },
        "memory_management": {
            "max_loaded_models": draw(st.integers(1, 4)),
            "swap_strategy": "lru",
            "preload": draw(st.sampled_from(names)),
        },
    }


@given(proxies())
@settings(deadline=None)
def test_a_proxy_becomes_a_profile_that_means_the_same(document: Document) -> None:
    """Every model and alias is there; what is preloaded fits; the ladder has a step for each model, by priority."""
    found = import_trees([("f", parse_foreign(json.dumps(document), "f"))], KNOWN)
    catalog = loaded(found.profile).policy.catalog
    rows = {row["name"]: row for row in document["models"]["available"]}

    assert set(catalog.models) == set(rows), "no model is lost, none is made up"
    for name, row in rows.items():
        assert catalog.models[name].memory_bytes == int(row["memory"].removesuffix("GB")) * 10**9
        assert all(catalog.model_aliases[alias] == name for alias in row["alias"]), "an alias goes on meaning its model"
    (host,) = catalog.hosts.values()
    sizes = sorted((spec.memory_bytes or 0 for spec in catalog.models.values()), reverse=True)
    limit = host.max_resident_models or 0
    assert host.memory_bytes == sum(sizes[:limit]), "the machine holds what is loaded at once"
    order = {"low": 0, "medium": 1, "high": 2}
    ladder = [model for tier in catalog.tiers for model in tier.models]
    ranks = [order[rows[model]["priority"]] for model in ladder]
    assert sorted(ladder) == sorted(rows)
    assert ranks == sorted(ranks), "a higher priority is never on a lower step"


@st.composite
def orchestras(draw: st.DrawFn) -> Document:
    """An orchestra file: one endpoint, phases of agents that are named once."""
    models = draw(st.lists(NAMES, unique=True, min_size=1, max_size=4))
    agents = draw(st.lists(AGENTS, unique_by=slug, min_size=1, max_size=9))
    cuts = sorted(draw(st.lists(st.integers(1, len(agents)), unique=True, max_size=3)) or [len(agents)])
    groups = [agents[start:end] for start, end in zip([0, *cuts], [*cuts, len(agents)], strict=False)]
    return {
        "name": "made",
        "pipelineMode": {
            "phases": [
                {
                    "name": f"phase {number}",
                    "model": draw(st.sampled_from(models)),
                    "agents": group,
                    "parallel": draw(st.booleans()),
                }
                for number, group in enumerate(groups)
                if group
            ]
        },
        "llmRouting": {
            "endpoints": {"proxy": {"url": "http://box:4000/v1", "models": {f"short-{name}": name for name in models}}}
        },
    }


def slug(agent: str) -> str:
    """What the id of an agent is made of, for telling agents apart."""
    return "-".join("".join(sign if sign.isalnum() else " " for sign in agent.lower()).split())


@given(orchestras())
@settings(deadline=None)
def test_phases_become_needs_that_keep_their_order(document: Document) -> None:
    """Each agent is one task; it needs the whole phase before, or its forerunner where a phase runs one by one."""
    found = import_trees([("f", parse_foreign(json.dumps(document), "f"))], KNOWN)
    loaded(found.profile)
    assert found.pipeline is not None
    file = parse_task_file(found.pipeline, "pipeline.yaml")
    phases = document["pipelineMode"]["phases"]

    assert [spec.title for spec in file.specs] == [agent for phase in phases for agent in phase["agents"]]
    ids = iter(file.specs)
    before: list[str] = []
    for phase in phases:
        mine: list[str] = []
        for _ in phase["agents"]:
            spec = next(ids)
            chained = bool(mine) and not phase["parallel"]
            assert list(spec.needs) == ([mine[-1]] if chained else before), "the order of the phases is kept"
            assert spec.model == phase["model"]
            mine.append(spec.id)
        before = mine


@given(st.text(max_size=120))
@settings(deadline=None)
def test_any_text_is_imported_or_refused(text: str) -> None:
    """No file, however odd, ends in anything but a profile or a list of mistakes."""
    problems: Sized = ()
    try:
        found = import_trees([("f", parse_foreign(text, "f"))], KNOWN)
    except ForeignFileError as error:
        problems = error.problems
    else:
        loaded(found.profile)
        problems = found.notes

    assert len(problems) > 0
