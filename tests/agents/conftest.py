"""Where a headless agent runs: an isolated folder, and a proxy that records every attempt to reach the outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.command_lines import Place
from tests.gateway.dialects import DIALECTS
from tests.gateway.plays import answers
from tests.gateway.upstream import Upstream


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The place of one run. Whoever tried to reach anything but the address it was told fails the test."""
    with Upstream(DIALECTS["openai"], answers()) as trap:
        yield Place(tmp_path, trap.url)
        assert trap.other_requests == [], "the agent tried to reach the outside"
        assert trap.calls == []
