"""The report as data, made of recorded answers of a real hub."""

from pathlib import Path

import msgspec
import pytest

from ostler.demo.report import DemoReport, build_report, fallback_rows, money_rows, retry_rows, task_row
from ostler.domain.money import tokens_cost_micro_usd
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Task
from ostler.hub.views import TaskAnswer
from tests.demo import recorded


def changed(answer: TaskAnswer, **fields: object) -> TaskAnswer:
    """The answer with another row of its task."""
    return msgspec.structs.replace(answer, task=msgspec.structs.replace(answer.task, **fields))


def without(task_id: str) -> tuple[TaskAnswer, ...]:
    return tuple(answer for answer in recorded.answers() if answer.task.id != task_id)


def test_a_good_run_is_good() -> None:
    """Every task that is not optional succeeded and nothing was left running: ok, without a problem."""
    report = build_report(recorded.evidence())

    assert report.ok
    assert report.problems == ()
    assert report.elapsed_s == 33.0
    totals = report.totals
    assert (totals.tasks, totals.succeeded, totals.failed_optional, totals.failed, totals.unfinished) == (9, 8, 1, 0, 0)


def test_the_report_survives_json() -> None:
    """What `--json` prints holds all of it."""
    report = build_report(recorded.evidence())

    assert msgspec.json.decode(msgspec.json.encode(report), type=DemoReport) == report


def test_a_task_that_fell_back_says_from_where_and_why() -> None:
    """The row has the tier that took it, the badge's reason and the cost class of that tier."""
    row = task_row(recorded.answer("humaneval-shift"), recorded.catalog(), {})

    assert (row.tier, row.model, row.endpoint) == ("cloud_small", "gpt-simulated-mini", "sim-openai")
    assert row.cost_class == "metered"
    assert row.fallback is not None
    assert "no endpoint of local_strong is available: sim-alpha is down" in row.fallback


def test_every_fallback_is_told_with_both_tiers() -> None:
    """One row for each decision that left a tier, with how long it was waited for."""
    (row,) = fallback_rows(recorded.answer("humaneval-shift"))

    assert (row.from_tier, row.to_tier) == ("local_strong", "cloud_small")
    assert 2000 <= row.waited_ms < 4000
    assert list(fallback_rows(recorded.answer("contracts"))) == []


def test_a_lost_attempt_is_told_with_where_it_ran_again() -> None:
    """The command was under way on a machine that died; it does not count, and ran again on the other one."""
    (row,) = retry_rows(recorded.answer("long-command"))

    assert (row.attempt, row.kind, row.counted) == (1, "worker_lost", False)
    assert row.place == "worker sim-alpha"
    assert row.then == "again on worker sim-beta"


@pytest.mark.parametrize(
    ("task_id", "kind", "counted", "then"),
    [
        ("flaky", "command", True, "again on worker hub-worker"),
        ("incident", "rate_limit", False, "again on sim-anthropic"),
        ("optional-check", "command", True, "dead_letter"),
    ],
)
def test_every_failed_attempt_says_what_came_of_it(task_id: str, kind: str, counted: bool, then: str) -> None:
    """A command that fails counts, a rate limit does not; the last one says how the task ended."""
    (row,) = retry_rows(recorded.answer(task_id))

    assert (row.kind, row.counted, row.then) == (kind, counted, then)


def test_a_change_of_tier_for_another_cause_is_no_fallback() -> None:
    """A window that is too small leads up the ladder; that is told as a change, with its cause."""
    row = task_row(recorded.answer("contracts"), recorded.catalog(), {})

    assert row.fallback is None
    assert row.changes == ("context: local_small -> local_strong", "context: local_strong -> cloud_small")


def test_waiting_and_running_add_up_to_the_life_of_a_task() -> None:
    """Nothing is counted twice, also where an attempt was lost or failed and the task was queued again."""
    for answer in recorded.answers():
        row = task_row(answer, recorded.catalog(), {})
        task = answer.task
        assert task.finished_ms is not None
        assert row.ran_ms + row.waited_ms == task.finished_ms - task.created_ms, task.id
        assert row.ran_ms > 0, task.id


def test_waiting_begins_when_the_last_need_has_ended() -> None:
    """The time that a task spent waiting for others is theirs, not its own."""
    answer = changed(recorded.answer("contracts"), needs=("first", "second"))
    alone = task_row(recorded.answer("contracts"), recorded.catalog(), {})
    created_ms = answer.task.created_ms
    needed = task_row(
        answer, recorded.catalog(), {"first": created_ms + 10, "second": created_ms + 40, "other": 10**15}
    )

    assert needed.waited_ms == max(0, alone.waited_ms - 40)


def test_cloud_calls_cost_what_the_profile_says() -> None:
    """Tokens of each call times the price; on machines of one's own the same tokens cost nothing."""
    answer = recorded.answer("contracts")
    (attempt,) = answer.attempts
    assert attempt.usage is not None
    expected = tokens_cost_micro_usd(attempt.usage.input_tokens, 1.0)
    expected += tokens_cost_micro_usd(attempt.usage.output_tokens, 5.0)

    assert task_row(answer, recorded.catalog(), {}).cost_micro_usd == expected
    assert task_row(recorded.answer("gsm8k-private"), recorded.catalog(), {}).cost_micro_usd == 0


