"""`ostler budget` where the ledger is in a database server: read there, and written by the hub that has it."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from ostler.app import budgets, savings
from ostler.app.ledgers import ledger_of
from ostler.app.purses import Purse
from ostler.budget.windows import DAY_MS
from ostler.config.load import load_profile
from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.limits import Limit, ScopeKind, Window, WindowKind
from ostler.scheduling.shares import Claim
from ostler.store.postgres import PostgresStore
from ostler.store.postgres_engine import place_of
from ostler.store.shares import PoolShares, ShareTable
from tests.cli.conftest import Ostler
from tests.cli.test_budget import NOON_MS, PROFILE
from tests.web.recording_hub import served_hub

RECORD = ("budget", "record", "anthropic", "claude-sonnet-5", "--tokens-in", "1000000", "--id", "x")


@pytest.fixture(autouse=True)
def profile(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ostler.yaml"
    path.write_text(f"{PROFILE}hub: {{database: '{postgres_url}'}}\n", encoding="utf-8")
    monkeypatch.setattr(budgets, "_now_ms", lambda: NOON_MS)
    monkeypatch.delenv("OSTLER_HUB", raising=False)
    return path


@pytest.fixture
def spent(postgres_url: str) -> None:
    """40 of the day's 50 dollars, and local work that would have cost a quarter."""
    scopes = Scopes(provider="anthropic", tier="large")
    paid = Settle(
        attempt="a", at_ms=NOON_MS, amount=Amount(micro_usd=40_000_000), basis=Basis.PRICED, scopes=scopes,
        asked_tier="large",
    )  # fmt: skip
    own = Settle(
        attempt="b", at_ms=NOON_MS, amount=Amount(), basis=Basis.LOCAL, scopes=Scopes(provider="ollama"),
        equivalent_micro_usd=250_000, equivalent_of="anthropic/x",
    )  # fmt: skip

    async def write() -> None:
        store = await PostgresStore.open(postgres_url)
        await store.apply([paid, own])
        await store.close()

    asyncio.run(write())


@pytest.mark.usefixtures("spent")
def test_every_verb_that_reads_reads_the_server(ostler: Ostler) -> None:
    """The figures of the pool, with the exit codes that a file would give."""
    assert ostler("budget", "check", "anthropic").code == 1
    status = ostler("budget", "status")
    assert "spent in all: $40.00; local work would have cost $0.25 on anthropic/x" in status.out
    assert json.loads(ostler("budget", "burn-rate", "anthropic", "--json").out)["today_spend"] == 40.0
    assert json.loads(ostler("budget", "drift", "--json").out)["calls"] == 1
    assert json.loads(ostler("budget", "recommend", "--tier", "large", "--json").out)["recommended"] == "anthropic"


@pytest.mark.usefixtures("spent")
def test_the_page_of_money_has_savings_beside_a_server_too(profile: Path) -> None:
    """Reckoned from the pool as from a file."""
    loaded = load_profile(str(profile), {"HOME": "/h"})
    found = savings.for_board(loaded, loaded.policy, ledger_of(loaded.hub))
    assert found is not None
    assert (found.micro_usd, found.of) == (250_000, "anthropic/x")


def test_a_pool_that_no_hub_has_used_is_an_empty_budget(ostler: Ostler) -> None:
    """Nothing was spent, and nothing is wrong."""
    assert ostler("budget", "check", "anthropic").code == 0
    assert "spent in all: $0.00" in ostler("budget", "status").out


DAY = Limit(
    name="anthropic-day",
    scope=ScopeKind.PROVIDER,
    of="anthropic",
    window=Window(kind=WindowKind.DAY),
    soft=40_000_000,
    hard=47_500_000,
)
"""As the profile states it, and the other pool's too."""


@pytest.mark.usefixtures("spent")
def test_what_another_pool_has_of_a_limit_is_shown_beside_what_is_spent_here(ostler: Ostler, postgres_url: str) -> None:
    """It counts for what is left, for the exit code and for how long the rest lasts; what is kept there is named."""
    start_ms = NOON_MS - NOON_MS % DAY_MS
    purse = Purse(DAY, "anthropic", start_ms, start_ms + DAY_MS, DAY.hard, critical=False)

    async def write() -> None:
        table = ShareTable.at(place_of(postgres_url, "lab"), 10.0)
        assert await table.prepare()
        look = await table.look()
        until_ms = look.now_ms + 60_000
        claim = Claim(total=46_000_000, held=6_000_000, used=5_000_000, until_ms=look.now_ms + DAY_MS)
        row = PoolShares(pool="lab", epoch=1, until_ms=until_ms, claims={purse.resource: claim})
        assert await table.put(look.version, row)
        await table.close()

    before = ostler("budget", "status").out
    asyncio.run(write())
    status = ostler("budget", "status")
    assert "OTHER POOLS" not in before
    assert re.search(r"anthropic-day +anthropic +degraded +\$40.00 +\$0.00 +\$5.00, \$1.00 kept +\$1.00 ", status.out)
    (row,) = (one for one in json.loads(ostler("budget", "status", "--json").out)["limits"] if one["elsewhere"])
    assert (row["left_amount"], row["elsewhere_amount"], row["kept_amount"]) == (1_000_000, 5_000_000, 1_000_000)
    assert row["pools"] == ["lab"]
    assert ostler("budget", "check", "anthropic", "--estimate", "1.50").code == 2
    said = ostler("budget", "check", "anthropic")
    assert (said.code, "other pools spent $5.00 and keep $1.00" in said.out) == (1, True)
    assert json.loads(ostler("budget", "burn-rate", "anthropic", "--json").out)["left"] == 1.0


def test_a_call_is_recorded_by_a_hub_or_not_at_all(
    ostler: Ostler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the hub that leads writes: the one that runs here, else the one that is named."""
    refused = ostler(*RECORD)
    assert (refused.code, "OSTLER_HUB" in refused.err) == (4, True)
    with served_hub() as hub:
        monkeypatch.setenv("OSTLER_HUB", hub.url)
        assert ostler(*RECORD).code == 0
        monkeypatch.delenv("OSTLER_HUB")
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / "hub.json").write_text(json.dumps({"url": hub.url}), encoding="utf-8")
        assert ostler(*RECORD).code == 0
        assert len(hub.asked("record_spending")) == 2


def test_an_address_that_is_none_is_told_with_its_setting(ostler: Ostler, profile: Path) -> None:
    """Exit code 2, before anything is asked."""
    profile.write_text(f"{PROFILE}hub: {{database: 'mysql://a/b'}}\n", encoding="utf-8")
    told = ostler("budget", "status")
    assert (told.code, "no store for mysql databases" in told.err) == (2, True)
