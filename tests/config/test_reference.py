"""The reference of the profile is complete and true: every setting with its type and default, and no other."""

import doctest
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from ostler.config.decode import fields_of
from ostler.config.layers import FROM_ENVIRONMENT, environment_variables
from ostler.config.providers import known_providers
from ostler.config.schema import ProfileFile
from ostler.config.show import value_text
from ostler.config.sources import built_in_names
from ostler.config.units import Unit, unit_of
from ostler.config.vocabulary import TASK_TYPES

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "profile.md"
NAME = "NAME"
"""Stands in the reference for a name that people give."""

UNITS = {Unit.DURATION: "duration", Unit.SIZE: "size", Unit.TOKENS: "tokens", Unit.MONEY: "USD"}


class Setting(msgspec.Struct, frozen=True):
    type: str
    default: str | None
    """`None` = depends on other settings, which the reference says in words."""


def type_text(kind: inspect.Type, unit: Unit) -> str:
    """The type of a setting in the words of the reference."""
    if isinstance(kind, inspect.UnionType):
        arms = [type_text(arm, unit) for arm in kind.types if not isinstance(arm, inspect.NoneType)]
        return " or ".join(arms)
    if isinstance(kind, inspect.EnumType):
        return ", ".join(f"`{member.value}`" for member in kind.cls)
    if isinstance(kind, inspect.VarTupleType | inspect.FrozenSetType):
        inner = type_text(kind.item_type, Unit.NONE)
        return "list of texts" if inner == "text" else f"list of {inner}"
    if isinstance(kind, inspect.BoolType):
        return "`true`, `false`"
    if isinstance(kind, inspect.StrType):
        return "text"
    return UNITS.get(unit) or ("whole number" if isinstance(kind, inspect.IntType) else "number")


def settings_of(cls: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for key, field in fields_of(cls).items():
        yield from settings_below(field, f"{prefix}{key}")


def settings_below(field: inspect.Field, name: str) -> Iterator[tuple[str, Setting]]:
    kind = field.type
    if isinstance(kind, inspect.StructType):
        yield from settings_of(kind.cls, f"{name}.")
    elif isinstance(kind, inspect.DictType):
        if isinstance(kind.value_type, inspect.StructType):
            yield from settings_of(kind.value_type.cls, f"{name}.{NAME}.")
        else:
            yield f"{name}.{NAME}", Setting(type_text(kind.value_type, Unit.NONE), None)
    else:
        unit = unit_of(field.name)
        default = None if field.default in (None, "") else value_text(field.default, unit)
        yield name, Setting(type_text(kind, unit), default)


SETTINGS = dict(settings_of(ProfileFile))


def documented() -> dict[str, list[str]]:
    """Setting -> its cells, from all tables of the reference."""
    rows: dict[str, list[str]] = {}
    of_settings = False
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        of_settings = line.startswith("|") and (of_settings or cells[0] == "setting")
        if of_settings and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = cells[1:]
    return rows


def test_every_setting_is_documented_and_nothing_else() -> None:
    """A setting without a row, or a row without a setting, fails here."""
    rows = documented()

    assert {"missing": SETTINGS.keys() - rows.keys(), "unknown": rows.keys() - SETTINGS.keys()} == {
        "missing": set(),
        "unknown": set(),
    }


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_type_and_default_of_a_setting_are_the_documented_ones(name: str) -> None:
    """The reference cannot drift from the code: types and defaults are compared, and every row says a meaning."""
    kind, default, meaning = documented()[name]
    setting = SETTINGS[name]

    assert kind == setting.type
    if setting.default is not None:
        assert default.startswith(f"`{setting.default}`"), default
    assert len(meaning) > 10


def test_the_reference_names_what_comes_with_ostler() -> None:
    """Profiles, providers, task types and variables are listed."""
    text = REFERENCE.read_text(encoding="utf-8")
    variables = [
        variable
        for section in FROM_ENVIRONMENT
        for variable in environment_variables(section, fields_of(ProfileFile)[section].type).values()
    ]
    names = [*built_in_names(), *known_providers(), *TASK_TYPES, *variables, "OSTLER_PROFILE", "XDG_CONFIG_HOME"]

    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_example_of_the_reference_is_a_valid_profile() -> None:
    """What the reference shows first can be copied and used."""
    from tests.config.support import loaded

    example = re.search(r"```yaml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None

    assert loaded(example[1]).policy.catalog.endpoints


@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "src" / "ostler" / "config").glob("*.py")))
def test_the_examples_in_the_code_hold(module: str) -> None:
    """Docstrings with examples say the truth."""
    name = "ostler.config" if module == "__init__" else f"ostler.config.{module}"

    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_settings_are_imported_without_the_yaml_parser() -> None:
    """A worker or a client that only needs the types does not pay for reading profiles."""
    code = "import sys, ostler.config.settings, ostler.config.show; print('ruamel.yaml' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert answer.stdout.strip() == "False"
