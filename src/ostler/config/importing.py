"""Files of other systems to a profile and, where they hold one, a pipeline (`ostler config import`).

Several files are laid over each other: one tells where models are served, another how large they are. A model that one
calls `ollama/x` and another `x` is one model; its name is the one under which an endpoint serves it. What no file says
and a profile needs is filled in on the cautious side and noted. The result is a profile that passes its own check, and
nothing in it is secret, because no such file names a key.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from ostler.config.ccproxy import SECTIONS as CCPROXY
from ostler.config.ccproxy import read_ccproxy
from ostler.config.emit import Value, yaml_text
from ostler.config.foreign import Foreign, ForeignEndpoint, ForeignFileError, ForeignModel, Reader, bare
from ostler.config.nodes import Node
from ostler.config.orchestra import SECTIONS as ORCHESTRA
from ostler.config.orchestra import read_orchestra
from ostler.config.providers import host_of
from ostler.config.sizes import FoundModel, size_billions
from ostler.config.units import size_text
from ostler.domain.catalog import Catalog, ModelSpec
from ostler.domain.errors import Problem, nearest

TIER_NAMES = {1: ("local",), 2: ("small", "large"), 3: ("small", "medium", "large")}
RANKS = {"low": 0, "": 1, "medium": 1, "high": 2}
TASK_PRIORITIES = {"low": "low", "medium": "normal", "high": "high"}
OLLAMA_URL = "http://localhost:11434"
PRICES = ("input_usd_per_mtok", "output_usd_per_mtok")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the files."""

    profile: str
    """Text of an `ostler.yaml`."""
    pipeline: str | None = None
    """Text of a task file; `None` = no file holds a pipeline."""
    notes: tuple[str, ...] = ()
    """What was not taken over and what was assumed."""


def import_trees(trees: Sequence[tuple[str, Node]], known: Catalog) -> Imported:
    """Import files by their trees. `known`: where models that no file describes are looked up, such as `opus`.

    Raises `ForeignFileError` with every mistake.
    """
    reader = Reader()
    files = [_read(source, root, reader) for source, root in trees]
    if reader.problems:
        raise ForeignFileError(reader.problems)
    work = _Import(files, known)
    profile, pipeline = work.profile(), work.pipeline()
    if work.problems:
        raise ForeignFileError(work.problems)
    return Imported(profile=profile, pipeline=pipeline, notes=tuple(dict.fromkeys([*reader.notes, *work.notes])))


def _read(source: str, root: Node, reader: Reader) -> Foreign:
    names = root.value.keys() if isinstance(root.value, dict) else ()
    for sections, read in ((ORCHESTRA, read_orchestra), (CCPROXY, read_ccproxy)):
        if any(name in names for name in sections):
            return read(root, reader)
    what = "this is no configuration that can be imported"
    remedy = (
        f"known are orchestra-config.json ({', '.join(ORCHESTRA)}) and ccproxy's config.yaml ({', '.join(CCPROXY)})"
    )
    reader.problems.append(Problem(what, where=source, remedy=remedy))
    return Foreign()


