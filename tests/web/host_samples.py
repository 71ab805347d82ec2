"""Samples of what the hub says of work on many hosts: late results, batches, the pulse."""

from ostler.domain.states import Outcome, TaskState
from ostler.hub.late_views import LateAnswer, LateList, LateRow, LateStanding
from tests.web.samples import NOW_MS

LATE = LateList(
    late=(
        LateRow(
            task_id="t-one",
            title="one",
            generation=1,
            at_ms=NOW_MS - 1_000,
            worker="mac",
            ok=True,
            outcome=Outcome.REPORTED,
            exit_code=0,
            output_bytes=9,
            state=TaskState.QUEUED,
            standing=LateStanding.OPEN,
        ),
    ),
    now_ms=NOW_MS,
)
LATE_ANSWER = LateAnswer(row=LATE.late[0], output="the work\n", now_ms=NOW_MS)
