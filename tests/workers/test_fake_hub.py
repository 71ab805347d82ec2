"""The fake hub of these tests is held to the same claims as any link."""

import pytest

from tests.workers.fake_hub import FakeHubBench
from tests.workers.link_conformance import HubBench, LinkConformance


class TestFakeLink(LinkConformance):
    @pytest.fixture
    def bench(self) -> HubBench:
        return FakeHubBench()