def test_money_is_summed_by_model_and_endpoint() -> None:
    """The rows of money and those of the tasks tell the same total."""
    report = build_report(recorded.evidence())
    calls = [attempt for answer in recorded.answers() for attempt in answer.attempts if attempt.usage is not None]

    assert sum(row.calls for row in report.money) == len([call for call in calls if call.endpoint is not None])
    assert report.totals.cost_micro_usd == sum(row.cost_micro_usd or 0 for row in report.tasks) > 0
    tokens = sum(call.usage.input_tokens + call.usage.output_tokens for call in calls if call.usage is not None)
    assert report.totals.local_tokens + report.totals.cloud_tokens == tokens


def test_a_model_without_a_price_is_never_free() -> None:
    """An unknown price makes the cost unknown, not zero."""
    catalog = recorded.catalog()
    model = msgspec.structs.replace(catalog.models["claude-simulated-haiku"], input_usd_per_mtok=None)
    unpriced = msgspec.structs.replace(catalog, models={**catalog.models, model.name: model})

    (row,) = money_rows(recorded.answer("contracts").attempts, unpriced)

    assert row.cost_micro_usd is None
    assert task_row(recorded.answer("contracts"), unpriced, {}).cost_micro_usd is None


def test_counts_that_the_endpoint_did_not_give_are_marked() -> None:
    """One estimated call makes the sum of its model an estimate."""
    (attempt,) = recorded.answer("contracts").attempts
    assert attempt.usage is not None
    guess = msgspec.structs.replace(attempt, usage=msgspec.structs.replace(attempt.usage, estimated=True))

    assert money_rows([attempt, guess], recorded.catalog())[0].estimated
    assert not money_rows([attempt], recorded.catalog())[0].estimated


def test_a_task_that_failed_makes_the_run_bad_with_its_reason() -> None:
    """The same failure of a task that is not optional is a problem, told with the task's own words."""
    failed = changed(recorded.answer("optional-check"), optional=False)
    report = build_report(recorded.evidence(answers=(*without("optional-check"), failed)))

    assert not report.ok
    (problem,) = report.problems
    assert "optional-check is dead_letter" in problem
    assert "on purpose" in problem
    assert report.totals.failed == 1


def test_a_task_that_did_not_end_is_a_problem_with_what_it_waits_for() -> None:
    """Also when it is optional: nothing is left hanging."""
    wait = Wait(code=WaitCode.NO_ROUTE, since_ms=0, detail="no model is large enough")
    task_fields: dict[str, object] = {
        "state": TaskState.QUEUED,
        "wait": wait,
        "finished_ms": None,
        "failure": None,
        "optional": True,
    }
    hanging = changed(recorded.answer("contracts"), **task_fields)
    report = build_report(recorded.evidence(answers=(*without("contracts"), hanging), gave_up=True))

    assert report.totals.unfinished == 1
    assert "the demo gave up waiting" in report.problems[0]
    assert report.problems[1] == "contracts is queued: waits: no model is large enough"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"left_running": ("process 7: python x.py",)}, "left running, and killed: process 7"),
        ({"expected": 12}, "the hub knows 9 of the 12 tasks"),
    ],
)
def test_what_was_left_or_lost_makes_the_run_bad(fields: dict[str, object], words: str) -> None:
    """A process that had to be killed at the end, or a task that the hub does not know, is never good."""
    report = build_report(recorded.evidence(**fields))

    assert not report.ok
    assert words in report.problems[0]


def test_tasks_stand_in_the_order_of_their_hand_in() -> None:
    """Whatever the order in which the hub was asked."""
    shuffled = recorded.answers()[::-1]
    rows = build_report(recorded.evidence(answers=shuffled)).tasks

    assert [row.id for row in rows] == [answer.task.id for answer in sorted(shuffled, key=_seq)]


def _seq(answer: TaskAnswer) -> int:
    task: Task = answer.task
    return task.seq


def test_the_recording_is_that_of_a_hub() -> None:
    """It holds what the tests above speak of: nine tasks, one fallback, three kinds of failure."""
    found = recorded.answers()

    assert len(found) == 9
    assert Path(recorded.ANSWERS).stat().st_size < 64_000


def test_a_live_call_that_failed_or_is_missing_makes_the_demo_fail() -> None:
    """The report is good only when every call was answered and recorded."""
    assert build_report(recorded.evidence()).ok
    refused = build_report(recorded.evidence(calls=(recorded.call(status=503, message="no place"),), calls_expected=1))
    assert not refused.ok
    assert any("503" in problem and "no place" in problem for problem in refused.problems)
    missing = build_report(recorded.evidence(calls=(recorded.call(),), calls_expected=2))
    assert any("1 of the 2 live calls" in problem for problem in missing.problems)