class _Import:
    """One import on its way. `notes` and `problems` grow."""

    def __init__(self, files: Sequence[Foreign], known: Catalog) -> None:
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self._known = known
        self._name = next((file.name for file in files if file.name), "imported")
        self._description = [file.description for file in files if file.description]
        self._endpoints = tuple(endpoint for file in files for endpoint in file.endpoints)
        self._phases = tuple(phase for file in files for phase in file.phases)
        self._max_loaded = next((file.max_loaded for file in files if file.max_loaded is not None), None)
        self._models = _joined([model for file in files for model in file.models], self._endpoints)
        self._names = self._all_names()
        self._default = self._own(next((file.default for file in files if file.default), ""), "models.default")
        preload = [name for file in files for name in file.preload]
        self._preload = [own for name in preload if (own := self._own(name, "memory_management.preload"))]
        self._elsewhere = self._found_elsewhere()

    def profile(self) -> str:
        """The profile's text."""
        if not self._models:
            self.problems.append(Problem("no model is described", where="models", remedy="add one"))
            return ""
        ladder = self._ladder()
        standard = next((tier for tier, name in ladder.items() if name == self._default), list(ladder)[-1])
        document: dict[str, Value] = {
            "name": self._name,
            "routing": {
                "tiers": {tier: {"models": [name]} for tier, name in ladder.items()},
                "complexity": {"trivial": next(iter(ladder)), "standard": standard, "complex": list(ladder)[-1]},
                "unclassified": standard,
                "fallback": {"direction": "none"},
            },
        }
        if self._endpoints:
            document["providers"] = {endpoint.name: {"kind": "openai"} for endpoint in self._endpoints}
        document["endpoints"] = self._endpoint_list()
        hosts = self._hosts()
        if hosts:
            document["hosts"] = hosts
        document["models"] = {model.name: self._model(model) for model in self._models.values()} | self._others()
        return yaml_text(document, comment=(*self._description, "Imported; see what was assumed:", *self.notes))

    def pipeline(self) -> str | None:
        """The task file's text."""
        if not self._phases:
            return None
        tasks: list[Value] = []
        phases: list[Value] = []
        taken: dict[str, str] = {}
        before: list[str] = []
        for phase in self._phases:
            model, fallback = self._phase_models(phase.model, phase.fallback, str(phase.place))
            ids: list[str] = []
            for agent in phase.agents:
                task = re.sub(r"[^a-z0-9]+", "-", agent.lower()).strip("-") or "agent"
                if task in taken:
                    what = f"'{agent}' is an agent of phase '{taken[task]}' already"
                    self.problems.append(Problem(what, where=f"{phase.place} {phase.name}", remedy="name it once"))
                    continue
                taken[task] = phase.name
                needs = [ids[-1]] if ids and not phase.parallel else before
                fields: dict[str, Value] = {"id": task, "title": agent, "model": model}
                fields |= {"fallback": fallback} if fallback else {}
                fields |= {"priority": TASK_PRIORITIES[phase.priority]} if phase.priority else {}
                fields |= {"needs": needs} if needs else {}
                tasks.append({**fields, "prompt": f"{agent}: write here what there is to do."})
                ids.append(task)
            phases.append({"name": phase.name, "tasks": ids, **({} if phase.parallel else {"parallel": False})})
            before = ids or before
        self.notes.append("no prompts are in the file: each task names its agent, write what it has to do")
        self.notes.append("each phase became needs on the whole phase before: take out those that are not real")
        self.notes.append("no durations are in the file: add `expected` to each task before you plan with them")
        return yaml_text({"name": self._name, "phases": phases, "tasks": tasks}, comment=self._description)

    def _all_names(self) -> dict[str, str]:
        """Every name of a model -> its own. A name of two models is a problem."""
        names = {spelling: model.name for model in self._models.values() for spelling in (model.name, bare(model.name))}
        for model in self._models.values():
            for alias in model.aliases:
                other = names.setdefault(alias, model.name)
                if other != model.name:
                    what = f"'{alias}' means both '{other}' and '{model.name}'"
                    self.problems.append(Problem(what, where="aliases", remedy="remove it from one of the two"))
        return names

    def _own(self, name: str, where: str) -> str:
        if not name or name in self._names:
            return self._names.get(name, "")
        found = self._names.get(bare(name), "")
        if not found:
            what = f"no model '{name}' is described"
            self.problems.append(Problem(what, where=where, remedy=nearest(name, self._names)))
        return found

    def _ladder(self) -> dict[str, str]:
        """A tier for each model, least first: by priority, then by size."""
        models = sorted(self._models.values(), key=lambda model: (RANKS[model.priority], _size(model), model.name))
        names = TIER_NAMES.get(len(models)) or tuple(f"step{number}" for number in range(1, len(models) + 1))
        if any(model.priority for model in models):
            self.notes.append("priority: the order of the tiers, least first; it moves no work ahead of other work")
        return dict(zip(names, (model.name for model in models), strict=True))

    def _endpoint_list(self) -> list[Value]:
        if not self._endpoints:
            self.notes.append(f"endpoints: no file says where the models are served; {OLLAMA_URL} is assumed")
            return [{"name": "ollama", "provider": "ollama", "url": OLLAMA_URL, "host": "localhost"}]
        listed: list[Value] = []
        for endpoint in self._endpoints:
            models = [self._names[name] for name in endpoint.models]
            listed.append(
                {
                    "name": endpoint.name,
                    "provider": endpoint.name,
                    "url": endpoint.url,
                    "models": list(dict.fromkeys(models)),
                }
            )
            self.notes.append(
                f"endpoints.{endpoint.name}: no key, slots or prices are stated; add `api_key_env`, `slots`, and"
                " `local: true` if data sent there stays yours"
            )
        return listed

    def _hosts(self) -> dict[str, Value]:
        sizes = sorted((model.memory_bytes for model in self._models.values() if model.memory_bytes), reverse=True)
        if self._max_loaded is None and not self._preload and not sizes:
            return {}
        host = host_of(self._endpoints[0].url) if self._endpoints else "localhost"
        fields: dict[str, Value] = {}
        if sizes:
            self.notes.append("models: load times are not stated; 20 s and 10 s are assumed until they are measured")
            memory = sum(sizes[: self._max_loaded or 1])
            fields["memory"] = size_text(memory)
            self.notes.append(f"hosts.{host}.memory: not stated; {size_text(memory)} is what the loaded models need")
        if self._max_loaded is not None:
            fields["max_resident_models"] = self._max_loaded
        if self._preload:
            fields["preload"] = list(dict.fromkeys(self._preload))
        return {host: fields}

    def _model(self, model: ForeignModel) -> dict[str, Value]:
        spellings = (bare(model.name),) if bare(model.name) != model.name else ()
        aliases = [alias for alias in dict.fromkeys((*model.aliases, *spellings)) if alias != model.name]
        fields: dict[str, Value] = {} if self._endpoints else {"provider": "ollama"}
        fields |= {"aliases": aliases} if aliases else {}
        fields |= {"context": _tokens_text(model.context_tokens)} if model.context_tokens else {}
        fields |= {"memory": size_text(model.memory_bytes)} if model.memory_bytes else {}
        return fields

    def _found_elsewhere(self) -> dict[str, ModelSpec]:
        """Models that phases name and no file describes, as the known catalogue has them: name as written -> model."""
        found: dict[str, ModelSpec] = {}
        for name in [word for phase in self._phases for word in (phase.model, phase.fallback) if word]:
            tier = self._known.tier_aliases.get(name, name)
            models = next((row.models for row in self._known.tiers if row.name == tier), ())
            own = self._known.model_aliases.get(name) or (name if name in self._known.models else "")
            own = own or (models[0] if models else "")
            if own and name not in self._names and bare(name) not in self._names:
                found[name] = self._known.models[own]
                self.notes.append(f"'{name}': no file describes it; taken as {own} of the default profile")
        return found

    def _others(self) -> dict[str, Value]:
        sections: dict[str, Value] = {}
        for name, spec in self._elsewhere.items():
            whose = sorted(row.provider for row in self._known.endpoints.values() if spec.name in row.models)
            fields: dict[str, Value] = {"provider": whose[0]} if whose else {}
            fields |= {"aliases": [name]} if name != spec.name else {}
            fields |= {"context": spec.context_tokens} if spec.context_tokens else {}
            fields |= {key: value for key in PRICES if (value := getattr(spec, key)) is not None}
            sections.setdefault(spec.name, fields)
        return sections

    def _phase_models(self, model: str, fallback: str, where: str) -> tuple[str, str]:
        """Model and other model as the pipeline writes them; one that nobody has gives way to the other."""
        able = [name for name in (model, fallback) if name and self._is_known(name)]
        for name in (model, fallback):
            if name and name not in able:
                names = {*self._names, *self._elsewhere}
                if able:
                    self.notes.append(f"{where}: no file describes a model '{name}'; {able[0]} alone is used")
                else:
                    what = f"no model '{name}' is described"
                    self.problems.append(Problem(what, where=where, remedy=nearest(name, names)))
        return (able[0] if able else model), (able[1] if len(able) > 1 and able[1] != able[0] else "")

    def _is_known(self, name: str) -> bool:
        return name in self._names or bare(name) in self._names or name in self._elsewhere


def _joined(models: Iterable[ForeignModel], endpoints: Iterable[ForeignEndpoint]) -> dict[str, ForeignModel]:
    """The models of all files by the name their server uses; what several files say of one is put together."""
    served = {bare(name): name for endpoint in endpoints for name in endpoint.models}
    joined: dict[str, ForeignModel] = {}
    for model in models:
        key = bare(model.name)
        first = joined.get(key, ForeignModel(name=served.get(key, model.name)))
        joined[key] = ForeignModel(
            name=first.name,
            aliases=tuple(dict.fromkeys((*first.aliases, *model.aliases))),
            memory_bytes=first.memory_bytes or model.memory_bytes,
            context_tokens=first.context_tokens or model.context_tokens,
            priority=first.priority or model.priority,
        )
    return joined


def _size(model: ForeignModel) -> float:
    """For the order of the tiers alone: bytes, or what the name says in billions."""
    return model.memory_bytes or 1e9 * (size_billions(FoundModel(name=model.name)) or 0)


def _tokens_text(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)
