"""Models in words: rows of a list, a comparison side by side, what became of a change."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from ostler.cli import words
from ostler.cli.model_fit import TaskFit, cost_text, success_text
from ostler.cli.render import aligned, line
from ostler.domain.errors import NotFoundError, nearest
from ostler.hub.fleet_views import Figure, ModelChange, ModelList, ModelPlace, ModelRow, SpeedRow

LIST_COLUMNS = ("model", "tiers", "loaded", "installed", "memory", "context", "waiting")
MANY = 100


def list_row(model: ModelRow, now_ms: int) -> tuple[str, ...]:
    """A model in the list."""
    loaded = [f"{place.host}{_phase(place)}" for place in model.places if place.phase is not None]
    installed = tuple(dict.fromkeys(place.host for place in model.places))
    waiting = words.NONE
    if model.waiting:
        since = f" ({words.duration(now_ms - model.oldest_ms)})" if model.oldest_ms is not None else ""
        waiting = f"{model.waiting}{since}"
    return (
        model.name,
        words.words(model.tiers),
        words.words(loaded),
        words.words(installed),
        words.size(model.memory_bytes),
        words.NONE if model.context_tokens is None else str(model.context_tokens),
        waiting,
    )


def _phase(place: ModelPlace) -> str:
    notes = [place.phase or "", "pinned" if place.pinned else "", f"{place.busy} busy" if place.busy else ""]
    return f" ({', '.join(note for note in notes if note not in ('', 'ready'))})".replace(" ()", "")


def chosen(answer: ModelList, names: Sequence[str]) -> ModelList:
    """The models of these names or aliases, in their order; all of them without a name. Raises `NotFoundError`."""
    if not names:
        return answer
    by_name = {alias: model for model in answer.models for alias in model.aliases}
    by_name |= {model.name: model for model in answer.models}
    for name in names:
        if name not in by_name:
            raise NotFoundError(f"there is no model {name}", where="MODEL", remedy=nearest(name, by_name))
    models = tuple(dict.fromkeys(by_name[name].name for name in names))
    return msgspec.structs.replace(answer, models=tuple(by_name[name] for name in models))


class _Entry(msgspec.Struct, frozen=True):
    """A column of the comparison: a model on a host at a context."""

    model: ModelRow
    place: ModelPlace | None
    speeds: SpeedRow | None


def comparison_lines(answer: ModelList, width: int, task: TaskFit | None = None) -> list[str]:
    """The models side by side, for a task where there is one; as many beside each other as there is room for."""
    entries = [entry for model in answer.models for entry in _entries(model)]
    if not entries:
        return ["no model; add an endpoint with `ostler endpoints add`"]
    wanted = [*_rows(answer), *(_fit_rows(task) if task is not None else ())]
    labels = [label for label, _ in wanted]
    columns = [[cell(entry) for _, cell in wanted] for entry in entries]
    room = width - max(map(len, labels)) - 2
    found: list[str] = []
    while columns:
        taken, used = 0, 0
        while taken < len(columns) and (not taken or used + 2 + _width(entries[taken], columns[taken]) <= room):
            used += 2 + _width(entries[taken], columns[taken])
            taken += 1
        heads = [line(entry.model.name) for entry in entries[:taken]]
        table = [[label, *(column[index] for column in columns[:taken])] for index, label in enumerate(labels)]
        found += [*([""] if found else []), *_table(heads, table)]
        entries, columns = entries[taken:], columns[taken:]
    return found


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Rows of which at least one cell says something, under the names of the models."""
    known = [row for row in rows if any(cell != words.NONE for cell in row[1:])]
    head, *rest = aligned(("", *(" " * len(name) for name in heads)), [["", *heads], *known])
    del head
    return rest


def _width(entry: _Entry, column: list[str]) -> int:
    return max(len(entry.model.name), *map(len, column))


def _entries(model: ModelRow) -> Iterable[_Entry]:
    """One for each host and context that was measured, one for each other place; at least one."""
    places = {place.host: place for place in model.places}
    for speeds in model.measured:
        yield _Entry(model, places.get(speeds.host), speeds)
    measured = {speeds.host for speeds in model.measured}
    rest = [place for host, place in places.items() if host not in measured]
    for place in rest:
        yield _Entry(model, place, None)
    if not model.measured and not rest:
        yield _Entry(model, None, None)


