"""Each way to fail, from each kind of upstream, to clients of each format: what the client gets, how often upstreams
were asked, how long it took. Above all of it one sentence: an answer is whole and right, or its client is told.
"""

from dataclasses import dataclass

import pytest

from ostler.domain.states import FailureClass
from tests.gateway.clients import CLIENTS, Client, Got
from tests.gateway.dialects import CONTEXT_TOKENS, DIALECTS
from tests.gateway.plays import (
    AUTH,
    CONTEXT,
    FAULTS,
    FILTER,
    GOOD,
    RATE_LIMIT,
    SERVER,
    Fault,
    answers,
    fails,
    flapping,
    missing_end,
    no_prefill,
    reset,
    slow_first,
)
from tests.gateway.stable import FIRST_TOKEN_MS, STALL_MS, Stable, lone, pair
from tests.gateway.upstream import Call, at_most, eventually

PROMPTLY_S = 3.0
"""Far more than an answer takes here; far less than any limit that would have to end it."""
PATIENTLY_S = PROMPTLY_S + (FIRST_TOKEN_MS + STALL_MS) / 1000

EARLY = frozenset({
    "429 with Retry-After", "429 without Retry-After", "quota", "500", "503", "reset", "silence", "head only", "empty",
    "web page",
})  # fmt: skip
"""Known before the first byte is handed on: another endpoint may answer."""
LATE = frozenset({"cut", "cut by reset", "stall", "malformed", "missing end", "error in stream"})
"""Known when part of a stream was handed on: only a whole answer can still be asked for anew."""
FINAL = frozenset({"context too long", "content filter", "auth"})
"""No other endpoint is asked."""
AGAIN = frozenset({"500", "503", "reset", "empty", "web page"})
"""Where there is no other endpoint, the same one is asked once more."""
SLOW = frozenset({"silence", "head only", "stall"})
"""Known only after a limit."""

STATUSES: dict[str, frozenset[int]] = {
    "429 with Retry-After": frozenset({429}),
    "429 without Retry-After": frozenset({429}),
    "quota": frozenset({429}),
    "500": frozenset({500, 502}),
    "503": frozenset({502, 503}),
    "reset": frozenset({502}),
    "silence": frozenset({504}),
    "head only": frozenset({504}),
    "empty": frozenset({502}),
    "web page": frozenset({502}),
    "cut": frozenset({502}),
    "cut by reset": frozenset({502}),
    "stall": frozenset({504}),
    "malformed": frozenset({502}),
    "context too long": frozenset({400, 413}),
    "content filter": frozenset({400}),
    "auth": frozenset({401, 502}),
}
"""What the client is told when no other endpoint has the model and nothing was handed on yet."""


CLASSES: dict[str, frozenset[FailureClass]] = {
    "429 with Retry-After": frozenset({FailureClass.RATE_LIMIT}),
    "429 without Retry-After": frozenset({FailureClass.RATE_LIMIT}),
    "quota": frozenset({FailureClass.QUOTA}),
    "500": frozenset({FailureClass.SERVER}),
    "503": frozenset({FailureClass.SERVER, FailureClass.OVERLOADED}),
    "reset": frozenset({FailureClass.NETWORK}),
    "silence": frozenset({FailureClass.TIMEOUT}),
    "head only": frozenset({FailureClass.TIMEOUT}),
    "cut": frozenset({FailureClass.CUT}),
    "cut by reset": frozenset({FailureClass.CUT, FailureClass.NETWORK}),
    "stall": frozenset({FailureClass.STALLED, FailureClass.TIMEOUT}),
    "malformed": frozenset({FailureClass.MALFORMED}),
    "missing end": frozenset({FailureClass.CUT}),
    "error in stream": frozenset({FailureClass.SERVER}),
    "empty": frozenset({FailureClass.CUT, FailureClass.MALFORMED}),
    "web page": frozenset({FailureClass.MALFORMED}),
    "context too long": frozenset({FailureClass.CONTEXT_TOO_LONG}),
    "content filter": frozenset({FailureClass.REFUSAL}),
    "auth": frozenset({FailureClass.AUTH}),
}
"""What the record calls it."""


