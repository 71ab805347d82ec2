"""`ostler budget`: exit codes, flags and words; no hub is needed."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ostler.app import budgets
from ostler.app.prices import shipped_table
from ostler.config.load import load_profile
from ostler.domain.commands import Command, PutCalls, Reserve, Settle
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.limits import ScopeKind, Unit, WindowKind
from ostler.domain.live import CallAttempt
from ostler.domain.states import TaskState
from ostler.domain.tasks import Usage
from ostler.store.file_lock import FileLock
from ostler.store.sqlite import SqliteStore
from tests.budget.made import at
from tests.cli.conftest import Ostler
from tests.store.rows_made import make_attempt, make_call, make_submit, make_task, make_update
from tests.web.recording_hub import served_hub

PROFILE = """\
# mine
routing:
  tiers:
    small: {provider: ollama, model: "qwen2.5:7b"}
    large: {provider: anthropic, models: [claude-sonnet-5]}
    other: {provider: deepseek, model: deepseek-chat}
budget:
  monthly_hard_cap: null   # the days are enough
  providers:
    anthropic: {daily_budget: 50.00, priority: 1}   # by the day
"""
NOON_MS = at("UTC", 2026, 11, 29, 12)


@pytest.fixture(autouse=True)
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ostler.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    monkeypatch.setattr(budgets, "_now_ms", lambda: NOON_MS)
    return path


@pytest.fixture
def spend(tmp_path: Path) -> Callable[..., None]:
    """Put commands into the hub's ledger."""

    def apply(*commands: Command) -> None:
        async def write() -> None:
            path = tmp_path / "data" / "ostler.db"
            path.parent.mkdir(exist_ok=True)
            store = await SqliteStore.open(path)
            await store.apply(commands)
            await store.close()

        asyncio.run(write())

    return apply


def cost(dollars: float, attempt: str = "a", at_ms: int = NOON_MS, **changes: object) -> Settle:
    fields: dict[str, Any] = {"scopes": Scopes(provider="anthropic", tier="large"), "basis": Basis.PRICED} | changes
    return Settle(attempt=attempt, at_ms=at_ms, amount=Amount(micro_usd=round(dollars * 1e6)), **fields)


@pytest.mark.parametrize(
    ("spent", "code", "status", "action", "percent"),
    [
        (0.0, 0, "ok", "proceed", 0.0),
        (39.95, 0, "ok", "proceed", 79.9),
        (40.0, 1, "degraded", "cheaper_tier", 80.0),
        (47.49, 1, "degraded", "cheaper_tier", 94.98),
        (47.5, 2, "exhausted", "block", 95.0),
    ],
)
def test_a_check_is_an_exit_code(
    ostler: Ostler, spend: Callable[..., None], spent: float, code: int, status: str, action: str, percent: float
) -> None:
    """Of 50 dollars a day 40.00 degrade and 47.50 exhaust; 79.9 % is told as such."""
    spend(cost(spent))

    result = ostler("budget", "check", "anthropic", "--json")

    told = json.loads(result.out)
    assert result.code == code
    assert (told["status"], told["recommended_action"], told["binding_limit"]) == (status, action, "anthropic-day")
    assert (told["pct_used"], told["daily_budget"], told["today_spend"]) == (percent, 50.0, spent)
    assert (told["degradation_pct"], told["exhaustion_pct"], told["billing_type"]) == (80, 95, "token")
    assert ostler("budget", "check", "deepseek").code == 0, "another provider is not concerned"


def test_a_check_in_words_or_silent(ostler: Ostler, spend: Callable[..., None]) -> None:
    """What binds, what is used, held and left; `--quiet` prints nothing."""
    hold = Reserve(attempt="b", at_ms=NOON_MS, amount=Amount(micro_usd=500_000), scopes=Scopes(provider="anthropic"))
    spend(cost(40), hold)

    assert ostler("budget", "check", "anthropic").out == (
        "anthropic: degraded, limit anthropic-day of anthropic: $40.00 used and $0.50 held, $7.00 left\n"
    )
    assert ostler("budget", "check", "anthropic", "--quiet") == (1, "", "")


