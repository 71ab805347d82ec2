"""`ostler events`: what happened, and what happens."""

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.domain.event import Event

_CLOCKS = ("%H:%M:%S", "%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S")


@click.command(
    epilog=example("ostler events --last 20", "ostler events --follow", "ostler events --task t-k3v5q7aymz --json")
)
@click.option("--follow", "-f", is_flag=True, help="Go on printing what happens, until Ctrl-C.")
@click.option("--after", metavar="SEQ", type=click.IntRange(min=0), help="Begin after this event.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=500, show_default=True, help="At most so many; not with --follow."
)
@click.option(
    "--last", metavar="N", type=click.IntRange(1, 1000), help="Begin with the newest so many, of all or of the task."
)
@click.option("--task", "task_id", metavar="ID", help="Only events of this task.")
@json_option
@hub_options
def events(
    client: "HubClient",
    *,
    follow: bool,
    after: int | None,
    limit: int,
    last: int | None,
    task_id: str | None,
    as_json: bool,
) -> None:
    """Print events, oldest first; with --follow as they happen, one line (or JSON document) each.

    Lines have the date where not all events are of today. A broken connection is taken up again after the last event
    printed, so that none is missed or printed twice.
    """
    from ostler.cli import render
    from ostler.domain.errors import InvalidInputError

    if last is not None:
        if after is not None:
            raise InvalidInputError("--last and --after both say where to begin", where="--last", remedy="give one")
        after, limit = _before_the_last(client, last, task_id), 1000 if task_id else last
    if follow:
        outage = _Outage()
        happening = client.follow(after, outage.begin, outage.end)
        (_print_json if as_json else _print)(event for event in happening if task_id in (None, event.task_id))
        return
    page = client.events(after or 0, limit, task_id)
    if as_json:
        render.print_json(page)
        return
    _print(page.events, at_once=page.events)
    if len(page.events) == limit and last is None:
        click.echo(f"more: --after {page.last_seq}", err=True)


def _before_the_last(client: "HubClient", last: int, task_id: str | None) -> int:
    """The event after which the newest so many begin."""
    if task_id is None:
        return max(0, client.status().last_event_seq - last)
    seqs: deque[int] = deque([0], maxlen=last + 1)
    while events := client.events(seqs[-1], 1000, task_id).events:
        seqs.extend(event.seq for event in events)
    return seqs[0]


class EventLines:
    """Writes events as lines: number, time of day, name, task, and all that they carry.

    The date stands before the time from the first event on that is not of today, and the year with it from the first
    one on that is of another year: lines are no wider than what is shown needs, and alike from there on.
    """

    def __init__(self, now_s: float, at_once: Iterable["Event"] = ()) -> None:
        """`now_s`: of today. `at_once`: shown together, so that all of them are alike."""
        self._today = time.localtime(now_s)
        self._wide = 0
        for event in at_once:
            self._widen(time.localtime(event.at_ms / 1000))

    def line(self, event: "Event") -> str:
        """One event on one line."""
        at = time.localtime(event.at_ms / 1000)
        self._widen(at)
        clock = time.strftime(_CLOCKS[self._wide], at) + f".{event.at_ms % 1000:03d}"
        carried = {**event.metadata, **event.measurements}
        fields = [f"{name}={value}" for name, value in carried.items() if value is not None]
        return " ".join([f"{event.seq:>6}", clock, event.name, event.task_id or "-", *fields])

    def _widen(self, at: time.struct_time) -> None:
        of_today, of_this_year = at[:3] == self._today[:3], at.tm_year == self._today.tm_year
        self._wide = max(self._wide, 0 if of_today else 1 if of_this_year else 2)


def _print(events: Iterable["Event"], at_once: Iterable["Event"] = ()) -> None:
    from ostler.cli.render import clean

    lines = EventLines(time.time(), at_once)
    for event in events:
        click.echo(clean(lines.line(event)).replace("\n", " "))


def _print_json(events: Iterable["Event"]) -> None:
    from ostler.cli.render import print_json

    for event in events:
        print_json(event)


class _Outage:
    """Tells a person that the hub is away: once, however often it is asked for again."""

    def __init__(self) -> None:
        self._told = False

    def begin(self, reason: str) -> None:
        """The connection broke, or could not be made again."""
        if not self._told:
            click.echo(f"ostler: connection lost ({reason}); waiting for the hub", err=True)
        self._told = True

    def end(self) -> None:
        """A connection stands."""
        if self._told:
            click.echo("ostler: connected again", err=True)
        self._told = False
