"""The hub that most tests of the gateway ask: started once, forgetful between tests."""

from collections.abc import Iterator

import pytest

from tests.gateway.stable import Stable, open_stable


@pytest.fixture(scope="session")
def _stable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stable]:
    with open_stable(tmp_path_factory.mktemp("stable")) as stable:
        yield stable


@pytest.fixture
def stable(_stable: Stable) -> Stable:
    """A hub before simulated upstreams of every format, as if just started."""
    _stable.fresh()
    return _stable
