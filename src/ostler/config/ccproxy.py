"""`config.yaml` of ccproxy: the models of one server, their aliases and memory, and how many are loaded at once.

models: {default: MODEL, available: [{name, alias: [...], memory: 32GB, context: 128k, priority: high}]}
memory_management: {max_loaded_models: 1, swap_strategy: lru, preload: MODEL}
"""

from ostler.config.foreign import Foreign, ForeignModel, Reader
from ostler.config.nodes import Member, Node

SECTIONS = ("models", "memory_management")
"""By these the file is known."""
PRIORITIES = ("low", "medium", "high")


def read_ccproxy(root: Node, reader: Reader) -> Foreign:
    """What the file says. Mistakes and what is not taken over are noted by the reader."""
    top = reader.mapping(root, "", SECTIONS)
    models = reader.mapping(_node(top.get("models")), "models", ("default", "available"))
    memory = reader.mapping(
        _node(top.get("memory_management")), "memory_management", ("max_loaded_models", "swap_strategy", "preload")
    )
    max_loaded = reader.count(memory.get("max_loaded_models"), "memory_management.max_loaded_models")
    strategy = reader.text(memory.get("swap_strategy"), "memory_management.swap_strategy")
    if strategy:
        reader.notes.append(f"memory_management.swap_strategy '{strategy}': {_on_strategy(max_loaded)}")
    return Foreign(
        models=tuple(
            _model(node, f"models.available[{index}]", reader)
            for index, node in enumerate(reader.items(models.get("available"), "models.available"))
        ),
        default=reader.text(models.get("default"), "models.default"),
        max_loaded=max_loaded,
        preload=reader.texts(memory.get("preload"), "memory_management.preload"),
    )


def _on_strategy(max_loaded: int | None) -> str:
    if max_loaded == 1:
        return "not taken over; with one model in memory at a time there is nothing to choose from"
    return "not taken over; the cheapest sufficient set of idle models is unloaded, never one that is in use"


def _node(member: Member | None) -> Node | None:
    return member.node if member is not None else None


def _model(node: Node, where: str, reader: Reader) -> ForeignModel:
    fields = reader.mapping(node, where, ("name", "alias", "memory", "context", "priority"))
    name = reader.text(fields.get("name"), f"{where}.name")
    if not name and "name" not in fields and isinstance(node.value, dict):
        reader.refuse(node.place, where, "the model has no name", "add `name`")
    return ForeignModel(
        name=name,
        aliases=reader.texts(fields.get("alias"), f"{where}.alias"),
        memory_bytes=reader.size(fields.get("memory"), f"{where}.memory"),
        context_tokens=reader.tokens(fields.get("context"), f"{where}.context"),
        priority=reader.choice(fields.get("priority"), f"{where}.priority", PRIORITIES),
    )
