"""A hub that nobody looks at pays nothing for its pages."""

import subprocess
import sys

import pytest

from ostler.web.pages.look import KEPT, Looks
from ostler.web.pages.render import Renderer
from ostler.web.pages.site import PATHS
from ostler.web.pages.view import Ask, Role
from tests.web.recording_hub import RecordingHub

IDLE = """
import sys
from tests.web.recording_hub import RecordingHub
from ostler.web.app import build_app
build_app(RecordingHub(), require_token=False)
print(sorted(name for name in sys.modules if name.startswith(("jinja2", "markupsafe", "ostler.web.pages."))))
"""


def test_nothing_of_the_pages_is_loaded_before_the_first_is_asked_for() -> None:
    """Neither templates nor what renders them."""
    done = subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


async def test_what_is_kept_of_pages_is_bounded() -> None:
    """However many addresses somebody tries."""
    looks = Looks(RecordingHub(), Renderer())
    for number in range(KEPT + 20):
        await looks.at(PATHS["/tasks"], Ask(path="/tasks", query={"q": str(number)}, role=Role.OPERATOR))

    assert len(looks._kept) == KEPT
    assert looks._locks == {}


async def test_a_page_that_fails_keeps_nothing_and_blocks_nobody() -> None:
    """The next one asks again."""
    hub = RecordingHub()
    looks = Looks(hub, Renderer())
    ask = Ask(path="/calls", role=Role.OPERATOR)
    hub.raises = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await looks.at(PATHS["/calls"], ask)
    hub.raises = None
    look = await looks.at(PATHS["/calls"], ask)

    assert look.view.section == "calls"
    assert looks._locks == {}
