"""`ostler late` and the grace of a worker: what the command line asks, and what a person reads."""

import json

import msgspec
import pytest

from ostler.domain.errors import ConflictError, ExitCode
from ostler.domain.states import Failure, FailureClass
from ostler.hub.late_views import LateList, LateStanding
from ostler.hub.views import WorkerList
from tests.cli.conftest import Ostler
from tests.web import host_samples, samples
from tests.web.recording_desks import RecordingLate
from tests.web.recording_hub import RecordingHub, ServedHub


def test_late_results_are_listed_with_what_can_become_of_them(ostler: Ostler, served: ServedHub) -> None:
    """One line for each: whose it is, how it ended, what its task does now."""
    code, out, _ = ostler("late", "list")

    assert code == 0
    assert served.asked("late") == [()]
    for word in ("t-one", "mac", "1 s ago", "reported", "queued", "open"):
        assert word in out


def test_a_failure_that_came_late_says_which(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be adopted, and reads so."""
    failure = Failure(kind=FailureClass.WORKER_LOST, message="cut off", at_ms=1)
    row = msgspec.structs.replace(host_samples.LATE.late[0], ok=False, failure=failure, standing=LateStanding.FAILED)

    async def rows(_desk: RecordingLate) -> LateList:
        return LateList(late=(row,), now_ms=host_samples.LATE.now_ms)

    monkeypatch.setattr(RecordingLate, "rows", rows)
    _, out, _ = ostler("late", "list")

    assert "failed: worker_lost" in out
    assert out.rstrip().endswith("failed")


def test_an_empty_list_says_what_would_be_in_it(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a bare heading."""

    async def rows(_desk: RecordingLate) -> LateList:
        return LateList(late=(), now_ms=1)

    monkeypatch.setattr(RecordingLate, "rows", rows)

    assert "no late results" in ostler("late", "list").out


def test_a_late_result_is_shown_with_its_output(ostler: Ostler, served: ServedHub) -> None:
    """The row, then what it put out."""
    code, out, _ = ostler("late", "show", "t-one", "1")

    assert code == 0
    assert served.asked("late_result") == [("t-one", 1)]
    assert out.endswith("\n\nthe work\n")


def test_a_late_result_is_adopted(ostler: Ostler, served: ServedHub) -> None:
    """And what became of the task is said."""
    code, out, _ = ostler("late", "adopt", "t-one", "1")

    assert (code, out) == (0, "task t-one has succeeded with the result of attempt 1\n")
    assert served.asked("adopt_late") == [("t-one", 1)]


def test_a_settled_task_keeps_its_result(ostler: Ostler, served: ServedHub) -> None:
    """Refused, with exit code 4 and the reason."""
    served.hub.raises = ConflictError("task t-one is settled", remedy="its result stands")
    code, _, err = ostler("late", "adopt", "t-one", "1")

    assert code == ExitCode.REFUSED
    assert "settled" in err
    assert "its result stands" in err


@pytest.mark.parametrize("arguments", [("late", "list"), ("late", "show", "t", "1"), ("late", "adopt", "t", "1")])
def test_every_verb_speaks_json(ostler: Ostler, served: ServedHub, arguments: tuple[str, ...]) -> None:
    """The answer of the hub as it is."""
    code, out, _ = ostler(*arguments, "--json")

    assert code == 0
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize("attempt", ["0", "-1", "one"])
def test_an_attempt_is_a_number_from_one_on(ostler: Ostler, served: ServedHub, attempt: str) -> None:
    """Nothing is asked otherwise."""
    assert ostler("late", "show", "t", attempt).code == ExitCode.USAGE
    assert served.hub.calls == []


def test_a_suspect_worker_is_shown_with_the_time_it_has_left(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since when it is silent, and for how long its tasks are kept still."""
    row = samples.WORKERS.workers[0]
    session = msgspec.structs.replace(row.session, renewed_ms=samples.NOW_MS - 14_000)
    suspect = msgspec.structs.replace(row, session=session, lost_ms=samples.NOW_MS + 46_000)

    async def workers(_hub: RecordingHub) -> WorkerList:
        return WorkerList(workers=(suspect,), now_ms=samples.NOW_MS)

    monkeypatch.setattr(RecordingHub, "workers", workers)

    assert "silent, last 14 s ago, kept 46 s more" in ostler("workers", "list").out