def test_critical_work_and_estimates_are_asked_for(ostler: Ostler, spend: Callable[..., None]) -> None:
    """Critical work is ok where other work is degraded; an estimate that would pass the hard value is exhausted."""
    spend(cost(40))

    assert ostler("budget", "check", "anthropic", "--critical").code == 0
    assert ostler("budget", "check", "anthropic", "--estimate", "7.50").code == 1
    assert ostler("budget", "check", "anthropic", "--estimate", "7.51").code == 2
    assert ostler("budget", "check", "--tick", "1", "--estimate", "0.10").code == 0
    assert ostler("budget", "check", "--tick", "1", "--estimate", "0.11").code == 2
    assert ostler("budget", "check", "--session", "s", "--estimate", "2.01").code == 2


def test_a_tick_is_one_of_its_session(ostler: Ostler) -> None:
    """What was recorded for a tick counts in that tick of that session, and in no other."""
    spent = ("--session", "loop", "--tick", "7", "--cost", "0.06")
    assert ostler("budget", "record", "anthropic", "claude-sonnet-5", *spent).code == 0

    codes = {
        (session, tick): ostler("budget", "check", *session, "--tick", tick, "--estimate", "0.05").code
        for session in ((), ("--session", "loop"), ("--session", "other"))
        for tick in ("7", "8")
    }
    assert [place for place, code in codes.items() if code == 2] == [(("--session", "loop"), "7")]
    assert set(codes.values()) == {0, 2}


def test_an_unknown_provider_is_told_with_the_nearest_one(ostler: Ostler) -> None:
    """Refused, exit code 4; a bad amount is bad input, exit code 2."""
    result = ostler("budget", "check", "antropic")

    assert result.code == 4
    assert "did you mean 'anthropic'?" in result.err
    assert ostler("budget", "check", "--estimate", "-1").code == 2
    assert ostler("budget", "check", "--estimate", "nan").code == 2


def test_a_recorded_call_is_charged_by_its_tokens(ostler: Ostler) -> None:
    """By the table's price, or by what it cost; the same name is charged once; an unknown price is not free."""
    assert ostler("budget", "record", "anthropic", "claude-sonnet-5", "--tokens-in", "1000", "--id", "x").code == 0
    again = ostler("budget", "record", "anthropic", "claude-sonnet-5", "--tokens-in", "1000", "--id", "x")
    assert again.out == "charged $0.00\n"
    ostler("budget", "record", "anthropic", "anything", "--cost", "1.5", "--tier", "large")
    unknown = ostler("budget", "record", "deepseek", "mystery", "--tokens-out", "1000000", "--json")

    told = json.loads(ostler("budget", "check", "anthropic", "--json").out)
    assert told["today_spend"] == pytest.approx(1.5 + 1000 * 2 / 1e6)
    assert json.loads(unknown.out) == {"charged_micro_usd": 75_000_000}


def test_two_tiers_for_one_call_are_refused(ostler: Ostler) -> None:
    """`--tier` and `--actual-tier` mean the same."""
    result = ostler("budget", "record", "anthropic", "m", "--cost", "1", "--tier", "a", "--actual-tier", "b")

    assert (result.code, "keep one" in result.err) == (2, True)


def test_a_running_hub_charges_what_is_recorded(ostler: Ostler, tmp_path: Path) -> None:
    """It has the ledger; it is told the price that the profile and the tables say."""
    (tmp_path / "data").mkdir()
    lock = FileLock((tmp_path / "data" / "ostler.db").resolve())
    try:
        with served_hub() as hub:
            (tmp_path / "data" / "hub.json").write_text(json.dumps({"url": hub.url}), encoding="utf-8")
            tiers = ("--requested-tier", "large", "--actual-tier", "small")
            what = ("anthropic", "claude-sonnet-5", "--tokens-in", "1000000", "--id", "x")
            result = ostler("budget", "record", *what, *tiers, "--json")
            ((spending,),) = hub.asked("record_spending")
    finally:
        lock.release()

    assert result.code == 0
    assert json.loads(result.out)["charged_micro_usd"] == spending.amount.micro_usd > 0
    assert (spending.attempt, spending.amount.input_tokens, spending.basis) == ("x", 1_000_000, Basis.PRICED)
    assert (spending.scopes.provider, spending.scopes.tier, spending.asked_tier) == ("anthropic", "small", "large")


