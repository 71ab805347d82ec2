"""Tests of direct model calls, with a driver that is played by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from ostler.domain.allowances import Reported
from ostler.domain.calls import CallError, Completion, Delta, Message, ModelCall
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.errors import UnreachableError
from ostler.domain.fleet import Probe, Resident
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Usage
from ostler.domain.work import Assignment, Finished, ModelRoute, Progress, Report
from ostler.workers.run import Run
from ostler.workers.runners import chat as chat_module
from ostler.workers.runners.chat import ChatRunner
from tests.workers.timing_by_hand import HandTiming, settle
from tests.workers.work_made import CLOUD, ENDPOINT, chat, route, run_of

Piece = Delta | Completion | Exception
DONE = Completion(finish_reason="stop", usage=Usage(input_tokens=5, output_tokens=2))


class PlayedDriver:
    """Streams given pieces; after them it hangs if told so. Notes what was asked and whether the stream was closed."""

    def __init__(self, *pieces: Piece, hangs: bool = False) -> None:
        self.pieces = pieces
        self.hangs = hangs
        self.asked: list[tuple[EndpointSpec, ModelCall]] = []
        self.closed = 0
        self.before_each: Callable[[], None] = lambda: None
        self.may_send: Callable[[], bool] | None = None

    async def chat(
        self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Delta | Completion]:
        self.asked.append((spec, call))
        self.may_send = may_send
        try:
            for piece in self.pieces:
                self.before_each()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def probe(self, spec: EndpointSpec) -> Probe:
        raise NotImplementedError

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        raise NotImplementedError

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        raise NotImplementedError


def says(*words: str) -> list[Piece]:
    return [Delta(text=word) for word in words]


class Asked:
    """One run of the chat runner against a played driver."""

    def __init__(self, assignment: Assignment, driver: PlayedDriver, own_access: ModelRoute | None = None) -> None:
        self.timing = HandTiming()
        self.reports: list[Report] = []
        self.run: Run = run_of(assignment, clock=self.timing, reports=self.reports)
        self.kinds: list[EndpointKind] = []
        self._driver = driver
        self.runner = ChatRunner(self._driver_of, own_access=own_access)

    def _driver_of(self, kind: EndpointKind) -> PlayedDriver:
        self.kinds.append(kind)
        return self._driver

    async def finish(self) -> Finished:
        return await self.runner.run(self.run)


async def ask(
    *pieces: Piece, assignment: Assignment | None = None, own_access: ModelRoute | None = None
) -> tuple[Finished, PlayedDriver]:
    driver = PlayedDriver(*pieces)
    return await Asked(assignment or chat(route=route()), driver, own_access).finish(), driver


async def test_an_answer_is_collected() -> None:
    """The text of the stream is the output, with the usage that the endpoint reported."""
    finished, driver = await ask(*says("Hello", ", ", "wörld"), DONE)

    assert (finished.ok, finished.output, finished.output_bytes) == (True, "Hello, wörld", 13)
    assert finished.usage == DONE.usage
    assert driver.closed == 1


async def test_the_driver_may_ask_whether_the_call_is_still_wanted() -> None:
    """Right before it is sent, of the lease under which the attempt runs; one that was not sent is told as lost."""
    lost = CallError(FailureClass.WORKER_LOST, "nothing was sent")
    driver = PlayedDriver(lost)
    asked = Asked(chat(route=route()), driver)
    finished = await asked.finish()

    assert driver.may_send is asked.run.has_right
    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.WORKER_LOST
    assert finished.usage is None


async def test_thinking_is_not_part_of_the_answer() -> None:
    """Hidden reasoning counts as a sign of life and never as output."""
    finished, _ = await ask(Delta(reasoning="let me see"), *says("42"), DONE)

    assert finished.output == "42"


async def test_the_call_says_what_the_task_and_the_route_say() -> None:
    """System and prompt become messages, the route gives model and context, the smaller limit holds."""
    task = chat(
        "why?",
        system="be brief",
        temperature=0.5,
        max_output_tokens=100,
        route=route(model="big", context_tokens=8192, max_output_tokens=500),
    )

    _, driver = await ask(*says("x"), DONE, assignment=task)

    ((endpoint, call),) = driver.asked
    assert endpoint == ENDPOINT
    assert call == ModelCall(
        model="big",
        messages=(Message(role="system", text="be brief"), Message(role="user", text="why?")),
        max_output_tokens=100,
        temperature=0.5,
        context_tokens=8192,
    )


async def test_what_was_said_before_stands_between_system_and_prompt() -> None:
    """By its roles, in its order."""
    before = (Message(role="user", text="Name a horse."), Message(role="assistant", text="Bucephalus."))

    _, driver = await ask(*says("x"), DONE, assignment=chat("Another.", system="be brief", talk=before, route=route()))

    ((_, call),) = driver.asked
    assert [message.role for message in call.messages] == ["system", "user", "assistant", "user"]
    assert call.messages[1:3] == before
    assert call.messages[3].text == "Another."


async def test_a_tier_limits_what_a_task_may_ask() -> None:
    """A task cannot raise the route's limit, and without a system text there is no system message."""
    _, driver = await ask(
        *says("x"), DONE, assignment=chat(max_output_tokens=9_999, route=route(max_output_tokens=500))
    )

    ((_, call),) = driver.asked
    assert call.max_output_tokens == 500
    assert [message.role for message in call.messages] == ["user"]


