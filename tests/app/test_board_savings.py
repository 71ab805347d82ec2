"""What own machines saved, as the page of money shows it: reckoned beside a hub, never in its way."""

from pathlib import Path

import pytest

from ostler.app import savings
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.store.ledger_file import LedgerFile

PROFILE = """\
routing:
  tiers:
    local: {models: ["mare:3b"]}
    cloud: {models: [claude-haiku]}
providers:
  sky: {kind: anthropic, local: false}
endpoints:
  - {name: barn, provider: ollama, url: "http://127.0.0.1:1", models: ["mare:3b"]}
  - {name: sky, provider: sky, url: "http://127.0.0.1:2", models: [claude-haiku], api_key_env: NONE}
models:
  claude-haiku: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 5.0}
"""


@pytest.fixture
def profile(tmp_path: Path) -> LoadedProfile:
    path = tmp_path / "ostler.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    return load_profile(str(path), {"HOME": str(tmp_path)}, cwd=tmp_path)


def local_work(name: str, micro_usd: int) -> Settle:
    """Work that cost nothing and would have cost something."""
    return Settle(
        attempt=name,
        at_ms=1,
        amount=Amount(),
        basis=Basis.LOCAL,
        scopes=Scopes(provider="ollama"),
        equivalent_micro_usd=micro_usd,
        equivalent_of="sky/claude-haiku",
    )


def test_a_hub_without_a_ledger_has_saved_nothing(profile: LoadedProfile, tmp_path: Path) -> None:
    """No file is no error."""
    found = savings.for_board(profile, profile.policy, LedgerFile(tmp_path / "none.db"))

    assert found is not None
    assert (found.micro_usd, found.of, found.attempts) == (0, "", 0)


def test_what_the_ledger_noted_is_added_up(profile: LoadedProfile, tmp_path: Path) -> None:
    """With the model at whose price it was reckoned, named once."""
    path = tmp_path / "ledger.db"
    LedgerFile(path).apply([local_work("a", 300), local_work("b", 200)])
    found = savings.for_board(profile, profile.policy, LedgerFile(path))

    assert found is not None
    assert (found.micro_usd, found.of) == (500, "sky/claude-haiku")


def test_a_file_that_is_no_ledger_leaves_the_page_without_the_figure(profile: LoadedProfile, tmp_path: Path) -> None:
    """Everything else on it is shown."""
    path = tmp_path / "broken.db"
    path.write_bytes(b"this is no database" * 100)

    assert savings.for_board(profile, profile.policy, LedgerFile(path)) is None
