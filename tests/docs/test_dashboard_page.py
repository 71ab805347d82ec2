"""The page about the dashboard names every page there is, every verb, and pictures that exist and are not heavy."""

import re
from pathlib import Path

import pytest

from ostler.hub.tokens import SCOPES
from ostler.web.pages.actions import VERBS
from ostler.web.pages.site import PATHS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "dashboard.md").read_text(encoding="utf-8")
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.png"))
HEAVY_BYTES = 400_000
SAID = {
    "submit": "hand in",
    "unplan": "drop its plan",
    "check": "list an endpoint",
    "reset": "close its breaker",
    "unpin": "pin",
    "plan": "plan a run",
}


def test_every_page_is_in_the_table_and_no_other() -> None:
    """By its path."""
    assert set(re.findall(r"^\| [^|]+ \| `(/[^`]*)` \|", PAGE, flags=re.MULTILINE)) == set(PATHS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_told(verb: str) -> None:
    """What can be done from the pages stands on the page."""
    assert SAID.get(verb, verb) in " ".join(PAGE.lower().split())


def test_every_scope_for_people_is_told() -> None:
    """Who may look and who may act."""
    assert all(f"`{scope}`" in PAGE for scope in SCOPES if scope != "worker")


def test_every_picture_is_shown_somewhere_and_is_light() -> None:
    """A clone does not grow by pictures that nobody sees."""
    texts = [path.read_text(encoding="utf-8") for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md")]

    assert PICTURES
    for picture in PICTURES:
        assert any(f"pictures/{picture.name}" in text for text in texts), picture.name
        assert picture.stat().st_size < HEAVY_BYTES, picture.name
        assert picture.read_bytes().startswith(b"\x89PNG")