def test_a_ledger_that_somebody_else_has_is_not_written(
    ostler: Ostler, spend: Callable[..., None], tmp_path: Path
) -> None:
    """Reading goes on beside it, recording is refused with exit code 4 where no hub can be asked to."""
    spend(cost(40))
    lock = FileLock((tmp_path / "data" / "ostler.db").resolve())
    try:
        assert ostler("budget", "check", "anthropic").code == 1
        assert ostler("budget", "record", "anthropic", "m", "--cost", "1").code == 4
    finally:
        lock.release()


def test_the_status_names_every_limit(ostler: Ostler, spend: Callable[..., None]) -> None:
    """With what is used, held and left, when it is free again, and what local work has saved."""
    local = cost(0, "l", scopes=Scopes(provider="ollama"), equivalent_micro_usd=250_000, equivalent_of="anthropic/x")
    spend(cost(40), local, cost(1.0, "s", scopes=Scopes(session="s1", provider="deepseek")))

    result = ostler("budget", "status")
    told = json.loads(ostler("budget", "status", "--json").out)

    rows = {(row["limit"], row["of"]): row for row in told["limits"]}
    assert rows["session", "s1"]["left"] == "$1.00"
    assert rows["anthropic-day", "anthropic"]["level"] == "degraded"
    assert rows["anthropic-day", "anthropic"]["resets"] == "2026-11-30 00:00Z"
    assert told["level"] == "degraded"
    assert "spent in all: $41.00; local work would have cost $0.25 on anthropic/x" in result.out
    assert ostler("budget", "status").code == 0


def test_what_nobody_knows_the_end_of_is_told_until_somebody_does(ostler: Ostler, spend: Callable[..., None]) -> None:
    """It is in the sum, as what it held; a later word on it takes it out of the doubt."""
    whose = Scopes(provider="anthropic")
    names = ("lost", "gone", "told")
    held = [Reserve(attempt=name, at_ms=NOON_MS, amount=Amount(micro_usd=250_000), scopes=whose) for name in names]
    ends = [Settle(attempt=name, at_ms=NOON_MS, amount=Amount(), ambiguous=True) for name in names]
    spend(*held, *ends, Settle(attempt="told", at_ms=NOON_MS, amount=Amount(micro_usd=10_000)))

    told = json.loads(ostler("budget", "status", "--json").out)
    assert (told["unsure_micro_usd"], told["unsure_attempts"], told["total_micro_usd"]) == (500_000, 2, 510_000)
    assert "spent in all: $0.51, of that $0.50 for 2 attempts nobody knows the end of" in ostler("budget", "status").out

    spend(Settle(attempt="gone", at_ms=NOON_MS, amount=Amount(micro_usd=10_000)))
    assert "of that $0.25 for 1 attempt nobody knows the end of" in ostler("budget", "status").out


def test_a_fresh_budget_has_a_status(ostler: Ostler, tmp_path: Path) -> None:
    """Nothing was spent, and asking makes no file."""
    assert "spent in all: $0.00" in ostler("budget", "status").out
    assert not (tmp_path / "data" / "ostler.db").exists()


def test_the_burn_rate_counts_from_midnight_and_over_seven_days(ostler: Ostler, spend: Callable[..., None]) -> None:
    """24 dollars by noon are 2 an hour; 23.50 are left for 11.75 hours; the mean is of the seven days before."""
    days = [cost(7.0, f"d{n}", NOON_MS - n * 86_400_000) for n in (1, 7, 8)]
    spend(cost(24), *days)

    told = json.loads(ostler("budget", "burn-rate", "anthropic", "--json").out)

    assert (told["today_spend"], told["per_hour"], told["left"]) == (24.0, 2.0, 23.5)
    assert (told["hours_to_exhaustion"], told["outlasts_day"], told["mean_7_days"]) == (11.75, False, 2.0)
    assert "hours to exhaustion  11.8" in ostler("budget", "burn-rate", "anthropic").out
    assert "no limit" in ostler("budget", "burn-rate").out