@pytest.mark.parametrize("kind", [FailureClass.RATE_LIMIT, FailureClass.AUTH, FailureClass.CONTEXT_TOO_LONG])
async def test_a_failed_call_keeps_its_class(kind: FailureClass) -> None:
    """What the driver found out reaches the hub: class, words, and the endpoint's word on when to come back."""
    finished, driver = await ask(CallError(kind, "the endpoint says no", retry_after_ms=7_000))

    assert finished.failure is not None
    assert (finished.ok, finished.failure.kind) == (False, kind)
    assert (finished.failure.message, finished.failure.retry_after_ms) == ("the endpoint says no", 7_000)
    assert finished.usage is None
    assert driver.closed == 1


async def test_a_call_that_fails_half_way_shows_what_came_and_what_it_cost() -> None:
    """An answer that broke off is kept as partial output, with an estimate of its tokens for the ledger."""
    finished, _ = await ask(*says("half ", "an ans"), CallError(FailureClass.CUT, "cut", emitted=True))

    assert (finished.ok, finished.output) == (False, "half an ans")
    assert finished.usage is not None
    assert (finished.usage.output_tokens, finished.usage.estimated) == (2, True)


async def test_a_stream_without_an_end_was_cut() -> None:
    """However much text came, an answer without its end is never passed off as whole."""
    finished, _ = await ask(*says("looks complete."))

    assert finished.failure is not None
    assert (finished.ok, finished.failure.kind) == (False, FailureClass.CUT)
    assert finished.output == "looks complete."


async def test_an_endpoint_that_is_not_there_is_a_network_failure() -> None:
    """An address that does not answer from this machine says nothing about the endpoint for others."""
    finished, _ = await ask(UnreachableError("no route", where="http://127.0.0.1:9"))

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.NETWORK
    assert "'den'" in finished.failure.message


async def test_a_limit_spent_on_thinking_is_a_lack_of_capability() -> None:
    """No text because the limit was used up is a failure that says what to change; the tokens are charged."""
    usage = Usage(output_tokens=2048, reasoning_tokens=2048)
    finished, _ = await ask(Delta(reasoning="hmm " * 9), Completion(finish_reason="length", usage=usage))

    assert finished.failure is not None
    assert (finished.ok, finished.failure.kind) == (False, FailureClass.CAPABILITY)
    assert "2048 output tokens" in finished.failure.message
    assert "max_output_tokens" in finished.failure.message
    assert finished.usage == usage


async def test_no_text_is_no_answer() -> None:
    """A stream that ends well and says nothing but blanks has not answered."""
    finished, _ = await ask(*says("\n", " "), DONE)

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.CAPABILITY
    assert "'stop'" in finished.failure.message


async def test_without_any_endpoint_the_remedy_is_said() -> None:
    """No route and no access of its own: the task cannot run here, and the user learns what to do."""
    finished, driver = await ask(assignment=chat())

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.NO_ENDPOINT
    assert "ostler endpoints add" in finished.failure.message
    assert driver.asked == []


async def test_own_access_serves_when_the_hub_knows_no_endpoint() -> None:
    """A worker with model access of its own uses it, with the task's model if it names one."""
    own = route(model="house", max_output_tokens=64)

    await_default, default = await ask(*says("x"), DONE, assignment=chat(), own_access=own)
    _, named = await ask(*says("x"), DONE, assignment=chat(model="other"), own_access=own)

    assert await_default.ok
    assert [call.model for _, call in default.asked + named.asked] == ["house", "other"]
    assert named.asked[0][1].max_output_tokens == 64


