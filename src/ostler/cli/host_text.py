"""Hosts in words: a heading for each machine, its residents as a table, and a line for all else there is to say."""

import shutil
from collections.abc import Iterator
from textwrap import wrap

from ostler.cli import words
from ostler.cli.render import aligned, clean, line
from ostler.domain.managed import Counts, ModelQueue, ResidentView, SwapView
from ostler.hub.fleet_views import HostList, HostRow

WIDTH = 100
"""Where there is no terminal."""
OLD_MS = 120_000
"""Until then the age of the comparison is not worth a word."""
COLUMNS = ("model", "context", "memory", "now", "calls", "note")


def terminal_width() -> int:
    """Characters in a line."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def host_lines(answer: HostList, width: int) -> list[str]:
    """All of an answer; no line is longer than `width` unless a word is."""
    found: list[str] = []
    for host in answer.hosts:
        found += [*([""] if found else []), *_host(host, answer.now_ms, width)]
    if not answer.hosts:
        found.append("no host; add an endpoint with `ostler endpoints add`")
    said = answer.saved.said if answer.saved is not None else ""
    if answer.not_saved_because:
        said = f"cannot be simulated: {answer.not_saved_because}"
    if said:
        old_ms = answer.now_ms - answer.saved_at_ms if answer.saved_at_ms is not None else 0
        old = f", as of {words.duration(old_ms)} ago" if old_ms >= OLD_MS else ""
        found += ["", *_wrapped(f"last hour against first-in-first-out{old}: {said}", width, "")]
    return found


def _host(host: HostRow, now_ms: int, width: int) -> Iterator[str]:
    yield from _wrapped(f"{host.name}: {_memory(host)}", width, "")
    if not host.managed:
        yield from _wrapped(f"not managed: {host.unmanaged_because}", width)
    if host.residents:
        rows = [_resident(one, host, now_ms) for one in host.residents]
        yield from (f"  {text}" for text in aligned(COLUMNS, rows))
    elif host.managed:
        yield "  nothing is loaded"
    if host.swap is not None:
        yield from _wrapped(_swap(host.swap, now_ms), width)
    for queue in host.queues:
        yield from _wrapped(_queue(queue, now_ms), width)
    for failed in host.failed:
        text = f"could not load {failed.model}: {failed.message}; again {words.ago(failed.until_ms, now_ms)}"
        yield from _wrapped(text, width)
    if host.last_hour is not None and host.since_start is not None:
        yield from _wrapped(f"last hour: {_counts(host.last_hour)}", width)
        yield from _wrapped(f"since the start: {_counts(host.since_start)}", width)


def _memory(host: HostRow) -> str:
    endpoints = f"endpoint {words.words(host.endpoints)}" if host.endpoints else "no endpoint"
    if host.used_bytes is None or host.total_bytes is None:
        total = "" if host.total_bytes is None else f"{words.size(host.total_bytes)}, "
        return f"{total}{endpoints}"
    reserve = f" ({words.size(host.reserve_bytes)} of {words.size(host.total_bytes)} reserved)"
    limit = "" if host.max_resident_models is None else f", at most {words.count(host.max_resident_models, 'model')}"
    free = host.free_bytes if host.free_bytes is not None else 0
    return (
        f"{words.size(host.used_bytes)} used, {words.size(free)} free"
        f"{reserve if host.reserve_bytes else ''}{limit}, {endpoints}"
    )


def _resident(one: ResidentView, host: HostRow, now_ms: int) -> tuple[str, ...]:
    since = "" if one.since_ms is None else f" {words.duration(now_ms - one.since_ms)}"
    held_ms = 0 if one.held_until_ms is None else one.held_until_ms - now_ms
    notes = [
        "pinned" if one.pinned else "",
        f"held for {words.duration(held_ms)}" if held_ms > 0 else "",
        f"on {one.endpoint}" if len(host.endpoints) > 1 else "",
    ]
    return (
        line(one.model),
        words.NONE if one.context_tokens is None else str(one.context_tokens),
        words.size(one.memory_bytes),
        f"{one.phase}{since}",
        f"{one.busy}/{one.slots}",
        ", ".join(note for note in notes if note),
    )


def _swap(swap: SwapView, now_ms: int) -> str:
    verb = "loading" if swap.kind == "load" else "unloading"
    gone = [model for model in swap.evict if model != swap.model]
    text = f"{verb} {swap.model}" + (f" in place of {', '.join(gone)}" if gone else "")
    if not swap.begun:
        text += f", when calls on {', '.join(swap.evict)} have ended"
    left_ms = swap.ready_ms - now_ms
    until = f"about {words.duration(left_ms)} left" if left_ms > 0 else "longer than expected"
    return f"{text}: {until}, for {words.duration(now_ms - swap.since_ms)} so far ({swap.reason})"


def _queue(queue: ModelQueue, now_ms: int) -> str:
    tasks = queue.waiting - queue.calls
    kinds = [words.count(tasks, "task")] if tasks or not queue.calls else []
    kinds += [words.count(queue.calls, "live call")] if queue.calls else []
    text = f"{' and '.join(kinds)} {'waits' if queue.waiting == 1 else 'wait'} for {queue.model}"
    if queue.oldest_ms is not None:
        text += f", the oldest for {words.duration(now_ms - queue.oldest_ms)}"
    if queue.patience_ends_ms is None:
        return text
    left_ms = queue.patience_ends_ms - now_ms
    return text + (f", patient for {words.duration(left_ms)} more" if left_ms > 0 else ", patient no longer")


def _counts(counts: Counts) -> str:
    failed = f", {counts.failed} failed" if counts.failed else ""
    return (
        f"{words.count(counts.loads, 'load')}, {words.count(counts.unloads, 'unload')}, "
        f"{words.count(counts.swaps, 'swap')}{failed}, {words.duration(counts.lost_ms)} lost to them"
    )


def _wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    """A text in lines; those after the first stand deeper."""
    return wrap(
        clean(text),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