def test_a_gate_for_scripts(ostler: Ostler, tmp_path: Path) -> None:
    """The estimate of a file of tasks within the maximum is exit code 0, above it 1; local work costs nothing."""
    prompt = "word " * 4000
    (tmp_path / "tasks.yaml").write_text(
        f"tasks:\n  - {{id: a, prompt: '{prompt}', tier: large}}\n  - {{id: b, prompt: '{prompt}', tier: small}}\n",
        encoding="utf-8",
    )

    told = json.loads(ostler("budget", "gate", "tasks.yaml", "--max", "1", "--json").out)

    assert (told["tasks"], told["passes"], told["unpriced"]) == (2, True, [])
    assert told["micro_usd"] == pytest.approx(5000 * 2 + 400 * 10, rel=0.01)
    assert ostler("budget", "gate", "tasks.yaml", "--max", "1").code == 0
    above = ostler("budget", "gate", "tasks.yaml", "--max", "0.001")
    assert (above.code, "above $0.001" in above.out) == (1, True)
    assert ostler("budget", "gate", "absent.yaml", "--max", "1").code == 2


def test_drift_is_told_by_its_share(ostler: Ostler, spend: Callable[..., None]) -> None:
    """Above a quarter it is a notice, above a half a warning; calls that named no tier do not count."""
    asked = [cost(0.1, f"c{n}", asked_tier="small" if n < 3 else "large") for n in range(8)]
    spend(*asked, cost(0.1, "none"))

    told = json.loads(ostler("budget", "drift", "--json").out)

    assert (told["calls"], told["drifted"], told["share_percent"], told["level"]) == (8, 3, 37.5, "notice")
    assert "3 of 8 calls ran on another tier (37.5 %): notice" in ostler("budget", "drift").out


def test_drift_without_calls_says_so(ostler: Ostler, spend: Callable[..., None]) -> None:
    """Calls from before the days that are asked about do not count."""
    spend(cost(0.1, "old", NOON_MS - 3 * 86_400_000, asked_tier="small"))

    assert "no call of the last 2 days named a tier" in ostler("budget", "drift", "--days", "2").out
    assert "1 of 1 calls ran on another tier (100.0 %): warn" in ostler("budget", "drift", "--days", "4").out


def test_a_provider_is_recommended_while_it_is_within_budget(ostler: Ostler, spend: Callable[..., None]) -> None:
    """By priority, then by name; a degraded one goes behind; one that does not serve the tier is none."""

    def order(*arguments: str) -> list[str]:
        told = json.loads(ostler("budget", "recommend", "--json", *arguments).out)
        return [row["provider"] for row in told["providers"]]

    assert order() == ["anthropic", "deepseek", "ollama"]
    assert order("--tier", "large") == ["anthropic"]
    spend(cost(40))
    assert order() == ["deepseek", "ollama", "anthropic"]
    assert ostler("budget", "recommend").code == 0
    assert ostler("budget", "recommend", "--tier", "large").code == 1
    assert ostler("budget", "recommend", "--tier", "huge").code == 2


def test_a_subscription_is_recommended_first_while_it_is_in_time(ostler: Ostler, spend: Callable[..., None]) -> None:
    """And is behind the others when it is ahead of its pace."""
    period = ("--start", "2026-11-01", "--end", "2026-12-01", "--allowance", "30")
    assert ostler("budget", "configure-period", "deepseek", *period).code == 0

    first = json.loads(ostler("budget", "recommend", "--json").out)["recommended"]
    assert first == "deepseek"
    spend(cost(28, scopes=Scopes(provider="deepseek")))
    assert json.loads(ostler("budget", "recommend", "--json").out)["recommended"] == "anthropic"
    assert "93.3 % used; near its end" in ostler("budget", "status").out


def test_configuring_changes_what_is_named_and_nothing_else(ostler: Ostler, profile: Path) -> None:
    """Comments, order and other settings stay; a second command does not wipe what the first one set."""
    assert ostler("budget", "configure", "anthropic", "--degradation-pct", "70").code == 0
    assert ostler("budget", "configure", "deepseek", "--daily-budget", "5", "--billing-type", "token").code == 0

    text = profile.read_text(encoding="utf-8")
    found = load_profile(profile, {"HOME": "/h"}).budget.providers
    assert "# mine" in text
    assert "# the days are enough" in text
    assert (found["anthropic"].daily_budget_micro_usd, found["anthropic"].degrade_percent) == (50_000_000, 70)
    assert (found["anthropic"].priority, found["deepseek"].daily_budget_micro_usd) == (1, 5_000_000)


