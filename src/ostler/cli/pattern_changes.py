"""`ostler patterns changes`: what learning has changed, with its evidence and the command that takes it back."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ostler.client.hub_client import HubClient
    from ostler.domain.event import Event

PAGE = 1_000
PAGES_MAX = 50
NAME = "learning.changed"


@click.command(epilog=example("ostler patterns changes", "ostler patterns changes --type docs"))
@click.option("--type", "task_type", default="", metavar="NAME", help="Only this type of work.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 1_000), default=20, show_default=True,
              help="At most so many, the newest first.")  # fmt: skip
@json_option
@hub_options
def changes(client: "HubClient", *, task_type: str, limit: int, as_json: bool) -> None:
    """List what outcomes have changed in decisions, with the evidence and how to take it back.

    What is in force at this moment is shown by `ostler patterns recommend`.
    """
    from ostler.cli import render

    found = []
    for event in newest_changes(client):
        if task_type in ("", event.metadata["task_type"]):
            found.append(event)
        if len(found) >= limit:
            break
    if as_json:
        render.print_json(found)
        return
    rows = [change_row(event) for event in found]
    render.print_table(("when", "type", "good enough", "poor", "dominated", "evidence", "undo"), rows, empty="none yet")


def newest_changes(client: "HubClient") -> "Iterator[Event]":
    """The changes, the newest first, as far back as `PAGES_MAX` pages of events go."""
    end = client.status().last_event_seq
    for _ in range(PAGES_MAX):
        if end <= 0:
            return
        page = client.events(max(0, end - PAGE), PAGE).events
        yield from (event for event in reversed(page) if event.name == NAME and (event.seq or 0) <= end)
        end -= PAGE


def change_row(event: "Event") -> tuple[str, ...]:
    """The cells of a change."""
    import time

    said = {name: str(value or "") for name, value in event.metadata.items()}
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at_ms / 1000))
    enough, poor = _moved(said, "enough"), _moved(said, "poor")
    kind, dominated = said.get("task_type", "") or "unknown", said.get("dominated", "") or "-"
    return (clock, kind, enough, poor, dominated, said.get("evidence", ""), said.get("undo", ""))


def _moved(said: dict[str, str], name: str) -> str:
    before, after = said.get(f"{name}_before", "") or "-", said.get(name, "") or "-"
    return after if before == after else f"{before} -> {after}"
