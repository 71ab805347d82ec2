"""The pure parts of the pages: what is compared, drawn and grouped, over what may come in."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.limits import Level, Standing
from ostler.domain.alert_rules import RULES
from ostler.domain.alerts import Alert, AlertState
from ostler.domain.decision import Estimate
from ostler.domain.event import Event
from ostler.domain.fleet import GIB, HeldPhase
from ostler.domain.hubs import HubList, HubRow
from ostler.domain.limits import Limit, PoolPart, Unit
from ostler.domain.managed import ResidentView
from ostler.domain.policy import Learned
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Usage
from ostler.hub.alert_views import AlertList, AlertRow
from ostler.hub.board_views import Charge, DaySpent
from ostler.hub.fleet_views import HostList, HostRow
from ostler.hub.pattern_views import LearnedRow, PatternRow
from ostler.web.pages import fleet, home, learning, money, tasks
from ostler.web.pages.render import way_up
from ostler.web.pages.view import Ask
from tests.web import board_samples, samples

ATTEMPT = samples.ATTEMPTS[0]


def resident(model: str, gib: int | None, phase: HeldPhase = HeldPhase.READY) -> ResidentView:
    return ResidentView(
        endpoint="gpu",
        model=model,
        context_tokens=None,
        memory_bytes=None if gib is None else gib * GIB,
        phase=phase,
        busy=0,
        since_ms=None,
        used_ms=None,
        pinned=False,
    )


def route_event(took_us: int) -> Event:
    return Event(name="scheduler.route", at_ms=0, measurements={"candidate_count": 1, "scoring_duration_us": took_us})


def assigned(generation: int) -> Event:
    return Event(name="task.assigned", at_ms=0, metadata={"generation": generation})


def test_each_decision_has_its_own_microseconds() -> None:
    """They are told in the order of the attempts, whichever of the two events comes first."""
    before = [route_event(12), assigned(1), route_event(30), assigned(2)]
    after = [assigned(1), route_event(12), assigned(2), route_event(30)]

    assert tasks.scoring_times(before) == tasks.scoring_times(after) == {1: 12, 2: 30}
    assert tasks.scoring_times([assigned(1)]) == {}


def test_what_was_expected_stands_beside_what_it_took() -> None:
    """Only lines of which something is known; a cost that is only held is not yet one."""
    decision = msgspec.structs.replace(samples.DECISION, decided_ms=ATTEMPT.assigned_ms)
    estimate = Estimate(queue_ms=100, load_ms=0, decode_ms=4_000, cost_micro_usd=9)
    attempt = msgspec.structs.replace(ATTEMPT, usage=Usage(decode_ms=3_500))
    held = Charge(micro_usd=12, basis="estimated", open=True)
    paid = Charge(micro_usd=7, basis="priced", open=False)
    rows = {row.name: row for row in tasks.compared(estimate, attempt, paid, decision)}

    assert (rows["writing the answer"].expected, rows["writing the answer"].actual) == (4_000, 3_500)
    assert rows["until it starts"].actual == 1_000
    assert rows["in all"].actual == 18_000
    assert rows["cost"].actual == 7
    assert "loading the model" not in rows
    assert {row.name: row.actual for row in tasks.compared(estimate, attempt, held, decision)}["cost"] is None
    assert tasks.compared(None, attempt, paid, decision) == ()


def test_attempts_stand_newest_first_with_the_decision_of_each() -> None:
    """One whose decision is not kept any more is shown without it."""
    second = msgspec.structs.replace(ATTEMPT, generation=2)
    answer = msgspec.structs.replace(samples.ANSWER, attempts=(ATTEMPT, second))
    shown = list(tasks.tries(answer, {}))

    assert [one.attempt.generation for one in shown] == [2, 1]
    assert [one.card is not None for one in shown] == [False, True]


@pytest.mark.parametrize(
    ("state", "paused", "verbs"),
    [
        (TaskState.QUEUED, False, ("pause", "cancel")),
        (TaskState.QUEUED, True, ("resume", "cancel")),
        (TaskState.RUNNING, False, ("cancel",)),
        (TaskState.NEEDS_HUMAN, False, ("retry", "cancel")),
        (TaskState.DEAD_LETTER, False, ("retry",)),
        (TaskState.SUCCEEDED, False, ()),
    ],
)
def test_a_page_offers_what_can_be_done_now(state: TaskState, paused: bool, verbs: tuple[str, ...]) -> None:
    """The likeliest first."""
    task = msgspec.structs.replace(samples.task("t", TaskState.QUEUED), state=state, paused=paused)

    assert tasks.allowed_verbs(task) == verbs


@given(
    st.integers(1, 512),
    st.integers(0, 64),
    st.lists(st.one_of(st.none(), st.integers(0, 600)), max_size=12),
)
def test_a_bar_of_memory_never_leaves_its_frame(total: int, reserve: int, sizes: list[int | None]) -> None:
    """Pieces touch, none is negative, and together they are no wider than the whole, whatever engines say."""
    row = HostRow(
        name="box",
        managed=True,
        total_bytes=total * GIB,
        reserve_bytes=min(total, reserve) * GIB,
        residents=tuple(resident(f"m{number}", size) for number, size in enumerate(sizes)),
    )
    pieces = fleet.bar(row)
    ends = [piece.x + piece.width for piece in pieces]

    assert all(piece.width >= 0 for piece in pieces)
    assert all(abs(piece.x - end) < 1e-6 for piece, end in zip(pieces[1:], ends, strict=False))
    assert max(ends, default=0) <= fleet.WIDTH + 1e-6


def test_a_host_that_says_nothing_of_its_memory_has_no_bar() -> None:
    """Rather than a wrong one."""
    assert fleet.bar(HostRow(name="cloud", managed=False)) == ()


def test_models_of_one_page_have_colours_of_their_own() -> None:
    """As long as there are enough of them, two models are never drawn alike."""
    names = [f"model-{number}" for number in range(8)]
    row = HostRow(name="box", managed=True, residents=tuple(resident(name, 1) for name in names))
    hues = fleet.hues(HostList(hosts=(row,), now_ms=0))

    assert len(set(hues.values())) == len(names)


AMOUNTS = st.integers(0, 10**9)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.one_of(st.none(), AMOUNTS))
def test_a_gauge_stays_in_its_frame(used: int, held: int, elsewhere: int, hard: int | None) -> None:
    """Spent, reserved and spent in other pools together fill it at most, also where more was spent than the limit."""
    limit = Limit(name="day", soft=500, hard=hard)
    part = PoolPart(spent=elsewhere, pools=("lab",))
    one = Standing(limit=limit, value="", level=Level.OK, used=used, held=held, ceiling=hard, start_ms=0, part=part)
    drawn = money.gauge(one)

    assert 0 <= drawn.used <= 1000
    assert min(drawn.held, drawn.elsewhere) >= 0
    assert drawn.used + drawn.held + drawn.elsewhere <= 1000 + 1e-6


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=14))
def test_the_columns_stay_in_their_chart(costs: list[tuple[int, int]]) -> None:
    """The dearest day is as high as the chart, and no fallback is higher than its day."""
    days = tuple(DaySpent(start_ms=n, micro_usd=day, fallback_micro_usd=fell) for n, (day, fell) in enumerate(costs))
    drawn = money.columns(days)

    assert all(column.height <= money.HEIGHT + 1e-6 for column in drawn)
    assert all(column.fallback_height <= column.height + 1e-6 for column in drawn)
    assert all(column.x >= 0 and column.x + column.width <= money.WIDTH for column in drawn)
    if any(day for day, _ in costs):
        assert max(column.height for column in drawn) == pytest.approx(money.HEIGHT)


def test_a_limit_counts_in_its_own_unit() -> None:
    """Dollars, tokens, requests."""
    assert money.amount(1_500_000, Unit.USD) == "$1.50"
    assert money.amount(12_400, Unit.TOKENS) == "12.4k tokens"
    assert money.amount(3, Unit.REQUESTS) == "3 requests"


def test_models_of_a_type_stand_best_first() -> None:
    """Types by name; what is proven of one stands with it."""
    rows = [
        PatternRow(task_type="docs", model="weak", mean=0.4),
        PatternRow(task_type="docs", model="strong", mean=0.9),
        PatternRow(task_type="code", model="weak", mean=0.2),
    ]
    proven = LearnedRow(task_type="docs", learned=Learned(enough="low"), in_force=True)
    found = learning.kinds(rows, [proven])

    assert [(kind.name, [row.model for row in kind.rows]) for kind in found] == [
        ("code", ["weak"]),
        ("docs", ["strong", "weak"]),
    ]
    assert [kind.learned for kind in found] == [None, proven]


@pytest.mark.parametrize("code", list(WaitCode))
def test_every_reason_for_nothing_running_has_words_and_a_way(code: WaitCode) -> None:
    """None leaves the banner empty."""
    row = msgspec.structs.replace(board_samples.WAITING, wait=Wait(code=code, since_ms=0))
    status = msgspec.structs.replace(samples.STATUS, calls_running=0, idle_because="12 wait: reason")
    found = home.idle(
        msgspec.structs.replace(board_samples.HOME, status=status, running=(), running_count=0, waiting=(row,))
    )

    assert found is not None
    assert found["words"] or found["also"]
    assert found["path"]


def test_while_something_runs_nobody_asks_why_not() -> None:
    """A live call is something that runs."""
    calls = msgspec.structs.replace(samples.STATUS, calls_running=1)
    resting = msgspec.structs.replace(board_samples.HOME, running=(), running_count=0)

    assert home.idle(board_samples.HOME) is None
    assert home.idle(msgspec.structs.replace(resting, status=calls)) is None
    assert home.idle(msgspec.structs.replace(resting, waiting=())) is None


@given(st.lists(st.from_regex(r"\A[a-z0-9-]{1,8}\Z"), max_size=4))
def test_the_way_up_leads_to_the_root(parts: list[str]) -> None:
    """From any page, below any path of a proxy."""
    from urllib.parse import urljoin

    path = "/" + "/".join(parts)

    assert urljoin(f"http://hub/below/it{path}", way_up(path)) == "http://hub/below/it/"


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("", None), ("-3", None), ("1e3", None), ("٣", None), ("9" * 19, None)]
)
def test_a_number_of_a_query_is_one_or_nothing(text: str, number: int | None) -> None:
    """What somebody typed into an address breaks nothing."""
    assert Ask(path="/", query={"n": text}).number("n") == number


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("state", list(AlertState))
def test_an_alert_is_a_row_unless_another_row_is_about_it(rule: str, state: AlertState) -> None:
    """Active ones alone: what a person knows of is silent, what is over is gone."""
    row = AlertRow(id=f"{rule}:x", alert=Alert(rule=rule, state=state, since_ms=0, updated_ms=0))
    shown = home.news(AlertList(alerts=(row,)))

    assert (shown == (row,)) == (state is AlertState.ACTIVE and rule not in home.SHOWN_ANYWAY)


def test_every_rule_that_has_a_row_of_its_own_exists() -> None:
    """A rule that is renamed would be shown twice."""
    assert set(RULES) >= home.SHOWN_ANYWAY


def hub(name: str, pool: str) -> HubRow:
    return HubRow(name=name, url=f"http://{name}", version="1", started_ms=0, pool=pool)


def test_hubs_are_shown_where_there_are_several() -> None:
    """A hub alone is nothing to tell of; with another one, or another pool, all are, the own pool first."""
    alone = HubList(hubs=(hub("a", "lab"),), pool="lab")
    two_pools = HubList(hubs=(hub("a", "lab"),), pool="lab", others=(hub("c", "b"), hub("d", "a"), hub("e", "b")))

    assert fleet.pools(alone) == ()
    assert fleet.pools(HubList(hubs=())) == ()
    shown = [(card.name, card.own, [row.name for row in card.hubs]) for card in fleet.pools(two_pools)]
    assert shown == [("lab", True, ["a"]), ("a", False, ["d"]), ("b", False, ["c", "e"])]
