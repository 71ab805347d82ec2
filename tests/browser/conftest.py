"""One browser and one stage for the tests of a module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import stage as scene

expect.set_options(timeout=scene.PATIENCE_MS)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """A running Chromium."""
    with scene.browser() as running:
        yield running


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[scene.Stage]:
    """A real hub over simulated machines."""
    with scene.Stage(tmp_path_factory.mktemp("stage")) as made:
        yield made