def test_a_month_of_a_provider_is_a_limit_or_an_allowance(ostler: Ostler, profile: Path) -> None:
    """By how it is paid: degraded at 85 % and used up at 95 % of what it may cost, or so much at list prices."""
    assert ostler("budget", "configure", "anthropic", "--period-budget", "200").code == 0
    paid = {limit.name: limit for limit in load_profile(profile, {"HOME": "/h"}).policy.budget.limits}
    month = paid["anthropic-month"]
    assert (month.scope, month.of, month.window.kind) == (ScopeKind.PROVIDER, "anthropic", WindowKind.MONTH)
    assert (month.soft, month.hard) == (170_000_000, 190_000_000)

    plan = ("--billing-type", "subscription", "--period-budget", "30", "--period-warn-pct", "70")
    assert ostler("budget", "configure", "deepseek", *plan).code == 0
    (found,) = load_profile(profile, {"HOME": "/h"}).policy.budget.subscriptions
    assert (found.warn_percent, [(one.name, one.unit, one.amount) for one in found.allowances]) == (
        70,
        [("month", Unit.WORTH, 30_000_000)],
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("record", "anthropic", "claude-sonnet-5", "--cost", "0.01"),
        ("recommend",),
        ("check", "anthropic"),
        ("drift",),
        ("configure", "anthropic", "--priority", "2"),
        ("configure-period", "anthropic", "--start", "2026-11-01", "--end", "2026-12-01", "--allowance", "3"),
    ],
)
def test_quiet_says_nothing_and_means_the_same(ostler: Ostler, arguments: tuple[str, ...]) -> None:
    """For scripts: the exit code is the answer."""
    assert ostler("budget", *arguments, "--quiet") == (0, "", "")


def test_what_would_not_load_is_not_written(ostler: Ostler, profile: Path) -> None:
    """A degradation above the exhaustion, an unknown provider, a built-in profile, no day."""
    for arguments in (
        ("configure", "anthropic", "--degradation-pct", "99"),
        ("configure", "antropic", "--daily-budget", "1"),
        ("configure", "anthropic", "--daily-budget", "1", "--profile", "default"),
        ("configure-period", "anthropic", "--start", "soon", "--end", "2026-03-01", "--allowance", "1"),
    ):
        assert ostler("budget", *arguments).code == 2, arguments

    assert profile.read_text(encoding="utf-8") == PROFILE


def test_savings_are_reckoned_from_the_records_of_real_work(ostler: Ostler, profile: Path, tmp_path: Path) -> None:
    """Attempts and calls on local endpoints, at the price of the cheapest cloud model, which is named; paid ones and
    those without a count are left out.
    """
    usage = Usage(input_tokens=600_000, output_tokens=100_000)
    endpoints = load_profile(profile, {"HOME": "/h"}).policy.catalog.endpoints.values()
    box, cloud = (next(spec.name for spec in endpoints if spec.local is local) for local in (True, False))
    attempts = [
        make_attempt("t1", endpoint=box, model="qwen2.5:7b", usage=usage),
        make_attempt("t2", endpoint=cloud, model="claude-sonnet-5", usage=usage),
        make_attempt("t3", endpoint=box, model="qwen2.5:7b", usage=None),
    ]
    one = make_call("c1")
    mine = CallAttempt(
        endpoint=box,
        model="qwen2.5:7b",
        tier="small",
        started_ms=0,
        duration_ms=1,
        input_tokens=400_000,
        cost_micro_usd=0,
        cost_basis="local",
    )
    call = msgspec.structs.replace(one, attempts=(mine, msgspec.structs.replace(mine, cost_basis="priced")))

    async def write() -> None:
        path = tmp_path / "data" / "ostler.db"
        path.parent.mkdir()
        store = await SqliteStore.open(path)
        await store.apply([make_submit("t1", "t2", "t3"), PutCalls(records=(call,))])
        for number, attempt in enumerate(attempts, start=1):
            update = make_update(make_task(f"t{number}", number), TaskState.ASSIGNED)
            await store.apply([msgspec.structs.replace(update, attempt=attempt)])
        await store.close()

    asyncio.run(write())

    told = json.loads(ostler("budget", "status", "--json").out)
    table = shipped_table().providers["deepseek"]["deepseek-chat"].price
    assert told["saved_of"] == "deepseek/deepseek-chat"
    assert told["saved_micro_usd"] == pytest.approx((table.input * 1.0 + table.output * 0.1) * 1e6, abs=2)
