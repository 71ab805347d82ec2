"""What-if questions as people type them: `memory=mac+8GB`, `allow=latest:qa,docs`, `swaps=x5`.

One question is KIND=CHANGE; the kinds and their forms are in `FORMS`. Sizes are decimal (8GB = 8 000 000 000 bytes) or
binary (8GiB). What cannot be read is refused with the form of its kind; what names nothing known, by `whatif`.
"""

import re
from collections.abc import Callable, Mapping

from ostler.domain.errors import InvalidInputError, nearest
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.planning.instance import PERMILLE, Instance
from ostler.planning.whatif import (
    Question,
    add_host,
    add_memory,
    allow_model,
    scale_swaps,
    set_slots,
    to_cloud,
)

FORMS: Mapping[str, str] = {
    "host": "host=LIKE or host=LIKE*COUNT",
    "memory": "memory=HOST+SIZE, as in memory=mac+8GB",
    "allow": "allow=MODEL:TASK,TASK",
    "slots": "slots=COUNT or slots=MODEL,MODEL:COUNT",
    "cloud": "cloud=TASK,TASK:USD moves them there for that price each",
    "offer": "offer=TASK,TASK:USD lets the plan choose the cloud for them",
    "swaps": "swaps=free or swaps=xFACTOR",
}
UNITS = {"gb": 1000**3, "mb": 1000**2, "gib": 1024**3, "mib": 1024**2}
MOST_HOSTS = 64
MOST_FACTOR = 1_000_000


def question(text: str, instance: Instance) -> Question:
    """The question that a text asks of an instance. Raises `InvalidInputError` with the form that is expected."""
    kind, _, change = (part.strip() for part in text.partition("="))
    read = _READERS.get(kind)
    if read is None:
        what = f"no question of kind '{kind}'"
        raise InvalidInputError(what, where="what if", remedy=f"{nearest(kind, FORMS)} {'; '.join(FORMS.values())}")
    asked = read(change, instance)
    if asked is None:
        raise InvalidInputError(f"cannot read '{text}'", where="what if", remedy=f"write {FORMS[kind]}")
    return asked


def _host_question(change: str, instance: Instance) -> Question | None:
    like, star, count = change.partition("*")
    if star and not (count.isdecimal() and 1 <= int(count) <= MOST_HOSTS):
        return None
    return add_host(instance, like.strip(), int(count) if star else 1) if like.strip() else None


def _memory_question(change: str, instance: Instance) -> Question | None:
    # From the right: a host's name may hold a plus.
    host, plus, size = change.rpartition("+")
    memory_bytes = _bytes(size)
    return add_memory(instance, host.strip(), memory_bytes) if plus and memory_bytes else None


def _allow_question(change: str, instance: Instance) -> Question | None:
    # From the right: a model's name may hold a colon, a list of tasks may not.
    model, _, tasks = change.rpartition(":")
    names = _names(tasks)
    return allow_model(instance, model.strip(), names) if model.strip() and names else None


def _slots_question(change: str, instance: Instance) -> Question | None:
    models, colon, count = change.rpartition(":")
    names = _names(models)
    if not count.strip().isdecimal() or (colon and not names):
        return None
    return set_slots(instance, int(count), names)


def _cloud_question(change: str, instance: Instance) -> Question | None:
    return _on_cloud(change, instance, only=True)


def _offer_question(change: str, instance: Instance) -> Question | None:
    return _on_cloud(change, instance, only=False)


def _on_cloud(change: str, instance: Instance, *, only: bool) -> Question | None:
    tasks, _, price = change.rpartition(":")
    price_usd, names = _number(price), _names(tasks)
    if price_usd is None or not names:
        return None
    return to_cloud(instance, names, round(price_usd * MICRO_USD_PER_USD), only=only)


def _swaps_question(change: str, instance: Instance) -> Question | None:
    if change == "free":
        return scale_swaps(instance, 0)
    factor = _number(change.removeprefix("x")) if change.startswith("x") else None
    if factor is None or factor > MOST_FACTOR:
        return None
    return scale_swaps(instance, round(factor * PERMILLE))


_READERS: Mapping[str, Callable[[str, Instance], Question | None]] = {
    "host": _host_question,
    "memory": _memory_question,
    "allow": _allow_question,
    "slots": _slots_question,
    "cloud": _cloud_question,
    "offer": _offer_question,
    "swaps": _swaps_question,
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) else None


def _bytes(text: str) -> int:
    """The size in bytes; 0 when it cannot be read."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+)", text.strip().lower())
    if found is None or found[2] not in UNITS:
        return 0
    return round(float(found[1]) * UNITS[found[2]])
