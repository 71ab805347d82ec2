"""Metrics: counted from what is durable, few whatever the hub is asked to do."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.commands import (
    Adjust,
    AppendEvents,
    Applied,
    Command,
    PutCalls,
    Release,
    Reserve,
    Settle,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.event import CATALOGUE, Event
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.live import CallAttempt, CallRecord
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Attempt, TaskFacts, TaskKind, Usage
from ostler.telemetry.exposition import text_of
from ostler.telemetry.metering import _EVENTS, RESERVED_MAX, Metering
from ostler.telemetry.metrics import LABELS, METRICS, OTHER, SERIES_MAX, Bounded, Meters
from tests.store.rows_made import CLASSIFICATION, make_new, make_task
from tests.telemetry.test_exposition import parsed

FORBIDDEN = re.compile(r"\b(task|run|batch|session|key|prompt|repo|title|message|attempt|id)\b")


def samples(metering: Metering) -> dict[tuple[str, ...], float]:
    """Every sample: (name, label values...) -> value."""
    families = parsed(text_of(metering.meters.families({})))
    return {
        (name, *(value for label, value in sorted(labels.items()) if label != "le")): value
        for found in families.values()
        for name, labels, value in found
        if not name.endswith("_bucket")
    }


def observed(*commands: Command) -> Metering:
    metering = Metering()
    metering.observe([(command, Applied()) for command in commands])
    return metering


def said(name: str, measurements: dict[str, float] | None = None, **metadata: str | bool | None) -> AppendEvents:
    return AppendEvents(events=(Event(name=name, at_ms=1, measurements=measurements or {}, metadata=metadata),))


def test_every_label_of_the_catalogue_is_bounded_and_none_names_a_piece_of_work() -> None:
    """A label without a bound, or one that grows with the work, is no label."""
    used = {label for kind in METRICS.values() for label in kind.labels}

    assert used <= set(LABELS)
    assert set(LABELS) <= used
    assert [label for label in LABELS if FORBIDDEN.search(label)] == []
    assert all(bound >= 1 for bound, _ in LABELS.values())


def test_names_and_units_follow_the_rules_of_the_trade() -> None:
    """Counters end in `_total`, times are seconds, and histograms have rising bounds."""
    for name, kind in METRICS.items():
        assert re.fullmatch(r"(ostler|process)_[a-z0-9_]+", name), name
        assert (kind.kind == "counter") == name.endswith("_total"), name
        assert kind.kind in {"counter", "gauge", "histogram"}
        assert bool(kind.bounds) == (kind.kind == "histogram")
        assert list(kind.bounds) == sorted(set(kind.bounds))
        assert not re.search(r"_(ms|us|micro)(_|$)", name), name


def test_every_event_that_is_counted_is_one_of_the_catalogue() -> None:
    """A misspelt name would count nothing for ever."""
    assert set(_EVENTS) <= set(CATALOGUE)


def test_a_task_is_counted_from_submit_to_end() -> None:
    """By kind, tier and outcome; times as histograms in seconds."""
    found = samples(
        observed(
            SubmitTasks(tasks=(make_new("t1", 1),)),
            said("task.assigned", {"wait_ms": 1_500}, tier="low", worker="w"),
            said("task.started", tier="low"),
            said("task.evaluating", {"duration_ms": 2_000}, tier="low"),
            said("task.succeeded", {"duration_ms": 2_000}, tier="low"),
        )
    )

    assert found["ostler_tasks_submitted_total", "chat"] == 1
    assert found["ostler_queue_wait_seconds_sum", "low"] == 1.5
    assert found["ostler_attempts_started_total", "low"] == 1
    assert (found["ostler_attempt_seconds_sum", "low"], found["ostler_attempt_seconds_count", "low"]) == (2, 1)
    assert found["ostler_tasks_ended_total", "succeeded"] == 1
    assert found["ostler_events_total", "task.assigned"] == 1


def test_a_task_that_was_there_already_is_not_counted_again() -> None:
    """A submit may be repeated; its duplicates are no news."""
    metering = Metering()
    command = SubmitTasks(tasks=(make_new("t1", 1), make_new("t2", 2)))
    metering.observe([(command, Applied(duplicates=("t1",)))])

    assert samples(metering)["ostler_tasks_submitted_total", "chat"] == 1


def test_decisions_and_fallbacks_are_counted_by_tier() -> None:
    """The two events that were asked for, as counters."""
    route = said(
        "scheduler.route",
        {"candidate_count": 3, "scoring_duration_us": 250},
        task_id="t",
        effective_tier="low",
        target_type="local",
        fallback_used=True,
    )
    found = samples(observed(route, said("scheduler.fallback", {}, original_tier="low", fallback_tier="high")))

    assert found["ostler_decisions_total", "true", "local", "low"] == 1
    assert found["ostler_decision_seconds_sum",] == pytest.approx(0.00025)
    assert found["ostler_fallbacks_total", "low", "high"] == 1


def test_stand_in_models_and_ticks_of_loops_are_counted() -> None:
    """By tier, and by how a tick went; never by the names of models that a task brings or of loops."""
    found = samples(
        observed(
            said("scheduler.model_fallback", {}, tier="low", original_model="a", fallback_model="b"),
            said("loop.tick", {}, loop="nightly", ok=True),
            said("loop.tick", {}, loop="weekly", ok=False),
        )
    )

    assert found["ostler_model_fallbacks_total", "low"] == 1
    assert (found["ostler_loop_ticks_total", "true"], found["ostler_loop_ticks_total", "false"]) == (1, 1)


def attempt(**changes: object) -> Attempt:
    made = Attempt(
        task_id="t",
        generation=1,
        session="s",
        worker="w",
        tier="low",
        model="qwen",
        assigned_ms=1,
        finished_ms=9,
        ok=True,
    )
    return replace(made, **changes)


def ended(one: Attempt, kind: TaskKind = TaskKind.CHAT, event: str = "task.evaluating") -> UpdateTask:
    facts = TaskFacts(id="t", kind=kind, classification=CLASSIFICATION)
    return UpdateTask(
        task=make_task("t", state=TaskState.EVALUATING, facts=facts),
        expect_generation=1,
        expect_states=(TaskState.RUNNING,),
        events=(Event(name=event, at_ms=1, task_id="t", metadata={"tier": one.tier}),),
        attempt=one,
    )


USAGE = Usage(input_tokens=100, cached_tokens=30, output_tokens=20, reasoning_tokens=5)


def test_tokens_of_an_attempt_are_counted_once_where_it_ended() -> None:
    """Not again with the transitions after it, which carry the attempt too."""
    one = attempt(usage=USAGE)
    found = samples(observed(ended(one), ended(one, event="task.succeeded")))

    tokens = {key[1]: value for key, value in found.items() if key[0] == "ostler_tokens_total"}
    assert tokens == {"input": 70, "cache_read": 30, "output": 20, "reasoning": 5}
    assert found["ostler_attempts_ended_total", "none", "low"] == 1


def test_the_tokens_of_an_agent_are_those_of_its_calls() -> None:
    """They came through the gateway, and were counted there."""
    found = samples(observed(ended(attempt(usage=USAGE), TaskKind.AGENT)))

    assert not any(key[0] == "ostler_tokens_total" for key in found)


def test_a_failure_is_counted_by_its_class() -> None:
    """Never by its message."""
    bad = attempt(ok=False, failure=Failure(kind=FailureClass.TIMEOUT, message="secret words", at_ms=1))

    found = samples(observed(ended(bad)))

    assert found["ostler_attempts_ended_total", "timeout", "low"] == 1
    assert "secret" not in str(found)


CALL = CallRecord(
    id="c-1",
    at_ms=1,
    key="laptop",
    format="openai",
    path="/v1/chat/completions",
    asked_model="auto",
    stream=True,
    status=200,
    model="qwen",
    endpoint="stable",
    tier="low",
    fallback="down",
    wait_ms=500,
    first_token_ms=700,
    duration_ms=2_000,
    overhead_us=900,
    attempts=(
        CallAttempt(
            endpoint="broken", model="qwen", tier="low", started_ms=1, duration_ms=5, failure=FailureClass.SERVER
        ),
        CallAttempt(
            endpoint="stable",
            model="qwen",
            tier="low",
            started_ms=6,
            duration_ms=9,
            input_tokens=10,
            cache_write_tokens=4,
            output_tokens=7,
        ),
    ),
    prompt="canary",
    answer="canary",
)


def test_a_live_call_is_counted_with_each_of_its_attempts() -> None:
    """Where it went, how it ended, how long each part took."""
    found = samples(observed(PutCalls(records=(CALL,))))

    assert found["ostler_calls_total", "stable", "none", "qwen"] == 1
    assert found["ostler_call_attempts_total", "broken", "server"] == 1
    assert found["ostler_call_attempts_total", "stable", "none"] == 1
    assert found["ostler_call_seconds_sum", "qwen"] == 2
    assert found["ostler_call_wait_seconds_sum",] == 0.5
    assert found["ostler_call_first_token_seconds_sum", "qwen"] == 0.7
    assert found["ostler_call_overhead_seconds_sum",] == pytest.approx(0.0009)
    assert found["ostler_call_fallbacks_total",] == 1
    assert found["ostler_tokens_total", "cache_write", "qwen"] == 4
    assert "canary" not in str(found)


PAID = Scopes(provider="openai", model="gpt", task="t-1")


def test_money_is_what_was_charged() -> None:
    """A settlement in dollars; a release is nothing; an adjustment is no charge of its own."""
    found = samples(
        observed(
            Settle(attempt="a/1", at_ms=1, amount=Amount(micro_usd=1_500_000), scopes=PAID),
            Release(attempt="b/1", at_ms=1),
            Adjust(attempt="a/1", ref="bill", at_ms=2, amount=Amount(micro_usd=9_000_000)),
        )
    )

    assert {key: value for key, value in found.items() if "usd" in key[0]} == {
        ("ostler_spent_usd_total", "priced", "gpt", "openai"): 1.5
    }


def test_an_attempt_whose_end_nobody_saw_counts_with_what_it_held() -> None:
    """As the ledger charges it; what was reserved is under the reservation's own names."""
    held = Reserve(attempt="a/1", at_ms=1, amount=Amount(micro_usd=250_000), basis=Basis.ESTIMATED, scopes=PAID)
    lost = Settle(attempt="a/1", at_ms=2, amount=Amount(), ambiguous=True)

    found = samples(observed(held, lost))

    assert found["ostler_spent_usd_total", "estimated", "gpt", "openai"] == 0.25


