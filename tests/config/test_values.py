"""The same slips in every setting there is: the rules for values hold everywhere, not only where somebody looked."""

from collections.abc import Iterable, Sequence

import pytest
from msgspec import inspect

from ostler.config.decode import fields_of
from ostler.config.mistakes import SettingPath, dotted
from ostler.config.schema import ProfileFile
from ostler.config.show import effective_settings
from ostler.config.units import LIMITS, Unit, unit_of
from ostler.domain.errors import Problem
from tests.config.support import EVERYTHING, loaded, problems
from tests.config.test_misspellings import KEYS


def field_of(path: SettingPath) -> inspect.Field | None:
    """The field of a setting of the sample; `None` for a section and below a name that people give."""
    cls: inspect.Type = inspect.type_info(ProfileFile)
    field: inspect.Field | None = None
    for key in path:
        if isinstance(cls, inspect.DictType):
            cls, field = cls.value_type, None
        elif isinstance(cls, inspect.StructType):
            field = fields_of(cls.cls)[key]
            cls = field.type
        else:
            return None
    return None if isinstance(cls, inspect.StructType | inspect.DictType) else field


def takes(field: inspect.Field, *kinds: type[inspect.Type]) -> bool:
    arms = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    return any(isinstance(arm, kinds) for arm in arms)


PLAIN = {path: (line, field) for path, line, _ in KEYS if (field := field_of(path)) is not None}
NUMBERS = [path for path, (_, field) in PLAIN.items() if takes(field, inspect.IntType, inspect.FloatType)]
DURATIONS = [path for path, (_, field) in PLAIN.items() if unit_of(field.name) is Unit.DURATION]
LISTS = [path for path, (_, field) in PLAIN.items() if takes(field, inspect.VarTupleType, inspect.FrozenSetType)]
SCALARS = [path for path in PLAIN if path not in LISTS]
NEVER_NOTHING = [path for path in SCALARS if not takes(PLAIN[path][1], inspect.NoneType)]


def with_values(paths: Iterable[SettingPath], value: str, *, suffix: str = "") -> str:
    """The sample with another value for some settings, under their keys with a suffix."""
    lines = EVERYTHING.splitlines()
    for path in paths:
        at = PLAIN[path][0] - 1
        pad = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines[at] = f"{pad}{path[-1]}{suffix}: {value}"
    return "\n".join(lines)


def told(paths: Sequence[SettingPath], value: str) -> list[Problem]:
    """The mistakes at these settings when all of them have a value: each setting is told of, and once."""
    places = [f"ostler.yaml:{PLAIN[path][0]} {dotted(path)}" for path in paths]
    found = [problem for problem in problems(with_values(paths, value)) if problem.where in places]
    assert [problem.where for problem in found] == places
    return found


def shown(text: str) -> dict[SettingPath, str]:
    return {row.path: row.value for row in effective_settings(loaded(text))}


def test_the_lists_of_this_file_are_not_empty() -> None:
    """The tests below see the whole schema."""
    assert (len(PLAIN) > 110, len(NUMBERS) > 65, len(DURATIONS) > 12, len(LISTS) > 12) == (True,) * 4


def test_no_number_may_be_negative() -> None:
    """A negative number is refused in every setting that takes one, all of them at once."""
    for problem in told(NUMBERS, "-1"):
        assert problem.what in {"-1 is negative", "-1 has no unit"}, str(problem)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e300", "9" * 29])
def test_no_number_may_be_without_end(value: str) -> None:
    """Neither infinity nor a number beyond what a database holds gets through anywhere."""
    assert len(told(NUMBERS, value)) == len(NUMBERS)


@pytest.mark.parametrize(("value", "name"), [("[1]", "a list"), ("{a: 1}", "a mapping")])
def test_one_value_is_no_list_and_no_mapping(value: str, name: str) -> None:
    """A list or a mapping where one value belongs is refused and named as what it is."""
    for problem in told(SCALARS, value):
        assert name in problem.what, str(problem)


def test_a_list_is_no_single_value() -> None:
    """One word where a list belongs is refused, with the list to write."""
    for problem in told(LISTS, "word"):
        assert (problem.what, problem.remedy) == ("expected a list, got 'word'", "write [word]")


def test_a_forgotten_value_is_told() -> None:
    """A key without a value is a mistake wherever nothing is no valid value."""
    for problem in told(NEVER_NOTHING, ""):
        assert problem.what == "has no value"


def test_every_duration_may_be_given_in_milliseconds() -> None:
    """`NAME_ms: 11000` is `NAME: 11s`, and a number without unit is refused."""
    in_ms, with_unit = (
        shown(with_values(DURATIONS, value, suffix=suffix)) for value, suffix in (("11000", "_ms"), ("11s", ""))
    )

    assert {path: in_ms[path] for path in DURATIONS} == dict.fromkeys(DURATIONS, "11s")
    assert in_ms == with_unit
    assert {problem.remedy for problem in told(DURATIONS, "11000")} == {"write 11000s or 11000ms"}


@pytest.mark.parametrize(
    ("path", "most"),
    [
        (("scheduler", "stuck"), "3650d"),
        (("models", "best-model", "context"), str(LIMITS[Unit.TOKENS])),
        (("hub", "port"), "65535"),
        (("budget", "monthly_hard_cap"), "1000000000"),
        (("agi_loop", "max_loops"), str(LIMITS[Unit.NONE])),
    ],
)
def test_the_largest_number_is_accepted_and_one_more_is_not(path: SettingPath, most: str) -> None:
    """Bounds are inclusive."""
    more = "3651d" if most == "3650d" else str(int(most) + 1)

    assert problems(with_values([path], most)) == ()
    assert [problem.what for problem in told([path], more)] == [f"{more} is too large"]


@pytest.mark.parametrize(
    ("path", "written", "effective"),
    [
        (("budget", "monthly_soft_cap"), "null", "null"),
        (("budget", "per_tick_cap"), "0", "0.00"),
        (("routing", "tiers", "small", "cost"), "null", "local"),
        (("worker", "name"), "~", "null"),
        (("models", "best-model", "capabilities"), "[]", "[]"),
        (("models", "best-model", "capabilities"), "null", "null"),
    ],
)
def test_nothing_and_zero_are_told_apart(path: SettingPath, written: str, effective: str) -> None:
    """`null` is no limit, unknown, or what follows from the rest; 0 and an empty list are themselves."""
    assert shown(with_values([path], written))[path] == effective
