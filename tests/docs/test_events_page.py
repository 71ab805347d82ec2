"""The page of events says what the catalogue says."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_events_is_what_the_catalogue_says() -> None:
    """Run `python scripts/events_reference.py` when this fails."""
    spec = importlib.util.spec_from_file_location("events_reference", ROOT / "scripts" / "events_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8") == module.page()
