"""`ModelRouter`: a hub inside a program: decides and calls through the ladder, its SQLite file beside it, no server.

    from ostler import ModelRouter
    with ModelRouter() as router:
        print(router.ask("name three horses").text)

It is the hub itself, without its faces: the same queue, decision, ledger, fallback and escalation. It runs in a thread
of its own and starts when it is first needed. What was asked is durable; who asks the same `id` again gets the same
answer. One program at a time may have a folder (`ConflictError`).
"""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from uuid import uuid4

import msgspec

from ostler.app.router_parts import RouterParts
from ostler.app.router_thread import RouterThread
from ostler.context.compaction import transcript
from ostler.context.exchanges import Role
from ostler.context.messages import Message, role_of, text_of
from ostler.domain.decision import Decision, Route
from ostler.domain.errors import OstlerError
from ostler.domain.four_tiers import TaskType
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.states import TaskState
from ostler.domain.talk import Message as Said
from ostler.domain.tasks import TaskSpec
from ostler.hub.views import TaskAnswer, Why
from ostler.routing.classify import classify as by_words

T = TypeVar("T")

TIMEOUT_S = 600.0
SUMMARY_TYPE = "summarization"


class Wish(TypedDict, total=False):
    """What may be said of a question beside its words; what is not said is decided."""

    id: str
    """Of the question: the same one again is not asked twice."""
    system: str
    tier: str
    model: str
    endpoint: str
    task_type: str
    recent_errors: tuple[str, ...]
    """Errors of earlier tries; the same one three times raises the tier."""
    session: str
    tick: str
    critical: bool
    local_only: bool
    max_output_tokens: int
    temperature: float
    timeout_s: float
    """Longest wait for the answer, queue and all tries included."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Where a question would go now."""

    runs: bool
    """False: it would wait; `summary` says why."""
    task_type: str
    complexity: str
    tier: str | None = None
    model: str | None = None
    endpoint: str | None = None
    summary: str = ""
    why: tuple[str, ...] = ()
    decision: Decision


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said, and what it took. `cost` is in US dollars."""

    text: str
    id: str
    tier: str
    model: str
    endpoint: str
    task_type: str
    cost: float
    input_tokens: int
    output_tokens: int
    attempts: int
    fallback_used: bool
    decision: Decision | None = None


class NoAnswerError(OstlerError):
    """No model gave an answer; the message is that of the last failure. `id` names the question in the records."""

    code = "no_answer"

    def __init__(self, what: str, task_id: str, *, remedy: str = "") -> None:
        super().__init__(what, where=task_id, remedy=remedy)
        self.id = task_id


class ModelRouter:
    """Routes questions to the cheapest tier that may answer them, and calls it.

    `profile` is a file or the name of a built-in one; without it `ostler.yaml` is taken, else what is found on this
    machine. `data` is the folder of its database. Methods that begin with `a` are coroutines. Safe to use from several
    threads. Close it, or use it in a `with`.
    """

    def __init__(self, profile: str | Path | None = None, *, data: str | Path = "data/router") -> None:
        self._profile = None if profile is None else str(profile)
        self._data = Path(data).absolute()
        self._lock = threading.Lock()
        self._home: RouterThread[RouterParts] | None = None

    def route(self, question: str | Sequence[Message], **wish: Unpack[Wish]) -> Choice:
        """Where a question would go now. Calls no model."""
        return self._wait(partial(_route, question, wish))

    async def aroute(self, question: str | Sequence[Message], **wish: Unpack[Wish]) -> Choice:
        """As `route`."""
        return await asyncio.wrap_future(self._send(partial(_route, question, wish)))

    def ask(self, question: str | Sequence[Message], **wish: Unpack[Wish]) -> Answer:
        """Ask, and wait for the answer. Raises `NoAnswerError`, `InvalidInputError`.

        Messages are sent as they are, by their roles. A talk that does not end with the user, or has results of tools
        in it, is sent as one transcript: what speaks to tools needs the gateway.
        """
        return self._wait(partial(_ask, question, wish))

    async def aask(self, question: str | Sequence[Message], **wish: Unpack[Wish]) -> Answer:
        """As `ask`. Cancelling it cancels the question."""
        return await asyncio.wrap_future(self._send(partial(_ask, question, wish)))

    def classify(self, question: str) -> TaskType:
        """Which of the eight types of work its words tell; starts nothing. What was learned of other types of work is
        in the `task_type` of a route.
        """
        return TaskType(by_words(TaskSpec(id="question", prompt=question)).task_type)

    def summarize(self, instruction: str) -> str:
        """Have the cheapest tier that may write a summary; for `ContextManager.summarize`."""
        return self.ask(instruction, task_type=SUMMARY_TYPE).text

    async def asummarize(self, instruction: str) -> str:
        """As `summarize`; for `ContextManager.asummarize`."""
        return (await self.aask(instruction, task_type=SUMMARY_TYPE)).text

    def close(self) -> None:
        """Let go of everything; questions under way are given up and stay in the records. Safe to repeat."""
        with self._lock:
            home, self._home = self._home, None
        if home is not None:
            home.close()

    async def aclose(self) -> None:
        """As `close`."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _opened(self) -> RouterParts:
        env = {**os.environ, "OSTLER_HUB_DATA_DIR": str(self._data)}
        return await RouterParts.start(self._profile, env, self._data)

    def _send(self, work: Callable[[RouterParts], Awaitable[T]]) -> Future[T]:
        with self._lock:
            if self._home is None:
                self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
                # The writer thread must get its turn beside a busy event loop.
                sys.setswitchinterval(min(sys.getswitchinterval(), 0.0005))
                self._home = RouterThread(self._opened, "ostler-router")
            return self._home.begin(work)

    def _wait(self, work: Callable[[RouterParts], Awaitable[T]]) -> T:
        future = self._send(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _route(question: str | Sequence[Message], wish: Wish, parts: RouterParts) -> Choice:
    verdict, why = await parts.hub.route(_spec(question, wish))
    return _choice(isinstance(verdict, Route), verdict.decision, why)


async def _ask(question: str | Sequence[Message], wish: Wish, parts: RouterParts) -> Answer:
    parts.must_have_models()
    spec, limit_s = _spec(question, wish), wish.get("timeout_s", TIMEOUT_S)
    await parts.hub.submit([spec])
    try:
        async with asyncio.timeout(limit_s):
            answer = await parts.ended(spec.id)
    except TimeoutError:
        why = await parts.given_up(spec.id)
        what, remedy = f"no answer within {limit_s:g} s: {why}", "allow more time with timeout_s"
        raise NoAnswerError(what, spec.id, remedy=remedy) from None
    except asyncio.CancelledError:
        await parts.given_up(spec.id)
        raise
    return _answered(answer, await parts.cost_micro_usd(spec.id))


def _spec(question: str | Sequence[Message], wish: Wish) -> TaskSpec:
    fields: dict[str, Any] = {name: value for name, value in wish.items() if name != "timeout_s"}
    fields.setdefault("id", f"ask-{uuid4().hex}")
    if isinstance(question, str):
        return TaskSpec(prompt=question, **fields)
    system = [text_of(message) for message in question if role_of(message) is Role.SYSTEM]
    talk = [message for message in question if role_of(message) is not Role.SYSTEM]
    fields["system"] = "\n\n".join([*filter(None, [fields.get("system")]), *system])
    roles = [role_of(message) for message in talk]
    if not roles or roles[-1] is not Role.USER or Role.RESULTS in roles:
        return TaskSpec(prompt=transcript(talk), **fields)
    said = [Said(role=role.value, text=text_of(message)) for role, message in zip(roles, talk, strict=True)]
    before = tuple(message for message in said[:-1] if message.text.strip())
    return TaskSpec(prompt=said[-1].text, talk=before, **fields)


def _choice(runs: bool, decision: Decision, why: Why) -> Choice:  # noqa: FBT001 -- a field of the answer
    return Choice(
        runs=runs,
        task_type=decision.classification.task_type,
        complexity=decision.classification.complexity.value,
        tier=decision.effective_tier,
        model=decision.selected_model,
        endpoint=decision.selected_endpoint,
        summary=why.headline,
        why=why.lines,
        decision=decision,
    )


def _answered(answer: TaskAnswer, cost_micro_usd: int) -> Answer:
    """The answer of a question that has ended. Raises `NoAnswerError` when it ended without one."""
    task = answer.task
    if task.state is not TaskState.SUCCEEDED:
        failure = task.failure.message if task.failure is not None else f"it is {task.state.value}"
        raise NoAnswerError(failure, task.id, remedy="route() says where it would go now")
    usages = [attempt.usage for attempt in answer.attempts if attempt.usage is not None]
    return Answer(
        text=answer.output or "",
        id=task.id,
        tier=task.tier or "",
        model=task.model or "",
        endpoint=task.endpoint or "",
        task_type=task.facts.classification.task_type,
        cost=cost_micro_usd / MICRO_USD_PER_USD,
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        attempts=len(answer.attempts),
        fallback_used=task.fallback_used,
        decision=answer.decisions[-1] if answer.decisions else None,
    )