async def test_own_access_does_not_replace_the_decision() -> None:
    """Where the hub decided on an endpoint, that one is asked."""
    _, driver = await ask(*says("x"), DONE, own_access=route(endpoint=CLOUD))

    assert driver.asked[0][0] == ENDPOINT


async def test_local_work_never_leaves_through_own_access() -> None:
    """A local_only task is refused rather than sent to a cloud, whoever configured it."""
    finished, driver = await ask(*says("x"), DONE, assignment=chat(local_only=True), own_access=route(endpoint=CLOUD))

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.POLICY
    assert driver.asked == []


async def test_a_stop_closes_the_stream() -> None:
    """A stop ends the call at the endpoint, keeps what came, and carries the stop's class."""
    driver = PlayedDriver(*says("so ", "far"), hangs=True)
    asked = Asked(chat(route=route()), driver)
    answering = asyncio.create_task(asked.finish())
    await settle()
    assert driver.closed == 0

    asked.run.stop.stop(FailureClass.TIMEOUT, "too slow")
    finished = await answering

    assert driver.closed == 1
    assert finished.failure is not None
    assert (finished.failure.kind, finished.failure.message) == (FailureClass.TIMEOUT, "too slow")
    assert finished.output == "so far"
    assert finished.usage is not None
    assert finished.usage.estimated


async def test_a_cancelled_caller_closes_the_stream() -> None:
    """When the daemon itself is cancelled, the endpoint is not left generating."""
    driver = PlayedDriver(*says("so far"), hangs=True)
    answering = asyncio.create_task(Asked(chat(route=route()), driver).finish())
    await settle()

    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering

    assert driver.closed == 1


class BareStream:
    """An iterator that is no generator and cannot be closed."""

    def __init__(self) -> None:
        self._pieces: list[Delta | Completion] = [Delta(text="plain"), DONE]

    def __aiter__(self) -> "BareStream":
        return self

    async def __anext__(self) -> Delta | Completion:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop(0)


async def test_any_iterator_will_do() -> None:
    """A driver may return an iterator of its own making."""

    class BareDriver(PlayedDriver):
        def chat(
            self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = lambda: True
        ) -> AsyncIterator[Delta | Completion]:
            return BareStream()

    assert (await Asked(chat(route=route()), BareDriver()).finish()).output == "plain"


async def test_progress_comes_five_times_a_second_at_most() -> None:
    """Progress carries the tokens so far and the newest words, however fast they come."""
    driver = PlayedDriver(*says(*(f"w{number} " for number in range(100))), DONE)
    asked = Asked(chat(route=route()), driver)
    driver.before_each = lambda: asked.timing.jump(0.01)

    await asked.finish()

    shown = [report for report in asked.reports if isinstance(report, Progress)]
    assert [report.output_tokens for report in shown] == [1, 21, 41, 61, 81]
    assert shown[-1].tail.endswith("w79 w80 ")
    assert all(len(report.tail) <= 200 for report in shown)


async def test_an_endless_answer_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that does not stop cannot fill the memory."""
    monkeypatch.setattr(chat_module, "ANSWER_LIMIT_BYTES", 1_000)

    finished, _ = await ask(*says(*["x" * 100] * 50), DONE)

    assert finished.output_bytes == 5_000
    assert "4000 bytes cut" in finished.output


async def test_the_report_says_that_the_answer_asked_for_a_tool() -> None:
    """Whoever asked will be back soon; the scheduler keeps the model for it."""
    usage = Usage(input_tokens=5, output_tokens=2)

    asked, _ = await ask(*says("let me see"), Completion(finish_reason="tool_calls", usage=usage))
    plain, _ = await ask(*says("done"), Completion(finish_reason="stop", usage=usage))

    assert (asked.ok, asked.wants_tool, plain.wants_tool) == (True, True, False)


async def test_the_report_says_what_was_told_of_a_subscription() -> None:
    """By a good answer as by one that was refused."""
    window = Reported(window="5h", used_percent=42.0, at_ms=1)
    refusal = CallError(FailureClass.RATE_LIMIT, "no more")
    refusal.allowances = (window,)

    good, _ = await ask(*says("hi"), Completion(finish_reason="stop", usage=Usage(), allowances=(window,)))
    bad, _ = await ask(refusal)

    assert (good.allowances, bad.allowances, bad.ok) == ((window,), (window,), False)
