"""Samples of what the hub says of work on many hosts: late results, batches, the pulse."""

from ostler.domain.states import FailureClass, Outcome, TaskState
from ostler.hub.batch_views import BatchAnswer, BatchList, BatchRow
from ostler.hub.late_views import LateAnswer, LateList, LateRow, LateStanding
from ostler.hub.people_views import Asked, QuestionList
from ostler.hub.pulse_views import Idle, PulsePerson, PulseReport, PulseRun, PulseWorker
from tests.web.samples import NOW_MS, task

QUESTIONS = QuestionList(
    questions=(
        Asked(
            task="t-asks",
            title="Repaint the barn",
            kind=FailureClass.QUESTION,
            asked="Which colour?",
            since_ms=NOW_MS - 60_000,
            owner="ada",
            choices=("red", "green"),
            default="red",
            deadline_ms=NOW_MS + 3_600_000,
        ),
        Asked(task="t-key", kind=FailureClass.AUTH, asked="the key is refused", since_ms=NOW_MS - 7_200_000),
    ),
    now_ms=NOW_MS,
)
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

BATCH = BatchRow(
    name="nightly",
    total=3,
    counts={"queued": 1, "running": 1, "succeeded": 1},
    concurrency=2,
    created_ms=NOW_MS - 60_000,
    cost_micro_usd=12_000,
)
BATCHES = BatchList(batches=(BATCH,), now_ms=NOW_MS)
BATCH_ANSWER = BatchAnswer(row=BATCH, tasks=(task("t-one"),), now_ms=NOW_MS)
IDLE = Idle(code="paused", sentence="3 tasks wait: it is paused", remedy="resume it")
PULSE = PulseReport(
    now_ms=NOW_MS,
    idle=IDLE,
    running=(
        PulseRun(
            task_id="t-one",
            title="one",
            state="running",
            worker="mac",
            model="qwen",
            since_ms=NOW_MS - 720_000,
            heard_ms=NOW_MS - 660_000,
            stuck="no sign of life for 11 min",
        ),
    ),
    needs_person=(PulsePerson(task_id="t-two", title="two", message="which key?", since_ms=NOW_MS),),
    workers=(PulseWorker(name="mac", host="mac", tasks=1, slots=4, seen_ms=NOW_MS - 14_000, lost_ms=NOW_MS + 46_000),),
    retrying=1,
    later=2,
    started=("t-one",),
    ended=tuple(f"t-{number}" for number in range(10)),
)
