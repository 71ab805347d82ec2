"""Quantities as people write them in a profile, and back: `10m`, `20GB`, `128k`, `0.10`.

The suffix of an attribute names its unit, so that code and file agree without a table: an attribute `wait_ms` is
written `wait: 5s` (or `wait_ms: 5000`), `memory_bytes` is written `memory: 20GB`, `context_tokens` is written
`context: 128k`, `cap_micro_usd` is written `cap: 20.00`.

Sizes are exact: `GB` is 10^9 bytes, as disks and model listings count; `GiB` is 2^30 bytes, as memory is made.
Tokens count in powers of two, as model windows do: `128k` is 131,072. A duration always carries its unit, because `5`
could be seconds or milliseconds.
"""

import re
from decimal import Decimal
from enum import StrEnum

from ostler.domain.money import MICRO_USD_PER_USD

DURATION_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZE_UNITS_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
TOKEN_UNITS = {"k": 1024, "M": 1024 * 1024}

_QUANTITY = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*")


class Unit(StrEnum):
    """What a number in a profile measures."""

    NONE = "none"
    DURATION = "duration"
    MILLISECONDS = "milliseconds"
    SIZE = "size"
    TOKENS = "tokens"
    MONEY = "money"


DURATION_MAX_MS = 3650 * DURATION_UNITS_MS["d"]
LIMITS = {
    Unit.NONE: 10**9,
    Unit.DURATION: DURATION_MAX_MS,
    Unit.MILLISECONDS: DURATION_MAX_MS,
    Unit.SIZE: 2**60,
    Unit.TOKENS: 10**9,
    Unit.MONEY: 10**9 * MICRO_USD_PER_USD,
}
"""Largest number a profile may hold, by unit: what is larger is a slip, and would not fit the database."""

_SUFFIXES = {"_ms": Unit.DURATION, "_bytes": Unit.SIZE, "_tokens": Unit.TOKENS, "_micro_usd": Unit.MONEY}
_HIDDEN_SUFFIXES = ("_ms", "_bytes", "_micro_usd")


def unit_of(attribute: str) -> Unit:
    """The unit that the suffix of an attribute names.

    >>> unit_of("task_ttl_ms").value, unit_of("slots").value
    ('duration', 'none')
    """
    return next((unit for suffix, unit in _SUFFIXES.items() if attribute.endswith(suffix)), Unit.NONE)


def key_of(attribute: str) -> str:
    """How an attribute is written in a profile: without the unit that its value carries.

    >>> key_of("task_ttl_ms"), key_of("context_tokens"), key_of("max_output_tokens")
    ('task_ttl', 'context', 'max_output_tokens')
    """
    if attribute == "context_tokens":
        return "context"
    return next((attribute.removesuffix(end) for end in _HIDDEN_SUFFIXES if attribute.endswith(end)), attribute)


def parse_duration_ms(text: str) -> int:
    """Milliseconds of a duration with its unit. Raises `ValueError`.

    >>> parse_duration_ms("1.5s"), parse_duration_ms("10m")
    (1500, 600000)
    """
    return _parse(text, DURATION_UNITS_MS)


def parse_bytes(text: str) -> int:
    """Bytes of a size with its unit; upper and lower case do not matter. Raises `ValueError`.

    >>> parse_bytes("20GB"), parse_bytes("1 GiB")
    (20000000000, 1073741824)
    """
    return _parse(text, {name.lower(): size for name, size in SIZE_UNITS_BYTES.items()}, fold=True)


def parse_tokens(text: str) -> int:
    """Tokens, plain or in `k` = 1024 or `M` = 1024 x 1024. Raises `ValueError`.

    >>> parse_tokens("128k"), parse_tokens("4000")
    (131072, 4000)
    """
    return _parse(text, {"": 1, **{name.lower(): size for name, size in TOKEN_UNITS.items()}}, fold=True)


def _parse(text: str, units: dict[str, int], *, fold: bool = False) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read '{text}'")
    number, unit = match.groups()
    factor = units.get(unit.lower() if fold else unit)
    if factor is None:
        raise ValueError(f"cannot read '{text}'")
    return int((Decimal(number) * factor).to_integral_value())


def duration_text(milliseconds: int) -> str:
    """The shortest exact way to write a duration.

    >>> duration_text(600_000), duration_text(1_500), duration_text(0)
    ('10m', '1500ms', '0s')
    """
    if milliseconds == 0:
        return "0s"
    return _exact(milliseconds, DURATION_UNITS_MS)


def size_text(size_bytes: int) -> str:
    """The shortest exact way to write a size.

    >>> size_text(20_000_000_000), size_text(34_359_738_368)
    ('20GB', '32GiB')
    """
    return _exact(size_bytes, SIZE_UNITS_BYTES) if size_bytes else "0B"


def bound_text(bound: float, unit: Unit) -> str:
    """The least or the most that a setting may be, as it would be written there.

    >>> [bound_text(1_000, unit) for unit in (Unit.DURATION, Unit.MILLISECONDS, Unit.SIZE, Unit.MONEY)]
    ['1s', '1000', '1kB', '1000.00']
    """
    if unit is Unit.DURATION:
        return duration_text(int(bound))
    if unit is Unit.SIZE:
        return size_text(int(bound))
    if unit is Unit.MONEY:
        return money_text(int(bound) * MICRO_USD_PER_USD)
    return f"{bound:.0f}" if bound == int(bound) else f"{bound:g}"


def _exact(amount: int, units: dict[str, int]) -> str:
    fitting = [(amount // size, name) for name, size in units.items() if amount % size == 0]
    count, name = min(fitting, key=lambda pair: pair[0])
    return f"{count}{name}"


def money_text(micro_usd: int) -> str:
    """Micro-dollars as dollars in a profile: two digits, more where it takes more.

    >>> money_text(20_000_000), money_text(125)
    ('20.00', '0.000125')
    """
    value = Decimal(micro_usd) / MICRO_USD_PER_USD
    return f"{value:.2f}" if micro_usd % 10_000 == 0 else f"{value.normalize():f}"
