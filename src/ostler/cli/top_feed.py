"""What `ostler top` shows, kept new beside it: asked for when something happens, and now and then.

    event stream --news--> asker --answers--> picture, wakes the screen
    wishes -----------------> doer --words--> message, wakes the screen

The stream only says when to ask. Threads, because the screen must answer a key while the hub is slow.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ostler.cli.board import ASKED_STATES, WAITING_STATES, Answers
from ostler.cli.deck import Wish
from ostler.domain.errors import OstlerError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient

EVERY_S = 2.0
"""The picture is asked for at least so often."""
REST_S = 0.25
"""And at most once in this time, however much happens."""
FOLLOW_AGAIN_S = 1.0
"""How long after the event stream broke off it is followed anew."""
PATIENCE_S = 0.2
"""How long the end waits for an answer that is under way: a person who leaves does not wait for a slow hub."""
TASKS_MAX = 500


def ask(client: "HubClient", *, expand: bool = False) -> Answers:
    """One picture."""
    return Answers(
        status=client.status(),
        tasks=client.tasks(ASKED_STATES, limit=TASKS_MAX),
        alerts=client.alerts(),
        waiting=client.tasks(WAITING_STATES, limit=TASKS_MAX) if expand else None,
    )


class _StoppedError(Exception):
    """Nothing more is to be followed."""


class Feed:
    """The hub, asked and told from threads. `wake`: readable when there is something new."""

    def __init__(self, connect: Callable[[], "HubClient"]) -> None:
        self._client = connect()
        self._following = connect()
        self._doing = connect()
        self.wake, self._told = os.pipe()
        os.set_blocking(self._told, False)
        self._picture: tuple[Answers, float] | None = None
        """The newest answers and when they came; replaced as a whole, because another thread reads them."""
        self.stale = False
        self.expand = False
        self.said: queue.SimpleQueue[tuple[Wish, tuple[str, ...]]] = queue.SimpleQueue()
        """What came of wishes."""
        self._news = threading.Event()
        self._wishes: queue.SimpleQueue[Wish | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._ask_for_ever, self._follow_for_ever, self._do_for_ever)
        ]

    def start(self) -> None:
        """Ask once, so that a hub that is not there is told at once, and go on asking."""
        self._take(ask(self._client))
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float = PATIENCE_S) -> bool:
        """Ask no more. Whether all that was under way ended within `patience_s`; what did not ends by itself."""
        self._stopping.set()
        self._wishes.put(None)
        self.hurry()
        end_s = time.monotonic() + patience_s
        while (living := [one for one in self._threads if one.is_alive()]) and time.monotonic() < end_s:
            self._following.hang_up()  # again: it may have been about to listen
            living[0].join(0.02)
        return not living

    def hurry(self) -> None:
        """Ask soon."""
        self._news.set()

    def do(self, wish: Wish) -> None:
        """Have a wish carried out; what comes of it is in `said`."""
        self._wishes.put(wish)

    @property
    def answers(self) -> Answers | None:
        """The newest picture."""
        return self._picture[0] if self._picture is not None else None

    def hub_ms(self) -> int:
        """The hub's clock now, for what counts down between two pictures; 0 before the first one."""
        if self._picture is None:
            return 0
        answers, taken_s = self._picture
        return answers.status.now_ms + int((time.monotonic() - taken_s) * 1000)

    def wakes(self) -> None:
        """Wake whoever waits at `wake`."""
        with suppress(BlockingIOError):
            os.write(self._told, b".")

    def _take(self, answers: Answers) -> None:
        self._picture, self.stale = (answers, time.monotonic()), False
        self.wakes()

    def _ask_for_ever(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(EVERY_S)
            self._news.clear()
            if self._stopping.is_set():
                return
            try:
                self._take(ask(self._client, expand=self.expand))
            except (OstlerError, OSError):
                self.stale = True
                self.wakes()
            self._stopping.wait(REST_S)

    def _follow_for_ever(self) -> None:
        while not self._stopping.is_set():
            with suppress(OstlerError, OSError, _StoppedError):
                for _ in self._following.follow(None, lambda _reason: self._goes_on(), self._goes_on):
                    self._goes_on()
            self._stopping.wait(FOLLOW_AGAIN_S)

    def _goes_on(self) -> None:
        """Something happened to the stream. Raises `_StoppedError` where nobody wants to know any more."""
        if self._stopping.is_set():
            raise _StoppedError
        self.hurry()

    def _do_for_ever(self) -> None:
        while (wish := self._wishes.get()) is not None:
            try:
                words = carried_out(self._doing, wish)
            except OstlerError as error:
                words = (f"{error.what}" + (f"; {error.remedy}" if error.remedy else ""),)
            except OSError as error:
                words = (f"the hub cannot be asked: {error}",)
            self.said.put((wish, words))
            self.hurry()
            self.wakes()


def carried_out(client: "HubClient", wish: Wish) -> tuple[str, ...]:
    """Do what was wished for; what there is to say of it. Raises `OstlerError`."""
    match wish.verb:
        case "why":
            found = client.why(wish.id)
            return (f"{wish.id}: {found.headline}", "", *found.lines)
        case "acknowledge":
            client.acknowledge(wish.id)
        case "answer":
            client.answer(wish.id, wish.text)
        case "cancel":
            client.cancel(wish.id)
        case "load" | "unload":
            return (_changed(client, wish),)
        case _:
            client.act(wish.id, wish.verb)
    return (f"{wish.verb}: {wish.id} done",)


def _changed(client: "HubClient", wish: Wish) -> str:
    model, _, host = wish.text.partition(" ")
    if not host.strip():
        return "say model and host, such as: qwen2.5:7b box-1"
    change = client.load_model if wish.verb == "load" else client.unload_model
    change(host.strip(), model)
    return f"{wish.verb} of {model} on {host.strip()} has begun"
