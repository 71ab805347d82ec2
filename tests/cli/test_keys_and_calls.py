"""`ostler keys` and `ostler calls`: what a person reads, what is refused before the hub is asked."""

import json

import msgspec
import pytest

from ostler.cli.calls import call_row
from ostler.cli.keys import key_row, limit_micro_usd
from ostler.cli.status import calls_text
from ostler.domain.errors import ConflictError, ExitCode, InvalidInputError
from ostler.domain.live import is_call_id
from ostler.domain.ports import CallQuery
from ostler.hub.gateway_views import CallTotals, ModelUse
from tests.cli.conftest import Ostler
from tests.web import call_samples as samples
from tests.web import samples as hub_samples
from tests.web.recording_hub import ServedHub


def test_a_key_is_printed_alone(ostler: Ostler, served: ServedHub) -> None:
    """What is written into a file with `>` is the key and nothing else."""
    assert ostler("keys", "create", "laptop") == (0, "ost-secret\n", "")


@pytest.mark.parametrize("text", ["", "0usd", "-5usd", "5eur", "five", "1e3usd", "nan", "5.1234567usd", "0.0000001"])
def test_a_limit_that_is_none_is_refused_before_the_hub_is_asked(ostler: Ostler, served: ServedHub, text: str) -> None:
    """With the flag, and how to write it."""
    code, out, err = ostler("keys", "create", "laptop", "--limit", text)

    assert (code, out) == (ExitCode.USAGE, "")
    assert "--limit: " in err
    assert "5usd" in err
    assert served.hub.calls == []


@pytest.mark.parametrize(
    ("text", "micro_usd"),
    [("5", 5_000_000), ("5usd", 5_000_000), ("5 USD", 5_000_000), ("$0.50", 500_000), (" 0.000001usd ", 1)],
)
def test_a_limit_is_read_as_it_is_written(text: str, micro_usd: int) -> None:
    """With or without the currency, to the micro-dollar."""
    assert limit_micro_usd(text) == micro_usd


def test_a_refusal_of_the_hub_is_told(ostler: Ostler, served: ServedHub) -> None:
    """The message and the remedy come through, and nothing looks like a key."""
    served.fails_with(ConflictError("a key named mac exists", where="name", remedy="use another name, such as mac-2"))

    code, out, err = ostler("keys", "create", "mac")

    assert (code, out) == (ExitCode.REFUSED, "")
    assert "use another name, such as mac-2" in err


def test_the_list_of_keys_never_shows_a_hash(ostler: Ostler, served: ServedHub) -> None:
    """Neither for people nor for programs."""
    shown = ostler("keys", "list").out + ostler("keys", "list", "--json").out

    assert "hash" not in shown
    assert "ost-" not in shown


