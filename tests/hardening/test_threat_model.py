"""Every line of the threat model names a test that is there, or says plainly that nothing holds."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path("docs/explanation/threat-model.md")
HEADER, RULE = "threat", "---"


class Threat(NamedTuple):
    """A line of the page."""

    what: str
    holds: str
    shown: str


def threats() -> list[Threat]:
    """All of them."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == len(Threat._fields) and cells[0] not in (HEADER, RULE):
            found.append(Threat(*cells))
    return found


def test_whoever_may_mean_harm_has_a_section() -> None:
    """Those that the model must not forget."""
    sections = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for word in ("same machine", "browser", "network", "agent", "worker", "endpoint", "database", "installed"):
        assert any(word in section.lower() for section in sections), f"nobody speaks of {word}"
    assert len(threats()) > 30


@pytest.mark.parametrize("threat", threats(), ids=lambda threat: threat.what[:50])
def test_each_line_is_shown_or_says_that_nothing_holds(threat: Threat) -> None:
    """A test that is named exists and has tests in it; a line without one promises nothing."""
    if threat.shown == "-":
        assert threat.holds.startswith("nothing"), f"a promise without a test: {threat.what}"
        return
    path = Path(threat.shown.strip("`"))
    assert path.is_file(), f"{path} is not there"
    assert "def test_" in path.read_text(encoding="utf-8")
