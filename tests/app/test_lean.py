"""What a hub does without: not there while it is asked not to be, as always afterwards."""

import importlib
import subprocess
import sys

import pytest

from ostler.app.lean import without


def test_a_package_is_not_found_while_it_lasts() -> None:
    """And is found again afterwards."""
    with without("this.is_nothing"), pytest.raises(ImportError):
        importlib.import_module("this.is_nothing")
    assert "this.is_nothing" not in sys.modules


def test_it_is_found_again_whatever_happens_meanwhile() -> None:
    """A mishap leaves nothing behind."""
    with pytest.raises(ZeroDivisionError), without("this.is_nothing"):
        raise ZeroDivisionError
    assert "this.is_nothing" not in sys.modules


def test_what_is_there_already_is_left_alone() -> None:
    """Nobody who uses it loses it."""
    with without("json"):
        assert importlib.import_module("json") is sys.modules["json"]
    assert sys.modules["json"] is not None


@pytest.mark.parametrize("absent", ["rich", "pygments", "aiohttp", "alembic", "uvicorn"])
def test_a_hub_is_loaded_without_what_it_may_never_need(absent: str) -> None:
    """Tracebacks that are drawn, TLS to endpoints, migrations: each comes in when it is needed first."""
    code = f"""
import sys
from ostler.app.lean import without
with without("rich"):
    import ostler.app.serve
print("{absent}" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.strip() == "False"