def test_keys_of_ended_agent_runs_are_listed_only_when_asked_for(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run leaves one; those of runs under way are shown, and revoked ones of people."""
    rows = (
        msgspec.structs.replace(samples.AGENT, name="agent/done.1", revoked_ms=samples.NOW_MS),
        msgspec.structs.replace(samples.AGENT, name="agent/runs.1", revoked_ms=None),
        msgspec.structs.replace(samples.AGENT, name="agents-of-ours", revoked_ms=samples.NOW_MS),
    )
    monkeypatch.setattr(samples, "KEYS", msgspec.structs.replace(samples.KEYS, keys=rows))

    shown, every = ostler("keys", "list").out, ostler("keys", "list", "--all").out

    assert [row.name in shown for row in rows] == [False, True, True]
    assert all(row.name in every for row in rows)


def test_a_key_without_a_limit_has_none_to_reach() -> None:
    """However much was spent, it is open; a limit in all has no end."""
    spent = msgspec.structs.replace(samples.AGENT, limit_micro_usd=None, spent_micro_usd=10**12)
    total = msgspec.structs.replace(
        samples.AGENT, limit_window="total", limit_micro_usd=1_000_000, spent_micro_usd=1_000_000, window_ends_ms=None
    )

    assert key_row(spent, samples.NOW_MS)[-1] == "open"
    assert key_row(total, samples.NOW_MS)[2] == "$1.00 in all"
    assert key_row(total, samples.NOW_MS)[-1] == "limit reached"


def test_calls_alone_is_the_list(ostler: Ostler, served: ServedHub) -> None:
    """`ostler calls` needs no word more."""
    code, out, err = ostler("calls")

    assert (code, err) == (0, "")
    assert served.hub.calls == [("live_calls", CallQuery(limit=50))]
    assert samples.CALL_ID in out


def test_a_full_page_says_how_to_go_on(ostler: Ostler, served: ServedHub) -> None:
    """With the id of the last call; a page that is not full says nothing."""
    assert f"; go on with --before {samples.FAILED.id}\n" in ostler("calls", "list", "--limit", "2").out
    assert "--before" not in ostler("calls", "list", "--limit", "3").out


def test_a_price_that_is_not_known_is_never_free() -> None:
    """A call without a price says so, and one that cost nothing says that."""
    free = msgspec.structs.replace(samples.FAILED, cost_micro_usd=0)

    assert call_row(samples.FAILED, samples.NOW_MS)[-2] == "unknown"
    assert call_row(free, samples.NOW_MS)[-2] == "$0.00"


def test_a_list_without_any_price_has_no_sum(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is added up that is not known."""
    calls = msgspec.structs.replace(samples.CALLS, calls=(samples.FAILED,))
    monkeypatch.setattr(samples, "CALLS", calls)

    assert ostler("calls", "list").out.endswith("\n1 call, 1 failed, cost unknown\n")


def test_what_is_asked_about_is_told_by_its_shape(ostler: Ostler, served: ServedHub) -> None:
    """A task that a person named like a call is a task still."""
    ostler("why", samples.CALL_ID)
    ostler("why", "c-my-task")

    assert served.hub.calls == [("live_call", samples.CALL_ID), ("why", "c-my-task")]
    assert is_call_id(samples.CALL_ID)


def test_why_of_a_call_can_be_short_or_json(ostler: Ostler, served: ServedHub) -> None:
    """One line, or the whole view."""
    assert ostler("why", samples.CALL_ID, "--short").out == "It was answered by sonnet.\n"
    assert json.loads(ostler("why", samples.CALL_ID, "--json").out)["record"]["cost_micro_usd"] == 10_484


def test_no_key_in_the_list_says_how_to_make_one(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty list is an answer too."""
    monkeypatch.setattr(samples, "KEYS", msgspec.structs.replace(samples.KEYS, keys=()))

    assert ostler("keys", "list").out == "no key; make one with `ostler keys create NAME`\n"


def test_the_sum_of_a_limit_says_what_is_wrong_with_it() -> None:
    """As an error of input, with the text that was given."""
    with pytest.raises(InvalidInputError, match="'5eur' is no limit"):
        limit_micro_usd("5eur")


def test_the_status_tells_of_calls_when_there_were_some(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many, how they failed, what they cost and what is not known of that; without calls there is no such line."""
    assert "\ncalls" not in ostler("status").out
    totals = CallTotals(
        calls=9,
        failures={"timeout": 1, "overloaded": 2},
        models={"m": ModelUse(calls=5, cost_micro_usd=1_200, unpriced=0), "n": ModelUse(calls=1, unpriced=1)},
        dropped=1,
    )
    monkeypatch.setattr(hub_samples, "STATUS", msgspec.structs.replace(hub_samples.STATUS, calls=totals))

    shown = ostler("status").out

    told = "9 calls since the start, 3 failed (2 overloaded, 1 timeout), $0.0012, 1 of unknown price, 1 record lost"
    assert f"calls    {told}\n" in shown


def test_calls_without_any_price_have_no_cost_in_the_status() -> None:
    """Not even one of nothing."""
    assert calls_text(CallTotals(calls=2, models={"m": ModelUse(calls=2, unpriced=2)})) == (
        "2 calls since the start, 2 of unknown price"
    )
    assert calls_text(CallTotals(calls=1, models={"m": ModelUse(calls=1)})) == "1 call since the start, $0.00"