@dataclass(frozen=True)
class Case:
    """A fault of an upstream, met by a client."""

    fault: Fault
    client: Client
    upstream: str
    stream: bool

    def __str__(self) -> str:
        kind = "stream" if self.stream else "whole"
        return f"{self.fault.name}-{self.client.name}-{self.upstream}-{kind}".replace(" ", "_")

    @property
    def limit_s(self) -> float:
        """How long it may take."""
        return PATIENTLY_S if self.fault.name in SLOW else PROMPTLY_S


MEETINGS = (
    ("openai-chat", "openai"),
    ("anthropic", "anthropic"),
    ("ollama-chat", "ollama"),
    ("anthropic", "openai"),
    ("openai-responses", "anthropic"),
    ("openai-chat", "ollama"),
    ("ollama-generate", "openai"),
)
"""Each client and each upstream, in their own format and in a foreign one."""


def cases(names: frozenset[str], *, streams: tuple[bool, ...] = (False, True)) -> list[Case]:
    """The cases of some faults. Slow ones are met by fewer pairs of formats."""
    return [
        Case(fault, CLIENTS[client], upstream, stream)
        for fault in FAULTS
        if fault.name in names
        for client, upstream in (MEETINGS[1:5:2] if fault.name in SLOW else MEETINGS)
        for stream in streams
        if stream or not fault.streams_only
    ]


def told(names: frozenset[str]) -> list[Case]:
    """Cases in which nobody else can answer. A second attempt at one place takes its time: streams stand for both."""
    return [case for case in cases(names) if case.stream or case.fault.name not in AGAIN]


def repeated() -> list[Case]:
    """Cases of one upstream in which a second attempt helps."""
    return [case for case in cases(AGAIN, streams=(True,)) if case.upstream == "openai"]


def ask(stable: Stable, case: Case, model: str) -> Got:
    """Ask, within the time of the case; and whatever comes, nothing is cut in silence."""
    with at_most(case.limit_s, str(case)):
        got = case.client.ask(stable.url, model, stream=case.stream)
    assert_told(got)
    return got


def assert_told(got: Got) -> None:
    """An answer is whole and right, or its client is told."""
    assert got.whole != bool(got.error), f"whole and failed at once, or neither: {got}"
    if got.whole:
        assert got.text == GOOD.text, f"called whole, but cut: {got}"
    else:
        assert GOOD.text.startswith(got.text), got


def urls(stable: Stable, upstream: str, calls: list[Call]) -> int:
    """How many different upstreams of a pair were asked."""
    stall = stable.stalls[upstream]
    return sum(any(call in place.calls for call in calls) for place in (stall.first, stall.second))


def attempts(case: Case, calls: list[Call]) -> list[Call]:
    """The calls that were for the answer: after an empty stream there is one that asks, unstreamed, what is wrong."""
    return [call for call in calls if DIALECTS[case.upstream].wants_stream(call.json) == case.stream]


@pytest.mark.parametrize("case", cases(EARLY), ids=str)
def test_what_is_known_before_the_first_byte_is_answered_by_another_endpoint(stable: Stable, case: Case) -> None:
    """The client gets the whole answer and sees no fault; each of the two was asked once."""
    stall = stable.stalls[case.upstream]
    stall.script_pair(case.fault.play)

    got = ask(stable, case, pair(case.upstream))

    assert got.status == 200, got
    assert got.whole, got
    assert len(attempts(case, stall.pair_calls)) == 2
    assert urls(stable, case.upstream, stall.pair_calls) == 2


@pytest.mark.parametrize("case", told(EARLY | FINAL), ids=str)
def test_where_nobody_else_can_answer_the_client_is_told_what_happened(stable: Stable, case: Case) -> None:
    """By status and message in its own format, after one attempt, or two where a second one may help."""
    upstream = stable.stalls[case.upstream].lone
    upstream.script(then=case.fault.play)

    got = ask(stable, case, lone(case.upstream))

    assert got.status in STATUSES[case.fault.name], got
    assert got.error, got
    assert len(attempts(case, upstream.calls)) == (2 if case.fault.name in AGAIN else 1)


@pytest.mark.parametrize("case", repeated(), ids=str)
def test_where_nobody_else_can_answer_a_passing_fault_is_passed_over(stable: Stable, case: Case) -> None:
    """Once bad, then good: the same endpoint is asked again, and the client sees a whole answer."""
    upstream = stable.stalls[case.upstream].lone
    upstream.script(case.fault.play)

    got = ask(stable, case, lone(case.upstream))

    assert got.whole, got
    assert len(attempts(case, upstream.calls)) == 2


