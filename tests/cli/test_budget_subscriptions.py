"""`ostler budget` with a subscription: what it covers, what its provider reports, and what is recommended."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ostler.app import budgets
from ostler.domain.allowances import Reported
from ostler.domain.commands import PutAllowances
from tests.cli.conftest import Ostler
from tests.cli.test_budget import NOON_MS, spend

__all__ = ["spend"]


@pytest.fixture(autouse=True)
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(budgets, "_now_ms", lambda: NOON_MS)
    return tmp_path / "ostler.yaml"


PLAN = """\
routing:
  tiers:
    large: {provider: opencode, models: [big-pickle]}
    other: {provider: anthropic, models: [claude-sonnet-5]}
providers:
  opencode: {kind: openai, base_url: "https://plan.example/v1", api_key_env: PLAN_KEY}
models:
  big-pickle: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 5.0}
budget:
  monthly_hard_cap: 0
  providers:
    opencode:
      billing: subscription
      priority: 1
      allowances:
        period: {window: period, start: "2026-11-01", end: "2026-12-01", unit: usd, amount: 200}
"""


def report(percent: float, name: str = "5h", resets_ms: int | None = None) -> PutAllowances:
    one = Reported(provider="opencode", window=name, used_percent=percent, at_ms=NOON_MS, resets_ms=resets_ms, hours=5)
    return PutAllowances(reports=(one,))


def test_what_a_subscription_covers_is_no_money(ostler: Ostler, profile: Path) -> None:
    """A call that is recorded for it costs nothing more: what it is worth counts for its allowance, by dollars or by
    tokens and price. The limit of money, which allows nothing, does not count it.
    """
    profile.write_text(PLAN, encoding="utf-8")
    named = ostler("budget", "record", "opencode", "big-pickle", "--cost", "50", "--json")
    priced = ostler("budget", "record", "opencode", "big-pickle", "--tokens-in", "10000000", "--tokens-out", "8000000")
    assert json.loads(named.out) == {"charged_micro_usd": 0}
    assert priced.code == 0

    result, told = ostler("budget", "status"), json.loads(ostler("budget", "status", "--json").out)

    (plan,) = told["subscriptions"]
    assert (plan["allowances"][0]["used"], plan["allowances"][0]["used_percent"]) == ("$100.00", 50.0)
    assert (told["total_micro_usd"], told["covered_micro_usd"]) == (0, 100_000_000)
    assert "spent in all: $0.00; subscriptions covered $100.00 at list prices" in result.out
    assert ostler("budget", "check", "opencode").code == 0
    assert ostler("budget", "check", "anthropic").code == 2


def test_what_a_provider_reports_is_shown_and_decides(
    ostler: Ostler, profile: Path, spend: Callable[..., None]
) -> None:
    """Degraded near the end of a window, exhausted beyond it, with the window named and when it is free again."""
    profile.write_text(PLAN, encoding="utf-8")
    spend(report(86.0, resets_ms=NOON_MS + 3_600_000))

    checked = ostler("budget", "check", "opencode", "--json")
    assert (checked.code, json.loads(checked.out)["billing_type"]) == (1, "subscription")
    assert "5h 86 % used" in ostler("budget", "check", "opencode").out
    rows = ostler("budget", "status").out.splitlines()
    row = next(line for line in rows if line.startswith("opencode") and " 5h " in line)
    assert row.split()[:4] == ["opencode", "5h", "86", "%"]
    assert row.endswith("2026-11-29 13:00Z")

    spend(report(96.0))
    assert ostler("budget", "check", "opencode").code == 2
    assert ostler("budget", "check", "opencode", "--critical").code == 1
    first = json.loads(ostler("budget", "recommend", "--json").out)["providers"][0]
    assert first["provider"] != "opencode" or first["level"] == "exhausted"


def test_a_subscription_is_recommended_first_while_it_lasts(
    ostler: Ostler, profile: Path, spend: Callable[..., None]
) -> None:
    """Before a provider that is paid by the token and within its budget; not when it is used up."""
    profile.write_text(PLAN.replace("monthly_hard_cap: 0", "monthly_hard_cap: 20"), encoding="utf-8")
    best = json.loads(ostler("budget", "recommend", "--json").out)
    assert (best["recommended"], best["providers"][0]["reason"]) == ("opencode", "allowance is left")

    spend(report(100.0))
    after = json.loads(ostler("budget", "recommend", "--json").out)
    assert after["recommended"] == "anthropic"
    assert [row["level"] for row in after["providers"]] == ["ok", "exhausted"]
