"""What is kept of a call and told in its headers: attempts, tokens, money, waiting, our own time."""

import msgspec

from ostler.domain.clock import Clock
from ostler.domain.decision import Decision
from ostler.domain.live import CallAttempt, CallRecord, Dispatch, GatewayKey
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Usage
from ostler.domain.trace import Trace
from ostler.gateway.inbound import Head
from ostler.gateway.money import Cost
from ostler.wire.talk import Tokens

KEPT_BYTES = 1024 * 1024


class DecisionNames:
    """Names of decisions that calls share: the id of the first call that had one.

    Equal questions get the very same decision object for a while, so the object is what tells them apart. Bounded: one
    that was forgotten and comes again gets another name, and is stored once more.
    """

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._names: dict[int, tuple[Decision, str]] = {}

    def name(self, decision: Decision, call_id: str) -> str:
        """The name of a decision; `call_id` names it when it is new."""
        known = self._names.get(id(decision))
        if known is not None:
            return known[1]  # the object is kept, so that no other one has its address
        if len(self._names) >= self._most:
            del self._names[next(iter(self._names))]
        self._names[id(decision)] = (decision, call_id)
        return call_id


class Story:
    """One call's record while it is written."""

    def __init__(self, call_id: str, head: Head, clock: Clock, names: DecisionNames) -> None:
        self.id = call_id
        self._names = names
        self.clock = clock
        self.at_ms = clock.now_ms()
        self._began_us = clock.stopwatch_us()
        self.head = head
        self.key: GatewayKey | None = None
        self.format = ""
        self.asked_model = ""
        self.stream = False
        self.attempts: list[CallAttempt] = []
        self.decision: Decision | None = None
        self.fallback = ""
        self.wait_ms = 0
        self.first_token_ms: int | None = None
        self.dropped: tuple[str, ...] = ()
        self.trimmed_turns = 0
        self.prompt: str | None = None
        self.trace: Trace | None = None
        self._kept = bytearray()
        self._sent_us: int | None = None
        self._waited_us = 0

    def keep_answer(self, data: bytes | bytearray) -> None:
        """More of what left for the client; of a long answer only the beginning is kept."""
        if len(self._kept) < KEPT_BYTES:
            self._kept += data[: KEPT_BYTES - len(self._kept)]

    def dispatched(self, dispatch: Dispatch, waited_us: int) -> None:
        """An attempt may run; the time in the queue is not ours."""
        if not self.attempts:
            self.wait_ms = dispatch.wait_ms
        self.decision = dispatch.decision
        self._waited_us += waited_us
        if dispatch.decision.fallback_used:
            self.fallback = dispatch.decision.fallback_reason or "its tier was not available"
        elif self.attempts:
            last = self.attempts[-1]
            self.fallback = f"{last.endpoint} failed ({last.failure.value if last.failure else 'unknown'})"

    def sent(self) -> None:
        """The first attempt goes out: what came before it was ours."""
        if self._sent_us is None:
            self._sent_us = self.clock.stopwatch_us()

    def first(self) -> None:
        """The first piece of an answer leaves."""
        self.first_token_ms = (self.clock.stopwatch_us() - self._began_us) // 1_000

    @property
    def overhead_us(self) -> int:
        """From the whole request to sending it on, without the wait in the queue."""
        sent = self._sent_us if self._sent_us is not None else self.clock.stopwatch_us()
        return max(0, sent - self._began_us - self._waited_us)

    def headers(self, dispatch: Dispatch) -> dict[str, str]:
        """What a client is told beside the answer."""
        headers = {
            "x-ostler-call": self.id,
            "x-ostler-tier": dispatch.tier,
            "x-ostler-model": dispatch.model,
            "x-ostler-endpoint": dispatch.endpoint,
            "x-ostler-attempts": str(len(self.attempts) + 1),
            "x-ostler-queue-ms": str(self.wait_ms),
            "x-ostler-overhead-us": str(self.overhead_us),
        }
        if self.fallback:
            headers["x-ostler-fallback"] = _header_text(self.fallback)
        if self.trimmed_turns:
            headers["x-ostler-trimmed"] = str(self.trimmed_turns)
        if self.dropped:
            headers["x-ostler-dropped"] = _header_text(", ".join(self.dropped))
        return headers

    def cost_text(self, newest_micro_usd: int | None) -> str:
        """What the call has cost with the attempt that ends now, for a header."""
        cost = self._total(newest_micro_usd)
        return "unknown" if cost is None else usd(cost)

    def _total(self, cost_micro_usd: int | None = 0) -> int | None:
        """The cost of all attempts so far, and of one more."""
        for attempt in self.attempts:
            if attempt.cost_micro_usd is None or cost_micro_usd is None:
                return None
            cost_micro_usd += attempt.cost_micro_usd
        return cost_micro_usd

    def record(self, status: int, failure: FailureClass | None, message: str) -> CallRecord:
        """The record of the call, which is over."""
        last = self.attempts[-1] if self.attempts else None
        return CallRecord(
            id=self.id,
            at_ms=self.at_ms,
            key=self.key.name if self.key is not None else "",
            task=self.key.task if self.key is not None else "",
            client=self.head.client,
            format=self.format,
            path=self.head.path,
            asked_model=self.asked_model,
            stream=self.stream,
            status=status,
            failure=failure,
            message=message,
            tier=last.tier if last is not None else "",
            model=last.model if last is not None else "",
            endpoint=last.endpoint if last is not None else "",
            fallback=self.fallback,
            attempts=tuple(self.attempts),
            decision_key=self._names.name(self.decision, self.id) if self.decision is not None else "",
            wait_ms=self.wait_ms,
            first_token_ms=self.first_token_ms,
            duration_ms=(self.clock.stopwatch_us() - self._began_us) // 1_000,
            overhead_us=self.overhead_us,
            cost_micro_usd=self._total(),
            cost_basis=_basis(self.attempts),
            trace=self.trace,
            dropped=(*self.dropped, *self._trimmed()) if self.trimmed_turns else self.dropped,
            prompt=self.prompt,
            answer=self._kept.decode("utf-8", "replace") if self._kept else None,
        )

    def _trimmed(self) -> tuple[str, ...]:
        return (f"the oldest {self.trimmed_turns} turns, for want of room",)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt took: counts, or an estimate of them."""

    tokens: Tokens = Tokens()
    estimated: bool = False


def spent(tokens: Tokens, *, prompt_tokens: int, output_tokens: int) -> Spent:
    """Counts as the endpoint said them; what it left out is estimated, and said to be."""
    if tokens.are_counted:
        return Spent(tokens=tokens)
    filled = tokens.over(Tokens(input_tokens=prompt_tokens, output_tokens=output_tokens))
    return Spent(tokens=filled, estimated=True)


def usage_of(what: Spent, first_token_ms: int | None) -> Usage:
    """The same for the scheduler."""
    tokens = what.tokens
    return Usage(
        input_tokens=tokens.input_tokens or 0,
        cached_tokens=tokens.cache_read_tokens or 0,
        output_tokens=tokens.output_tokens or 0,
        reasoning_tokens=tokens.reasoning_tokens or 0,
        estimated=what.estimated,
        first_token_ms=first_token_ms,
        load_ms=tokens.load_ms,
        prefill_ms=tokens.prefill_ms,
        decode_ms=tokens.decode_ms,
    )


def attempt_of(dispatch: Dispatch, what: Spent, cost: Cost, *, started_ms: int, now_ms: int) -> CallAttempt:
    """An attempt that ended well; a failure is added to it."""
    tokens = what.tokens
    return CallAttempt(
        endpoint=dispatch.endpoint,
        model=dispatch.model,
        tier=dispatch.tier,
        started_ms=started_ms,
        duration_ms=max(0, now_ms - started_ms),
        input_tokens=tokens.input_tokens or 0,
        cache_read_tokens=tokens.cache_read_tokens or 0,
        cache_write_tokens=tokens.cache_write_tokens or 0,
        output_tokens=tokens.output_tokens or 0,
        reasoning_tokens=tokens.reasoning_tokens or 0,
        estimated=what.estimated,
        cost_micro_usd=cost.micro_usd,
        cost_basis=cost.basis,
    )


def usd(micro_usd: int) -> str:
    """Dollars for a header.

    >>> usd(1250), usd(0)
    ('0.00125', '0')
    """
    return f"{micro_usd / MICRO_USD_PER_USD:.6f}".rstrip("0").rstrip(".") if micro_usd else "0"


def _basis(attempts: list[CallAttempt]) -> str:
    if len(attempts) == 1:
        return attempts[0].cost_basis
    bases = {attempt.cost_basis for attempt in attempts}
    for basis in ("unknown", "priced", "subscription", "local"):
        if basis in bases:
            return basis
    return "local" if not attempts else "unknown"


def _header_text(text: str) -> str:
    """Text made fit for a header: one line, printable Latin-1, bounded."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:300]
