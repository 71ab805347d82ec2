"""Quantities: what is written means one thing, and what is shown means the same again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.config.units import (
    LIMITS,
    Unit,
    duration_text,
    key_of,
    money_text,
    parse_bytes,
    parse_duration_ms,
    parse_tokens,
    size_text,
    unit_of,
)
from ostler.domain.money import micro_usd


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("5s", 5_000), ("500ms", 500), ("10m", 600_000), ("1.5h", 5_400_000), ("2d", 172_800_000), (" 3 s ", 3_000)],
)
def test_a_duration_carries_its_unit(text: str, milliseconds: int) -> None:
    """Each unit of time means its number of milliseconds."""
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 seconds", "-5s", "5M", "1e3s", "5s5s", "\u0665s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A bare number, a word, a sign or an unknown unit is no duration."""
    with pytest.raises(ValueError, match="cannot read"):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20_000_000_000),
        ("20gb", 20_000_000_000),
        ("32GiB", 34_359_738_368),
        ("512 MiB", 536_870_912),
        ("7B", 7),
    ],
)
def test_a_size_in_gb_is_decimal_and_in_gib_binary(text: str, size: int) -> None:
    """GB counts as disks and listings do, GiB as memory does."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["32G", "many", "1.GB", "GB"])
def test_a_size_that_could_mean_two_things_is_refused(text: str) -> None:
    """`32G` is neither GB nor GiB."""
    with pytest.raises(ValueError, match="cannot read"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "tokens"), [("128k", 131_072), ("128K", 131_072), ("1M", 1_048_576), ("4000", 4_000)])
def test_a_thousand_tokens_are_1024(text: str, tokens: int) -> None:
    """Windows of models are powers of two."""
    assert parse_tokens(text) == tokens


@given(st.integers(min_value=0, max_value=LIMITS[Unit.DURATION]))
def test_a_shown_duration_reads_back(milliseconds: int) -> None:
    """Nothing is lost between a duration and its text."""
    assert parse_duration_ms(duration_text(milliseconds)) == milliseconds


@given(st.integers(min_value=0, max_value=LIMITS[Unit.SIZE]))
def test_a_shown_size_reads_back(size: int) -> None:
    """Nothing is lost between a size and its text."""
    assert parse_bytes(size_text(size)) == size


@given(st.integers(min_value=0, max_value=10**15))
def test_shown_money_reads_back(amount: int) -> None:
    """Nothing is lost between micro-dollars and dollars."""
    assert micro_usd(money_text(amount)) == amount


@pytest.mark.parametrize(
    ("attribute", "key", "unit"),
    [
        ("task_ttl_ms", "task_ttl", Unit.DURATION),
        ("memory_bytes", "memory", Unit.SIZE),
        ("context_tokens", "context", Unit.TOKENS),
        ("max_output_tokens", "max_output_tokens", Unit.TOKENS),
        ("per_tick_cap_micro_usd", "per_tick_cap", Unit.MONEY),
        ("slots", "slots", Unit.NONE),
    ],
)
def test_the_suffix_of_an_attribute_names_key_and_unit(attribute: str, key: str, unit: Unit) -> None:
    """A setting is written without the unit that its value carries."""
    assert (key_of(attribute), unit_of(attribute)) == (key, unit)
