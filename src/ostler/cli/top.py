"""`ostler top`: the hub on one screen, live."""

import sys
import time
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import address_options, connect, example, json_option

if TYPE_CHECKING:
    from ostler.cli.board import Board
    from ostler.cli.deck import Deck
    from ostler.cli.screen import Screen
    from ostler.cli.top_feed import Feed

TICK_S = 1.0
"""Countdowns move once a second."""


@click.command(epilog=example("ostler top", "ostler top --once", "ostler top --json"))
@click.option("--once", is_flag=True, help="Print the picture of this moment and end.")
@json_option
@address_options
def top(*, hub: str | None, token_file: str | None, once: bool, as_json: bool) -> None:
    """Watch the hub: what needs you, what runs, what waits and for what; with keys to act. `?` shows them.

    Without a terminal it prints the picture of this moment.
    """
    if as_json or once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print(connect(hub, token_file), as_json=as_json)
        return
    from ostler.cli.top_feed import Feed

    feed = Feed(lambda: connect(hub, token_file))
    feed.start()
    try:
        _watch(feed)
    finally:
        feed.stop()


def _print(client: object, *, as_json: bool) -> None:
    from ostler.cli import render
    from ostler.cli.board import board_of
    from ostler.cli.top_feed import ask
    from ostler.client.hub_client import HubClient

    assert isinstance(client, HubClient)  # noqa: S101 - for the type checker: what connects is typed as anything
    answers = ask(client)
    if as_json:
        render.print_json(answers)
        return
    for text in text_of(board_of(answers, answers.status.now_ms)):
        click.echo(render.clean(text))


def text_of(board: "Board") -> list[str]:
    """The board as plain text: every row, whole."""
    from ostler.cli.render import aligned

    lines = [board.head, *([f"nothing runs: {board.idle}"] if board.idle else [])]
    for band in board.bands:
        lines += ["", f"{band.title} {len(band.rows) or ''}".rstrip()]
        if band.rows:
            lines += [f"  {text}" for text in aligned(band.headings, [row.cells for row in band.rows])]
        else:
            lines.append(f"  {band.empty}")
    return lines


def _watch(feed: "Feed") -> None:
    from ostler.cli.deck import Deck
    from ostler.cli.screen import full_screen

    deck = Deck()
    with full_screen(feed.wake, feed.wakes) as screen:
        while _turn(screen, feed, deck):
            pass


def _turn(screen: "Screen", feed: "Feed", deck: "Deck") -> bool:
    """Show what there is, then wait for a key, news or the next second; `False` = leave."""
    from ostler.cli.board import board_of

    if feed.answers is not None:
        deck.show(board_of(feed.answers, feed.hub_ms()))
    deck.stale = feed.stale
    while not feed.said.empty():
        wish, words = feed.said.get()
        if wish.verb == "why" and len(words) > 1:
            deck.read(words)
        else:
            deck.message = words[0]
    screen.draw(deck.lines(*screen.size()))
    for key in screen.keys(TICK_S - time.time() % TICK_S):
        wish_made = deck.press(key) if key else None
        if wish_made is None:
            continue
        if wish_made.verb == "quit":
            return False
        if wish_made.verb == "expand":
            feed.expand = not feed.expand
            feed.hurry()
        else:
            deck.message = f"{wish_made.verb} ..."
            feed.do(wish_made)
    return True
