"""`ContextManager`: a talk that fits its model, whatever is added to it.

    system message + working set + summary + the newest messages

What is asked for a call (`messages()`) is a view: nothing is lost by trimming. Messages are summarised, and only then
forgotten, at every tenth tick (`tick()`), by a model when one is given and answers, else by extraction. Each trim that
left something out and each compaction is a record in `records`.

Not made for several threads. Counting is O(length of the talk) a view.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from ostler.context.compaction import Split, extracted, instruction, is_due, split
from ostler.context.exchanges import Role
from ostler.context.fit import Fitted, fitted, shortened
from ostler.context.measure import Count, TokenRates
from ostler.context.messages import Message, role_of, text_of, tokens_of
from ostler.context.sizes import ContextBudget, Window
from ostler.domain.errors import OstlerError
from ostler.domain.four_tiers import Tier

Summarizer = Callable[[str], str]
"""Asks a model; raises `OstlerError` or `OSError` when none can be reached."""
AsyncSummarizer = Callable[[str], Awaitable[str]]
RECORDS_KEPT = 100
ROOM_TOKENS = 3_000
"""Of the talk, so much is shown to a model that is asked to summarise: what the smallest tier can read."""


class Hot(Protocol):
    """What an agent must not lose sight of (a working set): shown in every view, told of each summary."""

    def text(self) -> str:
        """For a model to read; empty when there is nothing."""
        ...

    def add(self, kind: str, text: str) -> object:
        """Keep an entry."""
        ...


class By(StrEnum):
    """What made a record."""

    TRIM = "trim"
    MODEL = "model"
    EXTRACT = "extract"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was dropped or summarised, and why."""

    by: By
    tick: int
    messages: int
    """Messages that were left out of a view, or summarised."""
    cut: int = 0
    """Messages of which the middle was left out."""
    tokens_before: int = 0
    tokens: int = 0
    budget: int = 0
    note: str = ""
    """Why a model did not summarise."""


