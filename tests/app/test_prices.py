"""The table of list prices that comes with Ostler, and a newer one that the user installs."""

import json
from pathlib import Path

import msgspec
import pytest

from ostler.app.prices import (
    book_of,
    current_table,
    install_table,
    own_table,
    read_table,
    shipped_table,
    with_list_prices,
)
from ostler.budget.prices import PricedModel, PriceTable, cost_micro_usd
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.domain.errors import InvalidInputError
from ostler.domain.ledger import Amount
from ostler.domain.limits import Price

NEWER = PriceTable(
    dated="2999-01-01",
    source="a test",
    providers={"anthropic": {"claude-sonnet-5": PricedModel(price=Price(input=1.0, output=2.0))}},
)


@pytest.fixture
def profile(tmp_path: Path) -> LoadedProfile:
    return load_profile("default", {"HOME": str(tmp_path), "OSTLER_HUB_DATA_DIR": str(tmp_path / "data")})


def written(path: Path, table: PriceTable) -> Path:
    path.write_bytes(msgspec.json.encode(table))
    return path


def test_the_shipped_table_is_dated_and_names_its_source() -> None:
    """With the licence of the data it was made from."""
    table = shipped_table()

    assert table.dated >= "2026-11-29"
    assert "genai-prices" in table.source
    assert "MIT" in table.licence
    assert {"anthropic", "openai", "google", "deepseek"} <= set(table.providers)


def test_every_shipped_price_can_be_reckoned_with() -> None:
    """No price is negative, what is read from a cache is not the dearest, and steps rise."""
    for models in shipped_table().providers.values():
        for name, model in models.items():
            price = model.price
            assert min(price.input, price.output, price.cache_read or 0, price.cache_write or 0) >= 0, name
            assert price.cache_read is None or price.cache_read <= max(price.input, price.output), name
            steps = [step.above_tokens for step in price.long]
            assert steps == sorted(set(steps)), name
            assert 0 < price.batch_percent <= 100, name
            assert cost_micro_usd(price, Amount(input_tokens=10, output_tokens=10)) >= 0


def test_the_profiles_own_models_are_found(profile: LoadedProfile) -> None:
    """A dated name of a model, and one behind a router, are the model of the table."""
    book = book_of(current_table(profile), profile.policy.budget)

    for provider, model, found in (
        ("anthropic", "claude-sonnet-5-20261001", "anthropic/claude-sonnet-5"),
        ("openrouter", "anthropic/claude-sonnet-5", "anthropic/claude-sonnet-5"),
        ("deepseek", "deepseek-chat", "deepseek/deepseek-chat"),
    ):
        quote = book.known(provider, model)
        assert quote is not None, model
        assert quote.name == found


def test_a_newer_table_is_used_until_a_newer_one_is_shipped(profile: LoadedProfile, tmp_path: Path) -> None:
    """An older one lies there in vain."""
    install_table(profile, written(tmp_path / "new.json", NEWER))
    assert current_table(profile) == NEWER

    older = msgspec.structs.replace(NEWER, dated="2020-01-01")
    install_table(profile, written(tmp_path / "old.json", older))
    assert current_table(profile) == shipped_table()
    assert read_table(own_table(profile)) == older


MIXED = """
routing:
  tiers:
    small: {provider: ollama, model: "qwen2.5:7b"}
    large: {provider: anthropic, models: [claude-sonnet-5, claude-mystery-9, own]}
models:
  own: {input_usd_per_mtok: 0.5, output_usd_per_mtok: 1.25}
"""


def test_a_hub_reckons_with_list_prices_where_the_profile_says_none(tmp_path: Path) -> None:
    """Choices, records and limits all see them, the origin says where they are from, and the policy is another one; the
    profile's own price stays, and what nobody knows stays unknown.
    """
    path = tmp_path / "ostler.yaml"
    path.write_text(MIXED, encoding="utf-8")
    bare = load_profile(path, {"HOME": str(tmp_path), "OSTLER_HUB_DATA_DIR": str(tmp_path / "data")})

    priced = with_list_prices(bare)

    models = priced.policy.catalog.models
    listed = shipped_table().providers["anthropic"]["claude-sonnet-5"].price
    sonnet = models["claude-sonnet-5"].price
    assert sonnet is not None
    assert (sonnet.input, sonnet.output, sonnet.cache_read) == (listed.input, listed.output, listed.cache_read)
    assert models["own"].price == Price(input=0.5, output=1.25)
    assert models["claude-mystery-9"].price is None
    assert set(priced.policy.budget.prices) == {"claude-sonnet-5", "own"}
    assert "list price of" in priced.origins["models.claude-sonnet-5.input_usd_per_mtok"]
    assert priced.policy.version != bare.policy.version


def test_local_models_get_no_list_price(profile: LoadedProfile) -> None:
    """A model that runs on the user's machines only costs nothing, whatever a cloud asks for it."""
    local = {name for tier in profile.policy.catalog.tiers if tier.cost == "local" for name in tier.models}

    priced = with_list_prices(profile).policy.catalog.models

    assert [name for name in sorted(local) if priced[name].price is not None] == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"dated": 7}', '{"dated": "2026-01-01", "source": "x"}'])
def test_a_file_that_is_no_table_is_refused_and_changes_nothing(
    profile: LoadedProfile, tmp_path: Path, text: str
) -> None:
    """The error names the file; the table in use stays."""
    bad = tmp_path / "bad.json"
    bad.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInputError, match=r"bad\.json"):
        install_table(profile, bad)

    assert not own_table(profile).exists()


def test_a_missing_file_is_named(profile: LoadedProfile, tmp_path: Path) -> None:
    """As every other mistake of a user."""
    with pytest.raises(InvalidInputError, match=r"absent\.json.*No such file"):
        install_table(profile, tmp_path / "absent.json")


def test_the_table_is_one_model_a_line() -> None:
    """So that a change of a price is a line of a diff, whoever makes it."""
    path = Path(__file__).parents[2] / "src" / "ostler" / "budget" / "prices.json"
    text = path.read_text(encoding="utf-8")

    models = sum(map(len, json.loads(text)["providers"].values()))
    assert sum('"price":' in line for line in text.splitlines()) == models
