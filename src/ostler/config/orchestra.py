"""`orchestra-config.json`: a pipeline in phases of agents, and endpoints with models and aliases.

{"pipelineMode": {"enabled": true, "strategy": "...", "phases": [{"name", "model", "fallback", "agents", ...}]},
 "llmRouting": {"endpoints": {"NAME": {"url", "models": {"SHORT": "MODEL"}, "aliases": {"ALIAS": "MODEL"}}}}}
"""

from ostler.config.foreign import Foreign, ForeignEndpoint, ForeignModel, ForeignPhase, Reader
from ostler.config.nodes import Member, Node

SECTIONS = ("pipelineMode", "llmRouting")
"""By these the file is known."""
PRIORITIES = ("low", "medium", "high")
PHASE_WORDS = ("name", "model", "fallback", "fallbackModel", "agents", "parallel", "priority")


def read_orchestra(root: Node, reader: Reader) -> Foreign:
    """What the file says. Mistakes and what is not taken over are noted by the reader."""
    top = reader.mapping(root, "", ("name", "version", "description", *SECTIONS))
    routing = reader.mapping(_node(top.get("llmRouting")), "llmRouting", ("endpoints",))
    endpoints, models = _endpoints(routing.get("endpoints"), reader)
    return Foreign(
        name=reader.text(top.get("name"), "name"),
        description=reader.text(top.get("description"), "description"),
        endpoints=endpoints,
        models=models,
        phases=_pipeline(top.get("pipelineMode"), reader),
    )


def _node(member: Member | None) -> Node | None:
    return member.node if member is not None else None


def _endpoints(section: Member | None, reader: Reader) -> tuple[tuple[ForeignEndpoint, ...], tuple[ForeignModel, ...]]:
    endpoints: list[ForeignEndpoint] = []
    aliases: dict[str, dict[str, None]] = {}
    for name, member in reader.mapping(_node(section), "llmRouting.endpoints", ()).items():
        where = f"llmRouting.endpoints.{name}"
        fields = reader.mapping(member.node, where, ("url", "models", "aliases"))
        url = reader.text(fields.get("url"), f"{where}.url")
        if not url and "url" not in fields:
            reader.refuse(member.place, where, "the endpoint has no address", "add its `url`")
        served: dict[str, None] = {}
        for kind in ("models", "aliases"):
            for short, target in reader.mapping(_node(fields.get(kind)), f"{where}.{kind}", ()).items():
                model = reader.text(target, f"{where}.{kind}.{short}")
                if model:
                    served[model] = None
                    aliases.setdefault(model, {})[short] = None
        endpoints.append(ForeignEndpoint(name=name, url=url, models=tuple(served)))
    models = tuple(ForeignModel(name=name, aliases=tuple(words)) for name, words in aliases.items())
    return tuple(endpoints), models


def _pipeline(section: Member | None, reader: Reader) -> tuple[ForeignPhase, ...]:
    fields = reader.mapping(_node(section), "pipelineMode", ("enabled", "strategy", "phases"))
    if not reader.flag(fields.get("enabled"), "pipelineMode.enabled", default=True):
        reader.notes.append("pipelineMode.enabled is false: the pipeline is written all the same")
    strategy = reader.text(fields.get("strategy"), "pipelineMode.strategy")
    if strategy:
        reader.notes.append(f"pipelineMode.strategy '{strategy}': not taken over, `ostler plan` finds the order")
    phases = [
        phase
        for index, node in enumerate(reader.items(fields.get("phases"), "pipelineMode.phases"))
        if (phase := _phase(node, f"pipelineMode.phases[{index}]", reader)) is not None
    ]
    return tuple(phases)


def _phase(node: Node, where: str, reader: Reader) -> ForeignPhase | None:
    fields = reader.mapping(node, where, PHASE_WORDS)
    name = reader.text(fields.get("name"), f"{where}.name")
    model = reader.text(fields.get("model"), f"{where}.model")
    agents = reader.texts(fields.get("agents"), f"{where}.agents")
    for word, value in (("name", name), ("model", model), ("agents", agents)):
        if not value and word not in fields and isinstance(node.value, dict):
            reader.refuse(node.place, where, f"the phase has no {word}", f"add `{word}`")
    other = "fallback" if "fallback" in fields else "fallbackModel"
    return ForeignPhase(
        name=name,
        agents=agents,
        model=model,
        fallback=reader.text(fields.get(other), f"{where}.{other}"),
        priority=reader.choice(fields.get("priority"), f"{where}.priority", PRIORITIES),
        parallel=reader.flag(fields.get("parallel"), f"{where}.parallel", default=True),
        place=node.place,
    )