def test_reservations_are_remembered_up_to_a_bound() -> None:
    """An attempt that is never ended costs a bounded memory."""
    metering = Metering()
    for number in range(RESERVED_MAX + 10):
        metering.money(Reserve(attempt=str(number), at_ms=1, amount=Amount(micro_usd=1), scopes=PAID))

    assert len(metering._reserved) == RESERVED_MAX


def test_ten_thousand_tasks_make_no_more_series_than_ten() -> None:
    """Each with a name, a run, a session, a repository and words of its own: labels do not know them."""

    def series(count: int) -> set[tuple[str, ...]]:
        metering = Metering()
        for number in range(count):
            name = f"t-{number}"
            fields = {"tier": "low", "worker": f"w{number}", "session": f"s{number}", "message": f"words {number}"}
            metering.observe(
                [
                    (SubmitTasks(tasks=(make_new(name, number + 1, batch=f"run-{number}", title=name),)), Applied()),
                    (said("task.assigned", {"wait_ms": number}, **fields), Applied()),
                    (said("task.retry_wait", {"delay_ms": 1}, failure="timeout", **fields), Applied()),
                    (said("scheduler.route", {}, task_id=name, effective_tier="low", target_type="local"), Applied()),
                    (PutCalls(records=(replace(CALL, id=name, key=f"k{number}", task=name, client=name),)), Applied()),
                    (
                        Settle(
                            attempt=f"{name}/1", at_ms=1, amount=Amount(micro_usd=5), scopes=replace(PAID, task=name)
                        ),
                        Applied(),
                    ),
                ]
            )
        return set(samples(metering))

    few, many = series(10), series(10_000)

    assert few == many
    assert len(many) < 60


