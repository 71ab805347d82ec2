"""What the budget of a profile stands for, and what it refuses."""

import pytest

from ostler.budget.presets import daily_limit, month_limit, session_limit, tick_limit
from ostler.config.budget import PRESETS
from ostler.domain.errors import ProfileError
from ostler.domain.limits import (
    Allowance,
    BudgetPolicy,
    Limit,
    LongPrice,
    Pace,
    Price,
    ScopeKind,
    Subscription,
    Unit,
    UnknownPrice,
    Window,
    WindowKind,
)
from tests.budget.made import USD, at
from tests.config.support import loaded

BASE = """
routing:
  tiers:
    local_cheap: {provider: ollama, model: "qwen2.5:7b"}
    cheap_cloud: {provider: deepseek, model: deepseek-chat}
    expensive_cloud: {provider: anthropic, model: claude-opus}
"""


def money(text: str) -> BudgetPolicy:
    return loaded(BASE + text).policy.budget


def limit(text: str) -> Limit:
    """The one limit that is written."""
    (found,) = (one for one in money(f"budget:\n  limits:\n    mine: {text}").limits if one.name == "mine")
    return found


def told(text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        money(text)
    return str(caught.value)


def test_the_short_settings_are_limits() -> None:
    """Month, session and tick as the arithmetic knows them, with the documented values when nothing is said."""
    expected = (month_limit(20 * USD, 16 * USD), session_limit(2 * USD), tick_limit(USD // 10))

    assert money("").limits == expected
    assert tuple(one.name for one in money("").limits) == PRESETS


def test_a_short_setting_can_be_taken_away() -> None:
    """`null` is no limit; 0 is one."""
    text = "budget: {monthly_hard_cap: null, monthly_soft_cap: null, per_session_cap: 0, per_tick_cap: null}"

    assert money(text).limits == (session_limit(0),)
    assert [one.soft for one in money("budget: {monthly_hard_cap: 10.00}").limits][:1] == [8 * USD]
    assert [one.soft for one in money("budget: {monthly_soft_cap: 0}").limits][:1] == [0], "0 is not replaced"


def test_a_day_of_a_provider() -> None:
    """50 dollars degrade at 40.00 and are exhausted at 47.50; the shares can be changed."""
    text = "budget:\n  time_zone: Europe/Berlin\n  providers:\n    anthropic: {daily_budget: 50.00%s}"

    assert money(text % "").limits[-1] == daily_limit("anthropic", 50 * USD, zone="Europe/Berlin")
    other = money(text % ", degrade_percent: 50, exhaust_percent: 100").limits[-1]
    assert (other.soft, other.hard) == (25 * USD, 50 * USD)


def test_a_subscription_has_allowances() -> None:
    """Several windows hold at once; a period is given by its days in the time zone of the budget."""
    text = """
budget:
  time_zone: America/New_York
  providers:
    anthropic:
      billing: subscription
      priority: 1
      pace: none
      reserve_percent: 10
      allowances:
        five-hours: {window: rolling, hours: 5, amount: 100}
        february: {window: period, start: "2026-02-01", end: "2026-03-01", unit: usd, amount: 200}
        opus: {window: rolling, hours: 168, amount: 20, model: claude-opus:latest}
"""
    february = Window(
        kind=WindowKind.PERIOD,
        zone="America/New_York",
        start_ms=at("America/New_York", 2026, 2, 1),
        end_ms=at("America/New_York", 2026, 3, 1),
    )

    def rolling(hours: int) -> Window:
        return Window(kind=WindowKind.ROLLING, zone="America/New_York", hours=hours)

    assert money(text).subscriptions == (
        Subscription(
            provider="anthropic",
            priority=1,
            pace=Pace.NONE,
            reserve_percent=10,
            allowances=(
                Allowance(name="february", window=february, unit=Unit.WORTH, amount=200 * USD),
                Allowance(name="five-hours", window=rolling(5), amount=100),
                Allowance(name="opus", window=rolling(168), amount=20, model="claude-opus"),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("allowances", "expected"),
    [
        ("", ()),
        (
            ", allowances: {5h: {window: rolling, hours: 5}}",
            (Allowance(name="5h", window=Window(kind=WindowKind.ROLLING, hours=5)),),
        ),
    ],
)
def test_a_subscription_need_not_say_how_much_it_allows(allowances: str, expected: tuple[Allowance, ...]) -> None:
    """Many providers do not publish it: then what they report is all that is known, and it is no zero."""
    text = f"budget: {{providers: {{anthropic: {{billing: subscription{allowances}}}}}}}"

    (found,) = money(text).subscriptions
    assert found.allowances == expected


def test_providers_are_recommended_by_priority_then_by_name() -> None:
    """The lowest number first."""
    text = "budget:\n  providers:\n    deepseek: {}\n    anthropic: {}\n    ollama: {priority: 1}"

    assert money(text).provider_priority == ("ollama", "anthropic", "deepseek")


def test_a_limit_counts_what_it_says() -> None:
    """Scope, window, unit and values; dollars become micro-dollars, other units stay as they are."""
    assert limit("{scope: tier, only: cheap_cloud, window: hour, unit: tokens, soft: 10, hard: 20}") == Limit(
        name="mine", scope=ScopeKind.TIER, of="cheap_cloud", window=Window(kind=WindowKind.HOUR),
        unit=Unit.TOKENS, soft=10, hard=20,
    )  # fmt: skip
    found = limit("{soft: 0.5, critical: 3, hard: 1, degrade_to: local_cheap, window: none, time_zone: Asia/Tokyo}")
    assert (found.soft, found.hard, found.critical, found.degrade_to) == (USD // 2, USD, 3 * USD, "local_cheap")
    assert found.window == Window(kind=WindowKind.NONE, zone="Asia/Tokyo")


def test_prices_of_the_profile_go_before_any_table() -> None:
    """With caches, reasoning, batch and long prompts, where they are given; half a price is refused elsewhere."""
    text = """
models:
  claude-opus:
    input_usd_per_mtok: 5
    output_usd_per_mtok: 25
    cache_read_usd_per_mtok: 0.5
    cache_write_usd_per_mtok: 6.25
    reasoning_usd_per_mtok: 20
    request_usd: 0.01
    batch_percent: 50
    long_above_tokens: 200000
    long_input_usd_per_mtok: 10
  deepseek-chat: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}
budget:
  unknown_price: refuse
  conservative_input_usd_per_mtok: 1
  equivalent_model: deepseek-chat
  output_quantile_percent: 95
  pools: apart
"""
    found = money(text)

    assert found.prices == {
        "claude-opus": Price(
            input=5, output=25, cache_read=0.5, cache_write=6.25, reasoning=20, request_usd=0.01, batch_percent=50,
            long=(LongPrice(above_tokens=200_000, input=10),),
        ),
        "deepseek-chat": Price(input=0, output=0),
    }  # fmt: skip
    assert (found.unknown_price, found.equivalent) == (UnknownPrice.REFUSE, "deepseek-chat")
    assert (found.conservative_price, found.output_quantile_percent) == (Price(input=1, output=75), 95)
    assert not found.over_pools
    assert money("").over_pools


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{scope: everything, hard: 1}", ["ostler.yaml:9", "limits.mine.scope", "valid: all"]),
        ("{scope: providr, hard: 1}", ["did you mean 'provider'?"]),
        ("{window: dya, hard: 1}", ["did you mean 'day'?"]),
        ("{hard: 1, time_zone: Europe/Berln}", ["there is no time zone 'Europe/Berln'", "'Europe/Berlin'"]),
        ("{scope: tier, only: cheap_clod, hard: 1}", ["there is no tier 'cheap_clod'", "did you mean 'cheap_cloud'?"]),
        ("{soft: 1, degrade_to: locl_cheap}", ["there is no tier 'locl_cheap'", "did you mean 'local_cheap'?"]),
        ("{}", ["limits.mine", "it limits nothing", "`soft:` or `hard:`"]),
        ("{soft: 2, hard: 1}", ["limits.mine.soft", "2 is above the hard value of 1"]),
        ("{only: anthropic, hard: 1}", ["a limit of all work is of nobody"]),
        ("{unit: tokens, hard: 1.5}", ["limits.mine.hard", "1.5 is no number of tokens"]),
        ("{window: period, hard: 1, end: '2026-03-01'}", ["window period needs `start:`"]),
        ("{window: period, hard: 1, start: '2026-03-01', end: '2026-03-01'}", ["ends before it has begun"]),
        ("{window: period, hard: 1, start: 'March', end: '2026-03-01'}", ["cannot read the day 'March'"]),
        ("{window: rolling, hard: 1}", ["window rolling needs `hours:`"]),
        ("{window: day, hours: 5, hard: 1}", ["window day has no hours", "`window: rolling`"]),
        ("{scope: tick, window: day, hard: 1}", ["a tick is over soon"]),
        ("{hard: -1}", ["limits.mine.hard"]),
        ("{hrad: 1}", ["unknown setting 'hrad'", "did you mean 'hard'?"]),
    ],
)
def test_a_limit_that_cannot_work_is_told_with_its_place(text: str, parts: list[str]) -> None:
    """Each slip once, with the line and what would be valid."""
    message = told(f"budget:\n  limits:\n    mine: {text}")

    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("budget: {limits: {month: {hard: 1}}}", "'month' is the name of a limit that is always there"),
        ("budget: {providers: {antropic: {daily_budget: 1}}}", "did you mean 'anthropic'?"),
        ("budget: {providers: {anthropic: {degrade_percent: 99}}}", "99 % is above the 95 %"),
        ("budget: {time_zone: Mars}", "there is no time zone 'Mars'"),
        ("budget: {equivalent_model: claude-ops}", "did you mean 'claude-opus'?"),
        ("budget: {monthly_soft_cap: 21}", "21.00 is above the hard cap of 20.00"),
        ("budget: {output_quantile_percent: 100}", "output_quantile_percent"),
        ("budget: {pools: apard}", "did you mean 'apart'?"),
    ],
)
def test_a_budget_that_cannot_work_is_refused(text: str, part: str) -> None:
    """With the nearest name that is valid."""
    assert part in told(text)


def test_another_budget_is_another_policy() -> None:
    """Decisions say which rules they were made under, money included."""
    versions = {loaded(BASE + text).policy.version for text in ("", "budget: {per_tick_cap: 0.2}")}

    assert len(versions) == 2
