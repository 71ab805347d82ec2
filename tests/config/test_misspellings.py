"""Any one misspelt key of a whole profile is reported once, in its line, with the name that was meant."""

from collections.abc import Iterator

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from ostler.config.decode import fields_of
from ostler.config.document import read_document
from ostler.config.mistakes import SettingPath, dotted
from ostler.config.nodes import Node
from ostler.config.schema import ProfileFile
from tests.config.support import EVERYTHING, problems


def written_keys(
    cls: type[msgspec.Struct], node: Node, path: SettingPath = ()
) -> Iterator[tuple[SettingPath, int, frozenset[str]]]:
    """(setting, line, its valid neighbours) for every key that the schema knows; names given by people are no keys."""
    assert isinstance(node.value, dict)
    fields = fields_of(cls)
    for key, member in node.value.items():
        yield (*path, key), member.place.line or 0, frozenset(fields)
        yield from below(fields[key].type, member.node, (*path, key))


def below(kind: inspect.Type, node: Node, path: SettingPath) -> Iterator[tuple[SettingPath, int, frozenset[str]]]:
    if isinstance(kind, inspect.StructType):
        yield from written_keys(kind.cls, node, path)
    elif isinstance(kind, inspect.DictType) and isinstance(node.value, dict):
        for name, member in node.value.items():
            yield from below(kind.value_type, member.node, (*path, name))


KEYS = list(written_keys(ProfileFile, read_document(EVERYTHING, "f")[0]))


def slips(key: str) -> list[str]:
    """Every key with one letter lost, doubled or replaced, or two letters swapped."""
    at = range(len(key))
    lost = [key[:i] + key[i + 1 :] for i in at]
    doubled = [key[:i] + key[i] + key[i:] for i in at]
    replaced = [key[:i] + "x" + key[i + 1 :] for i in at]
    swapped = [key[:i] + key[i + 1] + key[i] + key[i + 2 :] for i in range(len(key) - 1)]
    return sorted({*lost, *doubled, *replaced, *swapped} - {key, ""})


def test_the_profile_of_this_test_says_every_setting() -> None:
    """No setting of the schema is left out of the sample, so that none is left out of the tests that use it."""
    written = {(path[-1], neighbours) for path, _, neighbours in KEYS}
    sections = {neighbours for _, _, neighbours in KEYS}

    missing = {key for neighbours in sections for key in neighbours if (key, neighbours) not in written}

    assert missing == {"extends"}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_misspelt_key_is_reported_with_its_line_and_the_name_that_was_meant(data: st.DataObject) -> None:
    """One slip of the fingers makes exactly one mistake, at its line, and the remedy is the right name."""
    path, line, neighbours = data.draw(st.sampled_from(KEYS))
    slip = data.draw(st.sampled_from(slips(path[-1])))
    assume(slip not in neighbours and slip != "alias")
    lines = EVERYTHING.splitlines()
    lines[line - 1] = lines[line - 1].replace(f"{path[-1]}:", f"{slip}:", 1)

    found = problems("\n".join(lines))

    assert [problem.where for problem in found] == [f"ostler.yaml:{line} {dotted((*path[:-1], slip))}"], found
    twins = {f"{path[-1]}s", path[-1].removesuffix("s"), path[-1]} & neighbours
    assert found[0].remedy in {f"did you mean '{twin}'?" for twin in twins}