def _rows(answer: ModelList) -> list[tuple[str, Callable[[_Entry], str]]]:
    return [
        ("host", _host),
        ("context", _context),
        ("memory, seen", lambda e: words.size(e.place.memory_bytes if e.place is not None else None)),
        ("memory, configured", lambda e: words.size(e.model.memory_bytes)),
        ("load, measured", lambda e: _seconds(e.speeds.load_ms if e.speeds is not None else None)),
        ("load, assumed", lambda e: _local(e, f"{e.model.speeds.load_s:g} s")),
        ("unload, measured", lambda e: _seconds(e.speeds.unload_ms if e.speeds is not None else None)),
        ("unload, assumed", lambda e: _local(e, f"{e.model.speeds.unload_s:g} s")),
        ("reads, measured", lambda e: _speed(e.speeds.prefill_tokens_per_s if e.speeds is not None else None)),
        ("reads, assumed", lambda e: f"{e.model.speeds.prefill_tokens_per_s:g}/s"),
        ("writes, measured", lambda e: _speed(e.speeds.decode_tokens_per_s if e.speeds is not None else None)),
        ("writes, assumed", lambda e: f"{e.model.speeds.decode_tokens_per_s:g}/s"),
        ("can do", _capabilities),
        ("price per Mtok", _price),
        (f"done, of the newest {answer.counted}", _done),
    ]


def _fit_rows(task: TaskFit) -> list[tuple[str, Callable[[_Entry], str]]]:
    """What models did of work like the task, and what it would cost there."""
    return [
        (f"success at {task.task_type}", lambda e: success_text(task.of(e.model.name))),
        (f"cost of it, {task.answer_tokens} tokens of answer", lambda e: cost_text(task.of(e.model.name))),
    ]


def _capabilities(entry: _Entry) -> str:
    known = entry.model.capabilities
    return words.NONE if known is None else words.words(known) if known else "text only"


def _host(entry: _Entry) -> str:
    if entry.speeds is not None:
        return entry.speeds.host
    return entry.place.host if entry.place is not None else words.NONE


def _context(entry: _Entry) -> str:
    context = entry.speeds.context_tokens if entry.speeds is not None else None
    context = context or (entry.place.context_tokens if entry.place is not None else None) or entry.model.context_tokens
    return words.NONE if context is None else str(context)


def _local(entry: _Entry, text: str) -> str:
    """Nothing is loaded in a cloud."""
    return words.NONE if entry.place is not None and not entry.place.local else text


def _seconds(figure: Figure | None) -> str:
    seen = figure.measured if figure is not None else None
    if seen is None:
        return words.NONE
    return f"{_short(seen.value / 1000)} s ({_short(seen.low / 1000)}-{_short(seen.high / 1000)}, {seen.samples}x)"


def _speed(figure: Figure | None) -> str:
    seen = figure.measured if figure is not None else None
    if seen is None:
        return words.NONE
    return f"{_short(seen.value)}/s ({_short(seen.low)}-{_short(seen.high)}, {seen.samples}x)"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= MANY else f"{number:.3g}"


def _price(entry: _Entry) -> str:
    model = entry.model
    if model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return "local" if entry.place is not None and entry.place.local else "unknown"
    return f"${model.input_usd_per_mtok:g} in, ${model.output_usd_per_mtok:g} out"


def _done(entry: _Entry) -> str:
    total = entry.model.succeeded + entry.model.failed
    return f"{entry.model.succeeded} of {total}" if total else words.NONE


def change_text(change: ModelChange) -> str:
    """What became of an order, in one line."""
    gone = f", {', '.join(change.evict)} {'went' if not change.under_way else 'goes'} for it" if change.evict else ""
    what = f"{change.model} on {change.host}"
    if change.under_way:
        left = words.duration(max(0, change.ready_ms - change.now_ms))
        return line(f"{change.kind}ing {what}, about {left} left{gone}", 200)
    return line(f"{change.kind}ed {what} after {words.duration(change.took_ms or 0)}{gone}", 200)
