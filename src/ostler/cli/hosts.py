"""`ostler hosts`: what is in the memory of each machine, what is changing, what waits, what swapping has cost."""

import sys
import time
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.fleet_views import HostList

WATCH_S = 1.0


@click.command(epilog=example("ostler hosts", "ostler hosts --watch", "ostler hosts --json"))
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@json_option
@hub_options
def hosts(client: "HubClient", *, watch: bool, as_json: bool) -> None:
    """Show what is loaded on each host: memory, residents, swaps, queues by model, and time lost to swaps.

    Beside it stands what the last hour saved against first-in-first-out; that comparison is simulated.
    """
    answer = client.hosts()
    if not watch:
        _print(answer, as_json=as_json)
    elif as_json or not sys.stdout.isatty():
        _print_changes(client, answer, as_json=as_json)
    else:
        _live(client, answer)


def _print(answer: "HostList", *, as_json: bool) -> None:
    from ostler.cli import render
    from ostler.cli.host_text import host_lines, terminal_width

    if as_json:
        render.print_json(answer)
        return
    for line in host_lines(answer, terminal_width()):
        click.echo(line)


def _print_changes(client: "HubClient", answer: "HostList", *, as_json: bool) -> None:
    """Where there is no terminal: print it again whenever something but the clock has changed."""
    import msgspec

    from ostler.domain.errors import UnreachableError

    seen: object = None
    is_away = False
    while True:
        now = msgspec.structs.replace(answer, now_ms=0)
        if now != seen:
            seen = now
            _print(answer, as_json=as_json)
            sys.stdout.flush()
        time.sleep(WATCH_S)
        try:
            answer, is_away = client.hosts(), False
        except UnreachableError:
            if not is_away:
                click.echo("the hub does not answer; waiting for it", err=True)
            is_away = True


def _live(client: "HubClient", answer: "HostList") -> None:
    """On a terminal: redraw it in place. A hub that does not answer for a while leaves the last picture."""
    from rich.live import Live
    from rich.text import Text

    from ostler.cli.host_text import host_lines, terminal_width
    from ostler.domain.errors import UnreachableError

    with Live(auto_refresh=False, screen=False) as display:
        note = ""
        while True:
            display.update(Text("\n".join([*host_lines(answer, terminal_width()), note]).rstrip()), refresh=True)
            time.sleep(WATCH_S)
            try:
                answer, note = client.hosts(), ""
            except UnreachableError:
                note = "\nthe hub does not answer; waiting for it"
