"""Three clients that call models through the gateway while the demo runs, each in the format it speaks.

They stand for an editor, an agent and a chat window: plain HTTP requests as such programs send them, sent from threads
of their own so that the story goes on. What became of them is read from the hub's own records at the end.
"""

import threading
from collections.abc import Sequence

import msgspec

from ostler.client.transport import Transport
from ostler.domain.errors import OstlerError
from ostler.domain.live import CallRecord

TIMEOUT_S = 60.0
ANSWER_TOKENS = 60


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One request: where it goes and what it holds."""

    path: str
    body: dict[str, object]


def _asked(words: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": words}]


CALM = (
    Question(
        path="/v1/chat/completions",
        body={"model": "tier:local_small", "stream": True, "messages": _asked("Name three breeds of horses.")},
    ),
    Question(
        path="/api/chat",
        body={"model": "llama3.2:3b", "messages": _asked("What does an ostler do?")},
    ),
)
"""While everything works."""
AWAY = (
    Question(
        path="/v1/messages",
        body={
            "model": "tier:local_strong",
            "max_tokens": ANSWER_TOKENS,
            "stream": True,
            "messages": _asked("Review this function: def add(a, b): return a - b"),
        },
    ),
    Question(
        path="/v1/chat/completions",
        body={
            "model": "auto",
            "max_tokens": ANSWER_TOKENS,
            "messages": _asked("Summarise: all machines but one are up."),
        },
    ),
)
"""While a machine is away: what asks for its tier is answered one tier beside, at once."""


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One live call as the hub has recorded it."""

    format: str
    asked: str
    model: str
    endpoint: str
    tier: str
    status: int
    streamed: bool
    first_token_ms: int | None
    duration_ms: int
    queue_ms: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int | None
    fallback: str
    message: str


class Callers:
    """Asks the gateway of a hub."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads: list[threading.Thread] = []

    def ask(self, questions: Sequence[Question]) -> None:
        """Ask all of them at once, and go on."""
        for question in questions:
            thread = threading.Thread(target=self._ask, args=(question,), name="demo-caller", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self) -> int:
        """Until all have their answers, at most `TIMEOUT_S`; how many were asked."""
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        return len(self._threads)

    def _ask(self, question: Question) -> None:
        """One request; a refusal is in the hub's record like everything else."""
        try:
            Transport(self._url, timeout_s=TIMEOUT_S).ask("POST", question.path, msgspec.json.encode(question.body))
        except OstlerError:
            return


def call_row(record: CallRecord) -> CallRow:
    """A row of the report."""
    return CallRow(
        format=record.format,
        asked=record.asked_model,
        model=record.model,
        endpoint=record.endpoint,
        tier=record.tier,
        status=record.status,
        streamed=record.stream,
        first_token_ms=record.first_token_ms,
        duration_ms=record.duration_ms,
        queue_ms=record.wait_ms,
        attempts=len(record.attempts),
        input_tokens=sum(attempt.input_tokens for attempt in record.attempts),
        output_tokens=sum(attempt.output_tokens for attempt in record.attempts),
        cost_micro_usd=record.cost_micro_usd,
        fallback=record.fallback,
        message=record.message,
    )
