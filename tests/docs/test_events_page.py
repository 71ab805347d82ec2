"""The pages of events and metrics say what their catalogues say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["events", "metrics"])
def test_the_page_of_a_catalogue_is_what_the_catalogue_says(name: str) -> None:
    """Run `python scripts/events_reference.py` (or `metrics_reference.py`) when this fails."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8") == module.page()