def test_a_connection_that_died_while_it_was_idle_costs_no_attempt(stable: Stable) -> None:
    """A kept connection that breaks before a byte has come is replaced at once, and the endpoint is not blamed."""
    upstream = stable.stalls["openai"].lone
    client = CLIENTS["openai-chat"]
    assert client.ask(stable.url, lone("openai"), stream=False).whole
    upstream.script(reset)

    got = client.ask(stable.url, lone("openai"), stream=False)

    assert got.whole, got
    assert got.headers["x-ostler-attempts"] == "1"
    assert len(upstream.calls) == 3


@pytest.mark.parametrize("case", cases(LATE, streams=(True,)), ids=str)
def test_what_breaks_in_a_stream_is_an_error_in_the_stream(stable: Stable, case: Case) -> None:
    """What was handed on stays true; no end marker follows; no second upstream is asked for the rest."""
    stall = stable.stalls[case.upstream]
    stall.script_pair(case.fault.play)

    got = ask(stable, case, pair(case.upstream))

    assert got.status == 200, got
    assert not got.whole, got
    assert got.error, got
    assert len(stall.pair_calls) == 1


@pytest.mark.parametrize("case", cases(LATE, streams=(False,)), ids=str)
def test_a_whole_answer_that_broke_is_asked_for_anew(stable: Stable, case: Case) -> None:
    """Nothing was handed on, so another endpoint gives the whole of it."""
    stall = stable.stalls[case.upstream]
    stall.script_pair(case.fault.play)

    got = ask(stable, case, pair(case.upstream))

    assert got.whole, got
    assert len(stall.pair_calls) == 2


@pytest.mark.parametrize("case", cases(LATE, streams=(True,)), ids=str)
def test_a_stream_that_is_asked_for_whole_is_tried_again_and_nobody_notices(stable: Stable, case: Case) -> None:
    """With `x-ostler-whole` nothing leaves before the end: what broke is replaced, and comes as one good stream."""
    stall = stable.stalls[case.upstream]
    stall.script_pair(case.fault.play)

    with at_most(case.limit_s, str(case)):
        got = case.client.ask(stable.url, pair(case.upstream), stream=True, headers={"x-ostler-whole": "true"})

    assert got.whole, got
    assert_told(got)
    assert len(stall.pair_calls) == 2


@pytest.mark.parametrize("case", cases(FINAL), ids=str)
def test_a_refusal_a_key_and_a_full_context_are_not_routed_around(stable: Stable, case: Case) -> None:
    """The second endpoint would have answered; it is not asked."""
    stall = stable.stalls[case.upstream]
    stall.script_pair(case.fault.play)

    got = ask(stable, case, pair(case.upstream))

    assert got.status in STATUSES[case.fault.name], got
    assert len(stall.pair_calls) == 1


@pytest.mark.parametrize(
    "case", [case for case in cases(frozenset(CLASSES)) if case.client.name == "anthropic"], ids=str
)
def test_each_attempt_is_recorded_once_by_what_went_wrong(stable: Stable, case: Case) -> None:
    """As many attempts as upstreams were asked, the first with its failure, the last one good or failed as told."""
    stall = stable.stalls[case.upstream]
    stall.script_pair(case.fault.play)

    got = ask(stable, case, pair(case.upstream))

    record = stable.last_call(pair(case.upstream))
    kinds = [attempt.failure for attempt in record.attempts]
    assert len(kinds) == len(attempts(case, stall.pair_calls))
    assert kinds[0] in CLASSES[case.fault.name]
    assert (kinds[-1] is None) == got.whole
    assert bool(record.fallback) == (len(kinds) > 1)
    assert {attempt.endpoint for attempt in record.attempts} <= {f"{case.upstream}-first", f"{case.upstream}-second"}


