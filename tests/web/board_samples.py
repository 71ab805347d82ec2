"""Answers of the board for the tests of the web package: one of every kind of thing that a page shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from ostler.budget.burn import Burn
from ostler.budget.limits import Level, Standing
from ostler.budget.subscriptions import AllowanceStanding, SubscriptionStanding
from ostler.domain.event import Event
from ostler.domain.limits import Allowance, Limit, PoolPart, ScopeKind, Subscription, Window, WindowKind
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import TaskKind
from ostler.hub.board_views import (
    Change,
    Changes,
    Charge,
    DaySpent,
    Find,
    Found,
    Home,
    Money,
    Need,
    NeedKind,
    RunningRow,
    RunRow,
    Savings,
    SpentRow,
    UnknownRow,
    WaitingRow,
)
from ostler.hub.views import TierRow
from tests.web import samples

NOW_MS = samples.NOW_MS

NEEDS = tuple(
    Need(kind=kind, name=f"n-{kind.value}", title=f"title of {kind.value}", since_ms=NOW_MS - 5_000, where="box")
    for kind in NeedKind
)
RUNNING = RunningRow(
    id="t-run",
    title="Name a horse",
    kind=TaskKind.CHAT,
    state=TaskState.RUNNING,
    tier="standard",
    model="qwen",
    endpoint="gpu",
    host="box",
    worker="box-worker",
    batch="r-1",
    generation=2,
    assigned_ms=NOW_MS - 4_000,
    started_ms=NOW_MS - 3_000,
    fallback_used=True,
    stopping=False,
    tokens=1_200,
    cost_micro_usd=1_284,
    basis="held",
)
WAITING = WaitingRow(
    wait=Wait(code=WaitCode.MODEL_SWAP, since_ms=NOW_MS - 9_000, detail="qwen is to be loaded on box"),
    count=12,
    tier="standard",
    example="t-one",
    due_ms=NOW_MS + 240_000,
    due="about",
    oldest_ms=NOW_MS - 9_000,
)
HOME = Home(
    status=samples.STATUS,
    needs=NEEDS,
    running=(RUNNING,),
    waiting=(WAITING,),
    running_count=1,
    waiting_count=12,
    paused_count=1,
    now_ms=NOW_MS,
)
EMPTY_HOME = Home(
    status=samples.STATUS,
    needs=(),
    running=(),
    waiting=(),
    running_count=0,
    waiting_count=0,
    paused_count=0,
    now_ms=NOW_MS,
)
_DAY = Limit(name="day", window=Window(kind=WindowKind.DAY), soft=4_000_000, hard=5_000_000)
_ALLOWANCE = AllowanceStanding(
    allowance=Allowance(name="five-hours", window=Window(kind=WindowKind.ROLLING, hours=5), amount=100),
    used=60,
    used_percent=60.0,
    usable_percent=95.0,
    paced_percent=50.0,
    resets_ms=NOW_MS + 60_000,
)
MONEY = Money(
    now_ms=NOW_MS,
    today=Burn(used=1_500_000, elapsed_ms=3_600_000, per_hour=1_500_000.0, left=3_500_000, exhausted_in_hours=2.3),
    month_micro_usd=20_000_000,
    held_micro_usd=12_000,
    limits=(
        Standing(
            limit=_DAY, value="", level=Level.DEGRADED, used=3_200_000, held=1, ceiling=5_000_000, start_ms=0,
            resets_ms=NOW_MS + 3_600_000,
            part=PoolPart(most=3_500_000, total=5_000_000, spent=1_000_000, kept=400_000, pools=("barn", "lab")),
        ),
        Standing(
            limit=Limit(name="sessions", scope=ScopeKind.SESSION, soft=5), value="s-1", level=Level.OK, used=1, held=0,
            ceiling=None, start_ms=0,
        ),
    ),
    limits_left_out=3,
    subscriptions=(
        SubscriptionStanding(
            subscription=Subscription(provider="anthropic", allowances=(_ALLOWANCE.allowance,)),
            usable=True,
            preferred=False,
            near_end=True,
            allowances=(_ALLOWANCE,),
            reason="ahead of an even pace",
        ),
    ),
    providers=(
        SpentRow(
            name="anthropic", today_micro_usd=1, month_micro_usd=2, held_micro_usd=3, tokens=12_400, requests=5
        ),
    ),
    tiers=(),
    models=(),
    days=tuple(DaySpent(start_ms=n * 86_400_000, micro_usd=n * 1_000, fallback_micro_usd=n * 100) for n in range(14)),
    unknown=(UnknownRow(provider="odd", model="mystery", calls=2, micro_usd=900_000),),
    entries=321,
    savings=Savings(micro_usd=7_000_000, of="anthropic/haiku", attempts=9),
)  # fmt: skip
CHANGES = Changes(
    changes=(
        Change(
            event=Event(
                name="learning.changed",
                at_ms=NOW_MS - 60_000,
                metadata={
                    "task_type": "docs",
                    "enough_before": "",
                    "enough": "low",
                    "poor_before": "",
                    "poor": "",
                    "evidence": "low: 9 of 9",
                },
            )
        ),
    ),
    events=42,
)
RUNS = (
    RunRow(
        name="r-1",
        states={TaskState.SUCCEEDED: 3, TaskState.RUNNING: 1},
        tasks=4,
        first_ms=NOW_MS - 90_000,
        updated_ms=NOW_MS - 1_000,
        planned=True,
    ),
)


class SampleBoard:
    """A board that answers with the samples and keeps what it was asked."""

    def __init__(self) -> None:
        self.home_now = HOME
        self.asked: list[tuple[Any, ...]] = []

    async def home(self) -> Home:
        self.asked.append(("home",))
        return self.home_now

    def tiers(self) -> Sequence[TierRow]:
        return samples.STATUS.tiers

    async def find(self, query: Find) -> Found:
        self.asked.append(("find", query))
        if query.text == "nothing":
            return Found(tasks=(), next_before=None, looked_at=7, now_ms=NOW_MS)
        return Found(tasks=(samples.task(), samples.SUCCEEDED), next_before=1, looked_at=2, now_ms=NOW_MS)

    async def runs(self) -> Sequence[RunRow]:
        return RUNS

    async def charges(self, task_id: str, generations: Sequence[int]) -> Mapping[int, Charge]:
        return {number: Charge(micro_usd=1_284, basis="priced", open=False) for number in generations}

    async def money(self) -> Money:
        return MONEY

    async def changes(self) -> Changes:
        return CHANGES