class ContextManager:
    """A talk kept inside the budget of a tier.

    `tier` or `tokens` say how long a view may be, `model` whose tokens count; `rates` counts them (measured, or exact),
    `hot` is a working set. `summarize` asks a model (see `ModelRouter.summarize`), `asummarize` does so in a coroutine.
    """

    def __init__(
        self,
        system: str | Message = "",
        *,
        tier: Tier | str | int = Tier.LOCAL_CHEAP,
        tokens: int | None = None,
        budget: ContextBudget | None = None,
        window: Window | None = None,
        model: str = "",
        rates: TokenRates | None = None,
        hot: Hot | None = None,
    ) -> None:
        self.budget = budget or ContextBudget()
        self.window = window or Window()
        self.tier = Tier.named(tier)
        self.tokens = tokens if tokens is not None else self.budget.tokens(self.tier)
        self.model = model
        self.rates = rates or TokenRates()
        self.hot = hot
        self.summarize: Summarizer | None = None
        self.asummarize: AsyncSummarizer | None = None
        self.summary = ""
        self.ticks = 0
        self.records: deque[Record] = deque(maxlen=RECORDS_KEPT)
        self._system: list[Message] = []
        self._talk: list[Message] = []
        if system:
            self.add({"role": "system", "content": system} if isinstance(system, str) else system)

    def add(self, *messages: Message) -> None:
        """Take messages in. System messages are kept apart and stay for good."""
        for message in messages:
            (self._system if role_of(message) is Role.SYSTEM else self._talk).append(message)

    def say(self, role: str, text: str) -> None:
        """Take a message in."""
        self.add({"role": role, "content": text})

    @property
    def kept(self) -> Sequence[Message]:
        """All messages that were not summarised yet, system messages aside."""
        return tuple(self._talk)

    def messages(self, *, tier: Tier | str | int | None = None) -> list[Message]:
        """What to send: within the budget, of this manager's tier or of another. See `view` for what it took."""
        return list(self.view(tier=tier).messages)

    def view(self, *, tier: Tier | str | int | None = None) -> Fitted:
        """What to send, and what was left out of it."""
        tokens = self.tokens if tier is None else self.budget.tokens(tier)
        found = self._fitted(tokens)
        if found.dropped or found.cut:
            self.records.append(
                Record(
                    by=By.TRIM,
                    tick=self.ticks,
                    messages=found.dropped,
                    cut=found.cut,
                    tokens_before=found.tokens_before,
                    tokens=found.tokens,
                    budget=found.budget,
                    note="" if found.fits else "what must stay is longer than the budget",
                )
            )
        return found

    def trim(self, messages: Sequence[Message], *, tier: Tier | str | int | None = None) -> Fitted:
        """Any messages made to fit in the same way; nothing is kept."""
        tokens = self.tokens if tier is None else self.budget.tokens(tier)
        return fitted(messages, tokens, self._count, window=self.window.size)

    def note_usage(self, messages: Sequence[Message], input_tokens: int) -> None:
        """Learn from what the endpoint has counted for a prompt."""
        self.rates.note(self.model, sum(tokens_of(message, len) for message in messages), input_tokens)

    def tick(self) -> Record | None:
        """Count a tick; at every tenth (`window.compaction_interval`) older messages are summarised."""
        self.ticks += 1
        return self.compact() if is_due(self.ticks, self.window.compaction_interval) else None

    async def atick(self) -> Record | None:
        """As `tick`, asking the model in a coroutine (`asummarize`)."""
        self.ticks += 1
        return await self.acompact() if is_due(self.ticks, self.window.compaction_interval) else None

    def compact(self) -> Record | None:
        """Summarise older messages now; `None` when there are none."""
        halves = split(self._talk, self.window.keep_after_compaction)
        if not halves.older:
            return None
        if self.summarize is None:
            return self._keep(halves, None, "no model was given")
        try:
            said = self.summarize(self._asked(halves))
        except (OstlerError, OSError) as error:
            return self._keep(halves, None, str(error))
        return self._keep(halves, said, "")

    async def acompact(self) -> Record | None:
        """As `compact`, asking the model in a coroutine."""
        if self.asummarize is None:
            return self.compact()
        halves = split(self._talk, self.window.keep_after_compaction)
        if not halves.older:
            return None
        try:
            said = await self.asummarize(self._asked(halves))
        except (OstlerError, OSError) as error:
            return self._keep(halves, None, str(error))
        return self._keep(halves, said, "")

    def _asked(self, halves: Split) -> str:
        tokens = self.window.summary_tokens
        return instruction(halves.older, self.summary, tokens, room=ROOM_TOKENS, count=self._count)

    def _keep(self, halves: Split, said: str | None, note: str) -> Record:
        """Put a summary in the place of what it summarises. A model that says nothing, or more than was asked for
        twice over, is not believed.
        """
        count, tokens = self._count, self.window.summary_tokens
        text = (said or "").strip()
        by = By.MODEL
        if said is not None and not (text and count(text) <= 2 * tokens):
            note = "the model said nothing" if not text else "the model said more than twice what was asked for"
        if note:
            by, text = By.EXTRACT, extracted(halves.older, self.summary, tokens, count)
        before = sum(tokens_of(message, count) for message in halves.older) + count(self.summary)
        # Messages that came while a model was asked stand behind those that were split.
        self._talk = [*halves.kept, *self._talk[len(halves.older) + len(halves.kept) :]]
        self.summary = text
        if self.hot is not None:
            self.hot.add("summaries", text)
        record = Record(
            by=by, tick=self.ticks, messages=len(halves.older), tokens_before=before, tokens=count(text), note=note
        )  # fmt: skip
        self.records.append(record)
        return record

    def _fitted(self, tokens: int) -> Fitted:
        told = [*self._system, *self._notes(tokens), *self._talk]
        return fitted(told, tokens, self._count, window=self.window.size)

    def _notes(self, tokens: int) -> list[Message]:
        """The working set and the summary, as messages of the system that take a half of the budget at most. A summary
        that the working set shows is shown once.
        """
        room, count = tokens // 4, self._count
        hot = shortened(self.hot.text(), room, count) if self.hot is not None else ""
        notes = [f"What you keep in mind:\n{hot}"] if hot else []
        if self.summary and self.summary not in hot:
            notes.append(f"Summary of what was said before:\n{shortened(self.summary, room, count)}")
        return [{"role": "system", "content": note} for note in notes]

    @property
    def _count(self) -> Count:
        return self.rates.counter(self.model)

    def status(self) -> Mapping[str, object]:
        """Figures for people: ticks, messages, their length against the budget, summaries made."""
        view = self._fitted(self.tokens)
        return {
            "ticks": self.ticks,
            "messages": len(self._talk),
            "tokens": view.tokens_before,
            "budget": self.tokens,
            "shown": sum(role_of(message) is not Role.SYSTEM for message in view.messages),
            "shown_tokens": view.tokens,
            "compactions": sum(record.by is not By.TRIM for record in self.records),
            "last": text_of(self._talk[-1])[:80] if self._talk else "",
        }
