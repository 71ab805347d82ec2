"""What a profile is made of, one layer over the other: a base profile, the file, the environment.

Layers are merged as nodes, before anything is decoded: mappings key by key, everything else whole. So a mistake in any
layer is reported with its own place, and an overridden value is never looked at.
"""

from collections.abc import Mapping

import msgspec
from msgspec import inspect

from ostler.config.decode import fields_of
from ostler.config.mistakes import Mistakes
from ostler.config.nodes import Member, Node, Place, resolve_plain
from ostler.config.schema import ProfileFile

EITHER_OR = (("model", "models"), ("provider", "providers"))
"""Two ways to say one thing: the layer above replaces the other way too."""
FROM_ENVIRONMENT = ("hub", "worker")
"""Sections whose plain settings differ from machine to machine."""


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`. Keys of the base keep their order, new ones come after."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return base if over.value is None and isinstance(base.value, dict) else over
    replaced = {other for pair in EITHER_OR for key in pair if key in over.value for other in pair if other != key}
    members = {key: member for key, member in base.value.items() if key not in replaced}
    for key, member in over.value.items():
        below = members.get(key)
        members[key] = member if below is None else Member(merge(below.node, member.node), member.place)
    return Node(members, over.place)


def name_list_items(root: Node, section: str, mistakes: Mistakes) -> Node:
    """The section as a mapping by name, where it was written as a list of mappings with a `name` each."""
    members = root.value if isinstance(root.value, dict) else {}
    items = members[section].node.value if section in members else None
    if not isinstance(items, list):
        return root
    named: dict[str, Member] = {}
    for item in items:
        name = _name_of(item)
        if name is None:
            remedy = "start it with `- name: some-name`"
            mistakes.add_unread((section,), "an entry without a name", remedy, place=item.place)
        elif name in named:
            first = named[name].place.line
            remedy = "give one of them another name, or remove it"
            mistakes.add((section, name), f"is given twice (first in line {first})", remedy, place=item.place)
        else:
            named[name] = Member(_without_name(item), item.place)
    node = Node(named, members[section].node.place)
    return Node({**members, section: Member(node, members[section].place)}, root.place)


def environment_layer(env: Mapping[str, str]) -> Node:
    """The settings that `OSTLER_<SECTION>_<SETTING>` variables give; an empty variable is as good as none."""
    root: dict[str, Member] = {}
    for section in FROM_ENVIRONMENT:
        cls = fields_of(ProfileFile)[section].type
        members: dict[str, Member] = {}
        for key, variable in environment_variables(section, cls).items():
            text = env.get(variable, "").strip()
            if text:
                place = Place(f"environment {variable}")
                members[key] = Member(Node(_value(cls, key, text), place), place)
        if members:
            place = next(iter(members.values())).place
            root[section] = Member(Node(members, place), place)
    return Node(root, Place("environment"))


def environment_variables(section: str, cls: inspect.Type) -> dict[str, str]:
    """Setting -> variable, for the settings of a section that are one plain value."""
    return {
        key: f"OSTLER_{section}_{key}".upper()
        for key, field in _fields(cls).items()
        if not isinstance(field.type, inspect.StructType | inspect.DictType | inspect.VarTupleType)
    }


def _fields(cls: inspect.Type) -> Mapping[str, inspect.Field]:
    if not isinstance(cls, inspect.StructType) or not issubclass(cls.cls, msgspec.Struct):
        raise TypeError(cls)
    return fields_of(cls.cls)


def _value(cls: inspect.Type, key: str, text: str) -> bool | int | float | str | None:
    kind = _fields(cls)[key].type
    arms = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return text if any(isinstance(arm, inspect.StrType) for arm in arms) else resolve_plain(text)


def _name_of(item: Node) -> str | None:
    name = item.value.get("name") if isinstance(item.value, dict) else None
    return name.node.value if name is not None and isinstance(name.node.value, str) and name.node.value else None


def _without_name(item: Node) -> Node:
    members = item.value if isinstance(item.value, dict) else {}
    return Node({key: member for key, member in members.items() if key != "name"}, item.place)
