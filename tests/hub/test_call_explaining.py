"""A call in words: how it ended, every attempt, time, tokens, cost, and what was left out."""

import msgspec

from ostler.domain.live import CallRecord
from ostler.domain.states import FailureClass
from ostler.hub.call_explaining import call_headline, call_lines
from tests.store.rows_made import make_call, make_decision
from tests.web import call_samples as samples

NOW_MS = samples.NOW_MS
DECISION = make_decision()


def text(record: CallRecord) -> str:
    return "\n".join(call_lines(record, None, NOW_MS))


def fact(record: CallRecord, name: str) -> str | None:
    found = [line.split(maxsplit=1)[1] for line in call_lines(record, None, NOW_MS) if line.strip().startswith(name)]
    return found[0] if found else None


def test_the_headline_says_who_answered_and_what_it_cost() -> None:
    """With the fallback, where there was one."""
    assert call_headline(samples.GOOD) == (
        f"{samples.CALL_ID} was answered by sonnet on anthropic, by fallback in 2.5 s,"
        " tier strong, cost $0.010484 (priced)"
    )
    assert "fallback" not in call_headline(make_call())


def test_the_headline_of_a_failure_says_what_the_client_was_told() -> None:
    """Status, attempts, message and class; a client that hung up is no status of ours."""
    assert call_headline(samples.FAILED) == (
        f"{samples.FAILED.id} failed with status 503 after 0 attempts in 0.0 s: no endpoint is up [no_endpoint]"
    )
    hung_up = make_call("c-1", status=499, failure=FailureClass.CANCELLED, duration_ms=1_200)
    assert call_headline(hung_up) == "c-1 ended when the client hung up after 0 attempts in 1.2 s [cancelled]"


def test_every_attempt_has_a_row_with_how_it_ended() -> None:
    """In order, with place, time, tokens and cost; one that failed with what the endpoint said."""
    lines = call_lines(samples.GOOD, DECISION, NOW_MS)
    at = lines.index("Attempts")

    header, first, second = (line.split() for line in lines[at + 1 : at + 4])
    assert header == ["place", "tier", "took", "in", "out", "cost", "ended"]
    assert first[:9] == ["1.", "qwen", "on", "stable", "strong", "120", "ms", "0", "0"]
    assert " ".join(first[9:]) == "unknown status 529, overloaded: too many requests"
    assert " ".join(second) == "2. sonnet on anthropic strong 2.3 s 5120 412 $0.010484 good"


def test_a_call_that_began_no_attempt_says_so() -> None:
    """An empty table would leave a reader to guess."""
    assert "none was begun" in text(samples.FAILED)
    assert fact(samples.FAILED, "tokens") is None


def test_times_are_told_apart() -> None:
    """Our queue, our own share, the first token, and all of it."""
    assert fact(samples.GOOD, "queue") == "3 ms"
    assert fact(samples.GOOD, "overhead") == "0.42 ms of our own"
    assert fact(samples.GOOD, "answer") == "status 200, first token after 640 ms, 2.5 s in all"


def test_tokens_are_summed_with_those_of_the_cache() -> None:
    """Over all attempts; reasoning where there is some, and estimates are called that."""
    assert fact(samples.GOOD, "tokens") == "5120 in, 412 out; cache: 4096 read, 0 written"
    again = msgspec.structs.replace(samples.GOOD.attempts[1], reasoning_tokens=30, estimated=True)
    record = msgspec.structs.replace(samples.GOOD, attempts=(*samples.GOOD.attempts, again))
    assert fact(record, "tokens") == "10240 in, 824 out, 30 of reasoning; cache: 8192 read, 0 written (estimated)"


def test_an_unknown_price_is_never_shown_as_nothing() -> None:
    """And what cost nothing is not shown as unknown."""
    assert fact(make_call(), "cost") == "unknown"
    assert fact(make_call(cost_micro_usd=0, cost_basis="local"), "cost") == "$0.00 (local)"
    assert fact(make_call(cost_micro_usd=1, cost_basis="priced"), "cost") == "$0.000001 (priced)"
    assert fact(make_call(cost_basis="subscription"), "cost") == "unknown (subscription)"


def test_what_is_not_there_is_not_told() -> None:
    """No key, no fallback, nothing dropped, no prompt: no line about it."""
    bare = make_call()

    assert [fact(bare, name) for name in ("from", "fallback", "dropped", "prompt")] == [None] * 4


def test_where_a_call_came_from_and_what_was_left_out_is_told() -> None:
    """Key, task and client; the fields that the endpoint cannot take; that a prompt was kept."""
    record = make_call(key="k", task="t", client="sdk/1", fallback="box was down", dropped=("seed", "n"), prompt="hi")

    assert fact(record, "from") == "key k, task t, client sdk/1"
    assert fact(record, "fallback") == "box was down"
    assert fact(record, "dropped") == "seed, n (the endpoint's format cannot say it)"
    assert fact(record, "prompt") == "kept with the record"
    assert fact(samples.GOOD, "asked") == "auto, /v1/messages (anthropic_messages), streamed"
    assert "hi" not in text(record).split()


def test_the_decision_follows_as_for_a_task() -> None:
    """With its age, and whether it was made for this very call; one that is not kept is said to be gone."""
    own = msgspec.structs.replace(DECISION, task_id="c-1", decided_ms=NOW_MS - 5_000)

    assert "Decision, made 5.0 s ago" in call_lines(make_call("c-1"), own, NOW_MS)
    shared = [line for line in call_lines(make_call("c-2"), own, NOW_MS) if line.startswith("Decision")]
    assert shared == ["Decision, made 5.0 s ago, shared with other calls that asked the same"]
    assert "Decision, made 5.0 s ago" in call_lines(make_call("c-3", decision_key="c-3"), own, NOW_MS)
    assert own.summary in call_lines(make_call("c-1"), own, NOW_MS)
    assert call_lines(make_call(decision_key="d"), None, NOW_MS)[-1] == "The decision behind it is not kept."
    assert call_lines(make_call(), None, NOW_MS)[-1] == "No decision was made."
