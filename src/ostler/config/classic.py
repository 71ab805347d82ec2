"""The four classic tiers have defaults: one that a ladder of such tiers refers to need not be written.

`local_cheap`, `local_strong`, `cheap_cloud` and `expensive_cloud` are documented with a provider and a model each, and
profiles for them often write the first and only mention the others (`task_overrides: {coding: cheap_cloud}`). What is
mentioned is filled in from the built-in profile `tiered-ladder`, at its place in the order. What is not mentioned stays
away: nobody gets a cloud tier, and its bill, without having named it. Ladders of other names, and ladders with ranks,
are left alone.
"""

from collections.abc import Iterator, Mapping

from ostler.config.document import read_document
from ostler.config.layers import merge
from ostler.config.nodes import Member, Node
from ostler.config.sources import built_in, read_text
from ostler.config.vocabulary import CONTEXT_SIZES

PROFILE = "tiered-ladder"
ORDER = tuple(CONTEXT_SIZES)
"""The classic names, cheapest first."""
REFERRING = ("task_overrides", "type_minimums", "complexity")


def with_classic_tiers(root: Node) -> Node:
    """The tree with the classic tiers that it mentions."""
    tiers = _at(root, "routing", "tiers")
    if not any(name in tiers for name in ORDER) or any("rank" in _at(member.node) for member in tiers.values()):
        return root
    missing = [name for name in ORDER if name in set(_mentioned(root)) and name not in tiers]
    if not missing:
        return root
    source = built_in(PROFILE)
    classic, _ = read_document(read_text(source), source.label)
    defaults = _at(classic, "routing", "tiers")
    filled = dict(tiers)
    for name in missing:
        filled = _inserted(filled, name, _without_aliases(defaults[name]))
    root = _replaced(root, ("routing", "tiers"), filled)
    named = {
        member.node.value for name in missing for key, member in _at(defaults[name].node).items() if key == "model"
    }
    described = {name: member for name, member in _at(classic, "models").items() if name in named}
    below = Node({"models": Member(Node(described, classic.place), classic.place)} if described else {}, classic.place)
    return merge(below, root)


def _mentioned(root: Node) -> Iterator[str]:
    for section in REFERRING:
        for member in _at(root, "routing", section).values():
            if isinstance(member.node.value, str):
                yield member.node.value
    unclassified = _at(root, "routing").get("unclassified")
    if unclassified is not None and isinstance(unclassified.node.value, str):
        yield unclassified.node.value
    yield from _at(root, "routing", "fallback", "by_tier")


def _inserted(tiers: Mapping[str, Member], name: str, tier: Member) -> dict[str, Member]:
    """The tiers with one more, before the first that is classically dearer."""
    dearer = set(ORDER[ORDER.index(name) + 1 :])
    result: dict[str, Member] = {}
    for other, member in tiers.items():
        if other in dearer and name not in result:
            result[name] = tier
        result[other] = member
    result.setdefault(name, tier)
    return result


def _at(node: Node, *path: str) -> dict[str, Member]:
    """The mapping at a path; empty when there is none."""
    for key in path:
        members = node.value if isinstance(node.value, dict) else {}
        if key not in members:
            return {}
        node = members[key].node
    return node.value if isinstance(node.value, dict) else {}


def _replaced(node: Node, path: tuple[str, ...], members: dict[str, Member]) -> Node:
    """The tree with another mapping at a path."""
    if not path:
        return Node(members, node.place)
    here = node.value if isinstance(node.value, dict) else {}
    below = here.get(path[0]) or Member(Node({}, node.place), node.place)
    return Node({**here, path[0]: Member(_replaced(below.node, path[1:], members), below.place)}, node.place)


def _without_aliases(tier: Member) -> Member:
    members = {key: member for key, member in _at(tier.node).items() if key != "aliases"}
    return Member(Node(members, tier.node.place), tier.place)
