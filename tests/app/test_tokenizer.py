"""Exact counts where a tokenizer is installed, and a plain word where none is.

The package is stood in for: it is an extra, and this says how it is called.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ostler import ContextManager
from ostler.app.tokenizer import exact_count, exact_rates
from ostler.domain.errors import InvalidInputError


class Tokenizer:
    """Counts words; refuses files that do not begin with a brace, as the package does: with a bare exception."""

    @classmethod
    def from_file(cls, path: str) -> "Tokenizer":
        if not Path(path).read_text().startswith("{"):
            raise Exception("expected value at line 1")  # noqa: TRY002 -- what the package raises
        return cls()

    def encode(self, text: str, *, add_special_tokens: bool) -> SimpleNamespace:
        assert not add_special_tokens
        return SimpleNamespace(ids=text.split())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("tokenizers")
    module.Tokenizer = Tokenizer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tokenizers", module)
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    return path


def test_a_text_is_counted_as_its_model_does(file: Path) -> None:
    """Without the marks that a chat adds."""
    assert exact_count(file)("name three horses") == 3
    assert exact_count(file)("") == 0


def test_a_talk_is_measured_exactly_for_that_model_and_guessed_for_others(file: Path) -> None:
    """No margin is kept where nothing is uncertain."""
    rates = exact_rates({"mine": file})
    for model, tokens in (("mine", 3), ("other", 5)):
        context = ContextManager(model=model, rates=rates)
        context.say("user", "name three horses")
        assert context.status()["tokens"] == tokens


def test_a_file_that_is_none_is_told(file: Path) -> None:
    """Missing, or something else."""
    with pytest.raises(InvalidInputError, match="no such file"):
        exact_count(file.with_name("other.json"))
    file.write_text("not json")
    with pytest.raises(InvalidInputError, match="expected value at line 1"):
        exact_count(file)


def test_without_the_package_there_is_a_way_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra to install, and what happens without it."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InvalidInputError, match=r"ostler\[tokens\]"):
        exact_count(file)