def test_a_prompt_that_does_not_fit_is_never_sent(stable: Stable) -> None:
    """The window is known: the client is told, instead of a model that reads half of it."""
    upstream = stable.stalls["ollama"].lone
    turns = [{"role": "user", "content": "oats " * CONTEXT_TOKENS * 2}]

    got = CLIENTS["openai-chat"].ask(stable.url, lone("ollama"), stream=False, messages=turns)

    assert got.status in {400, 413}, got
    assert "window" in got.error
    assert upstream.calls == []


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "ollama"])
def test_the_message_of_the_upstream_reaches_the_client(stable: Stable, upstream: str) -> None:
    """Who has to act on it reads what was said, not a summary of ours alone."""
    client = CLIENTS["openai-chat"]
    for error in (CONTEXT, FILTER, SERVER, RATE_LIMIT):
        stable.fresh()
        stable.stalls[upstream].lone.script(then=fails(error))
        got = client.ask(stable.url, lone(upstream), stream=False)

        assert "(simulated)" in got.error, got


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "ollama"])
def test_a_key_that_an_upstream_refuses_is_not_shown(stable: Stable, upstream: str) -> None:
    """Nor is the client told to mend its own key."""
    stable.stalls[upstream].lone.script(fails(AUTH))

    got = CLIENTS["openai-chat"].ask(stable.url, lone(upstream), stream=False, key="sk-of-the-client")

    assert b"sk-of-the-hub" not in got.raw
    assert stable.stalls[upstream].lone.calls[0].key == "sk-of-the-hub"


def test_a_rate_limit_says_when_to_come_back(stable: Stable) -> None:
    """Retry-After of the upstream is handed on, and until then it is not asked again."""
    upstream = stable.stalls["openai"].lone
    upstream.script(fails(RATE_LIMIT, retry_after="30"))
    client = CLIENTS["openai-chat"]

    first = client.ask(stable.url, lone("openai"), stream=False)

    assert (first.status, first.headers["retry-after"]) == (429, "30")
    with at_most(PROMPTLY_S, "the second call"):
        second = client.ask(stable.url, lone("openai"), stream=False)
    assert second.status in {429, 503}, second
    assert 0 < int(second.headers["retry-after"]) <= 30
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(("client", "upstream"), MEETINGS)
def test_a_late_first_token_within_the_limit_is_waited_for(stable: Stable, client: str, upstream: str) -> None:
    """It is slow, not broken: one attempt, a whole answer."""
    stall = stable.stalls[upstream]
    stall.script_pair(slow_first(FIRST_TOKEN_MS / 1000 / 3))

    got = CLIENTS[client].ask(stable.url, pair(upstream), stream=True)

    assert got.whole, got
    assert_told(got)
    assert len(stall.pair_calls) == 1


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "ollama"])
def test_an_endpoint_that_flaps_never_shows(stable: Stable, upstream: str) -> None:
    """Bad and good in turn: every client gets its answer."""
    stall = stable.stalls[upstream]
    stall.script_pair(*flapping(fails(SERVER), 4))

    for _ in range(4):
        got = CLIENTS["openai-chat"].ask(stable.url, pair(upstream), stream=True)
        assert got.whole, got


def test_a_prefill_that_is_refused_is_told(stable: Stable) -> None:
    """Another endpoint would refuse it too, and nothing of the request is dropped to make it pass."""
    stall = stable.stalls["anthropic"]
    stall.script_pair(then=no_prefill)
    turns = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Bay, "}]

    got = CLIENTS["anthropic"].ask(stable.url, pair("anthropic"), stream=False, messages=turns)

    assert got.status == 400, got
    assert "prefill" in got.error
    assert all(call.json["messages"][-1]["role"] == "assistant" for call in stall.pair_calls)


@pytest.mark.parametrize(("client", "upstream"), MEETINGS)
def test_a_missing_end_is_never_mended(stable: Stable, client: str, upstream: str) -> None:
    """All of the text had come, only the marker was missing: nobody can know that, so it is an error."""
    stable.stalls[upstream].lone.script(missing_end)

    got = CLIENTS[client].ask(stable.url, lone(upstream), stream=True)

    assert not got.whole, got
    assert got.error, got


def test_after_every_fault_the_slots_are_free(stable: Stable) -> None:
    """A call that failed holds nothing: the next ones are served at once, as many as there are slots."""
    stall = stable.stalls["openai"]
    for fault in FAULTS:
        if fault.name in SLOW:
            continue
        stable.fresh()
        stall.lone.script(fault.play)
        CLIENTS["openai-chat"].ask(stable.url, lone("openai"), stream=True)
    stable.fresh()

    eventually(stable.is_idle, "all slots are free")
    stall.lone.script(then=answers())
    assert CLIENTS["openai-chat"].ask(stable.url, lone("openai"), stream=False).whole
