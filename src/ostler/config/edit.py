"""Change settings in the text of a profile: comments, order and everything else stay as they are.

The new text is read and checked as a profile before anybody gets it, so that an edit can never leave one that does not
load.
"""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from ostler.config.load import load_text
from ostler.config.sources import Source, read_text
from ostler.domain.errors import InvalidInputError

LINE_WIDTH = 4096
"""Longer than any line: an edit must not fold what it does not touch."""


def edited(text: str, path: tuple[str, ...], values: Mapping[str, object]) -> str:
    """The text with these values in the mapping at `path`, which is made where it is missing; what else is in that
    mapping stays.

    >>> edited("a: 1  # one", ("b", "c"), {"d": 2}).splitlines()
    ['a: 1  # one', 'b:', '  c:', '    d: 2']
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = LINE_WIDTH
    root: Any = yaml.load(text) or CommentedMap()
    node = root
    for key in path:
        if not isinstance(node.get(key), dict):
            node[key] = CommentedMap()
        node = node[key]
    node.update(values)
    out = StringIO()
    yaml.dump(root, out)
    return out.getvalue()


def edit_profile(source: Source, path: tuple[str, ...], values: Mapping[str, object], env: Mapping[str, str]) -> None:
    """Write values into a profile of the user. Raises `InvalidInputError` for a built-in one, `ProfileError` when the
    result would not load: then nothing is written.
    """
    if source.built_in:
        remedy = "make one with `extends: default`, in ostler.yaml here, and name it with --profile"
        raise InvalidInputError(f"profile {source.name} comes with Ostler and cannot be changed", remedy=remedy)
    text = edited(read_text(source), path, values)
    load_text(text, source, env, source.path.parent)
    partial = source.path.with_name(source.path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(source.path)
