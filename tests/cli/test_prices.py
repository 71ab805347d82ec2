"""`ostler prices`: no hub is needed, and a price that nobody knows is told."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Ostler

PROFILE = """
routing:
  tiers:
    small: {provider: ollama, model: "qwen2.5:7b"}
    large: {provider: anthropic, models: [claude-sonnet-5, claude-mystery-9, own-model]}
models:
  own-model: {input_usd_per_mtok: 0.5, output_usd_per_mtok: 1.25, cache_read_usd_per_mtok: 0.05}
"""


@pytest.fixture(autouse=True)
def _profile(tmp_path: Path) -> None:
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")


def test_prices_of_the_profile_are_shown_with_where_they_are_from(ostler: Ostler) -> None:
    """The profile's own, the table's, and none; local models cost nothing and are not listed."""
    result = ostler("prices", "show")

    rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines()}
    assert result.code == 0
    assert rows["own-model"] == ["0.5", "1.25", "0.05", "profile"]
    assert rows["claude-sonnet-5"][-1] == "anthropic/claude-sonnet-5"
    assert rows["claude-mystery-9"] == []
    assert not any(name.startswith("qwen") for name in rows)
    assert "table of 20" in result.out


def test_a_named_model_without_a_price_is_an_exit_code(ostler: Ostler) -> None:
    """One that the profile does not name is looked for in the whole table."""
    assert ostler("prices", "show", "gpt-5").code == 0
    assert ostler("prices", "show", "claude-sonnet-5", "no-such-model").code == 1


def test_the_check_names_what_has_no_price(ostler: Ostler) -> None:
    """With what to do, and as JSON."""
    result = ostler("prices", "check")
    assert result.code == 1
    assert "claude-mystery-9: no price is known; give it input_usd_per_mtok" in result.out
    assert "2 of 3 cloud models have a price" in result.out

    told = json.loads(ostler("prices", "check", "--json").out)
    assert told["unknown"] == ["claude-mystery-9"]


def test_a_table_from_a_file_is_used_from_now_on(ostler: Ostler, tmp_path: Path) -> None:
    """What it names has a price then; a file that is no table is refused with exit code 2."""
    model = {"price": {"input": 7.0, "output": 8.0}}
    table = {"dated": "2999-01-01", "source": "mine", "providers": {"anthropic": {"claude-mystery-9": model}}}
    (tmp_path / "new.json").write_text(json.dumps(table), encoding="utf-8")

    assert ostler("prices", "refresh-from", "new.json").out == "1 prices of 2999-01-01 from mine\n"

    shown = json.loads(ostler("prices", "show", "claude-mystery-9", "--json").out)
    assert shown["rows"][0]["prices"][:2] == [7.0, 8.0]
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    assert ostler("prices", "refresh-from", "bad.json").code == 2
    assert ostler("prices", "refresh-from", "absent.json").code == 2