def test_names_without_end_become_other() -> None:
    """A thousand models that clients make up are as many series as the bound says, and one more; nothing is lost."""
    metering = Metering()
    for number in range(1_000):
        metering.call(replace(CALL, id=str(number), model=f"model-{number}", attempts=()))

    found = samples(metering)
    calls = {key: value for key, value in found.items() if key[0] == "ostler_calls_total"}
    assert len(calls) == LABELS["model"][0] + 1
    assert sum(calls.values()) == 1_000
    assert calls["ostler_calls_total", "stable", "none", OTHER] == 1_000 - LABELS["model"][0]


def test_series_of_one_metric_are_bounded_even_where_labels_multiply() -> None:
    """Every model at every endpoint with every failure: the rest is one series, and every call is in one of them."""
    metering, made = Metering(), 0
    failures = [None, *FailureClass]
    for model, endpoint, failure in itertools.product(range(40), range(40), failures[:4]):
        metering.call(replace(CALL, model=f"m{model}", endpoint=f"e{endpoint}", failure=failure, attempts=()))
        made += 1

    calls = [value for key, value in samples(metering).items() if key[0] == "ostler_calls_total"]
    assert len(calls) <= SERIES_MAX + 1
    assert sum(calls) == made
    assert len(metering.meters._shown) <= SERIES_MAX * len(METRICS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=300))
def test_a_label_shows_at_most_its_bound_and_each_name_as_itself_or_other(values: list[str]) -> None:
    """The first so many keep their names for good, in whatever order they come back."""
    bounded = Bounded()
    shown: dict[str, str] = {}
    for value in [*values, *reversed(values)]:
        (one,) = bounded.key(("tier",), (value,))
        assert one in {value, OTHER}
        assert shown.setdefault(value, one) == one

    assert len({one for one in shown.values() if one != OTHER}) <= LABELS["tier"][0]


def test_a_value_on_a_bound_is_in_its_bucket() -> None:
    """`le` means less or equal."""
    meters = Meters()
    meters.observe("ostler_decision_seconds", 0.001)
    meters.observe("ostler_decision_seconds", 99.0)

    found = parsed(text_of(meters.families({})))["ostler_decision_seconds"]
    buckets = {labels["le"]: value for name, labels, value in found if name.endswith("_bucket")}
    assert (buckets["0.0005"], buckets["0.001"], buckets["1"], buckets["+Inf"]) == (0, 1, 1, 2)
