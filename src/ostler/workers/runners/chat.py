"""Runs a direct model call: streams the answer from the decided endpoint, or from one of the worker's own.

The runner asks once. Retries, other endpoints and the price of it are the hub's business, which is why every failure
keeps its class, the endpoint's own word on when to come back, and an estimate of what was used before it failed.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from ostler.domain.calls import CallError, Completion, Delta, Message, ModelCall
from ostler.domain.catalog import EndpointKind
from ostler.domain.errors import UnreachableError
from ostler.domain.ports import EndpointDriver
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskSpec, Usage
from ostler.domain.work import Finished, ModelRoute
from ostler.workers.capture import Capture
from ostler.workers.run import TAIL_CHARACTERS, Run
from ostler.workers.timing import first

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
_CHARACTERS_PER_TOKEN = 4

DriverOf = Callable[[EndpointKind], EndpointDriver]


class ChatRunner:
    """The runner of kind `chat`.

    `own_access`: where this worker may ask when the hub knows no endpoint at all; a task that names a model asks that
    place for it.
    """

    def __init__(self, driver_of: DriverOf, *, own_access: ModelRoute | None = None) -> None:
        self._driver_of = driver_of
        self._own_access = own_access

    async def run(self, run: Run) -> Finished:
        """Ask the model. Text is success; no text is a failure, however politely the stream ended."""
        route = run.assignment.route or self._own(run.spec)
        if route is None:
            return run.failed(
                FailureClass.NO_ENDPOINT,
                "no model endpoint is registered and this worker has no model access of its own; register one"
                " (ostler endpoints add) or give the worker its own endpoint",
            )
        if run.spec.local_only and not route.endpoint.local:
            return run.failed(
                FailureClass.POLICY,
                f"the task is local_only and endpoint '{route.endpoint.name}' is not on a machine of yours",
            )
        answer = _Answer(run, route)
        reading = answer.read(self._driver_of(route.endpoint.kind))
        await first(reading, run.stop.asked())
        return answer.finished()

    def _own(self, spec: TaskSpec) -> ModelRoute | None:
        own = self._own_access
        if own is None or spec.model is None:
            return own
        return replace(own, model=spec.model)


class _Answer:
    """One answer while it comes in."""

    def __init__(self, run: Run, route: ModelRoute) -> None:
        self._run = run
        self._route = route
        self._call = replace(model_call(run.spec, route), traceparent=run.assignment.traceparent)
        self._text = Capture(ANSWER_LIMIT_BYTES)
        self._pieces = 0
        self._has_text = False
        self._completion: Completion | None = None
        self._failure: Finished | None = None

    async def read(self, driver: EndpointDriver) -> None:
        """Take the stream to its end; cancelling closes it, which stops the call at the endpoint."""
        try:
            stream = driver.chat(self._route.endpoint, self._call, self._run.has_right)
            async with aclosing(_closable(stream)) as pieces:
                async for piece in pieces:
                    self._take(piece)
        except CallError as error:
            failure = self._failed(error.kind, error.message, error.retry_after_ms)
            self._failure = replace(failure, allowances=error.allowances)
        except UnreachableError as error:
            self._failure = self._failed(FailureClass.NETWORK, f"cannot reach '{self._route.endpoint.name}': {error}")

    def finished(self) -> Finished:
        """How it ended."""
        if self._failure is not None:
            return self._failure
        completion = self._completion
        if completion is None and self._run.stop.is_asked:
            return self._run.stopped(partial=self._partial(self._estimate()))
        if completion is None:
            return self._failed(FailureClass.CUT, f"the answer of '{self._call.model}' was cut before its end")
        answer = self._partial(completion.usage)
        answer = replace(answer, wants_tool=completion.wants_tool, allowances=completion.allowances)
        if not self._has_text:
            return self._run.failed(FailureClass.CAPABILITY, self._no_text(completion), partial=answer)
        return answer

    def _take(self, piece: Delta | Completion) -> None:
        if isinstance(piece, Completion):
            self._completion = piece
            return
        self._pieces += bool(piece.text or piece.reasoning)
        self._has_text = self._has_text or bool(piece.text.strip())
        self._text.feed(piece.text.encode("utf-8", errors="replace"))
        # Engines stream a token at a time, so pieces are as good a count as there is before the end.
        self._run.progress(self._pieces, lambda: self._text.end(TAIL_CHARACTERS))

    def _partial(self, usage: Usage | None) -> Finished:
        return self._run.succeeded(output=self._text.text(), output_bytes=self._text.total_bytes, usage=usage)

    def _failed(self, kind: FailureClass, message: str, retry_after_ms: int | None = None) -> Finished:
        partial = self._partial(self._estimate())
        return self._run.failed(kind, message, retry_after_ms=retry_after_ms, partial=partial)

    def _estimate(self) -> Usage | None:
        """What it cost so far, when it ended without saying; `None` when nothing had come yet."""
        if self._pieces == 0:
            return None
        characters = sum(len(message.text) for message in self._call.messages)
        return Usage(input_tokens=characters // _CHARACTERS_PER_TOKEN + 1, output_tokens=self._pieces, estimated=True)

    def _no_text(self, completion: Completion) -> str:
        model, limit = self._call.model, self._call.max_output_tokens
        if completion.finish_reason == "length":
            return (
                f"'{model}' spent its whole limit of {limit} output tokens without answering, probably on thinking;"
                " raise max_output_tokens or use a model that thinks less"
            )
        return f"'{model}' ended with '{completion.finish_reason}' and gave no text"


def model_call(spec: TaskSpec, route: ModelRoute) -> ModelCall:
    """The call for a task on a route. The smaller of the two limits on the answer holds."""
    messages = [*spec.talk, Message(role="user", text=spec.prompt)]
    if spec.system:
        messages.insert(0, Message(role="system", text=spec.system))
    limit = route.max_output_tokens
    if spec.max_output_tokens is not None:
        limit = min(limit, spec.max_output_tokens)
    return ModelCall(
        model=route.model,
        messages=tuple(messages),
        max_output_tokens=limit,
        temperature=spec.temperature,
        context_tokens=route.context_tokens,
        keep_alive_s=route.keep_alive_s,
    )


async def _closable(stream: AsyncIterator[Delta | Completion]) -> AsyncGenerator[Delta | Completion, None]:
    """The stream as a generator, so that leaving it closes it, whatever kind of iterator a driver returns."""
    try:
        async for piece in stream:
            yield piece
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
