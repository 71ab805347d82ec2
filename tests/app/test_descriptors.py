"""The limit of open files: raised as far as is allowed, never lowered; who has too low a one is warned."""

import subprocess
import sys

import pytest

from ostler.app import descriptors
from ostler.app.descriptors import ENOUGH, WANTED

resource = pytest.importorskip("resource", reason="this system has no such limits")
ENDLESS = resource.RLIM_INFINITY


class Limits:
    """A system's limit, as `resource` tells and sets it. `refusing`: it has a lower one that it does not tell."""

    def __init__(self, soft: int, hard: int, *, refusing: bool = False) -> None:
        self.now = (soft, hard)
        self.refusing = refusing
        self.set: list[tuple[int, int]] = []

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def setrlimit(self, which: int, wanted: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        if self.refusing:
            raise ValueError("current limit exceeds maximum limit")
        self.set.append(wanted)
        self.now = wanted


def limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, *, refusing: bool = False) -> Limits:
    """The process under test has these limits."""
    made = Limits(soft, hard, refusing=refusing)
    monkeypatch.setattr(resource, "getrlimit", made.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", made.setrlimit)
    return made


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1_024, 20_000, (20_000, 20_000)),
        (1_024, 1_048_576, (WANTED, 1_048_576)),
        (1_024, ENDLESS, (WANTED, ENDLESS)),
        (256, 512, (512, 512)),
    ],
)
def test_the_soft_limit_goes_up_to_the_hard_one(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, after: tuple[int, int]
) -> None:
    """Or to what a hub could ever use; the hard one stays."""
    made = limits(monkeypatch, soft, hard)

    descriptors.raise_limit()

    assert made.now == after


@pytest.mark.parametrize(("soft", "hard"), [(4_096, 4_096), (1_048_576, 1_048_576), (ENDLESS, ENDLESS)])
def test_it_is_never_lowered(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
    """Nothing is set where there is nothing to gain."""
    made = limits(monkeypatch, soft, hard)

    descriptors.raise_limit()

    assert made.set == []


def test_a_system_that_refuses_keeps_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub starts all the same."""
    made = limits(monkeypatch, 256, ENDLESS, refusing=True)

    descriptors.raise_limit()

    assert made.now == (256, ENDLESS)


def test_a_real_process_is_raised() -> None:
    """With the system's own calls, in a process that begins with a low limit."""
    program = (
        "import resource as r; from ostler.app import descriptors as d; n = r.RLIMIT_NOFILE; hard = r.getrlimit(n)[1]; "
        "r.setrlimit(n, (128, hard)); d.raise_limit(); print(r.getrlimit(n) == (min(d.limits()[1], d.WANTED), hard))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout.strip() == "True", done


def test_a_low_hard_limit_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how many calls it is enough for, and what to do; a low soft limit alone is no reason to worry."""
    limits(monkeypatch, 256, 1_024)
    low = descriptors.check()
    limits(monkeypatch, 256, ENOUGH)
    high = descriptors.check()

    assert low is not None
    assert (low.status, low.message) == ("warning", "1024 at most, enough for about 464 live calls at once")
    assert "ulimit -Hn" in low.remedy
    assert "LimitNOFILE" in low.remedy
    assert high is not None
    assert (high.status, high.remedy) == ("ok", "")


def test_a_limit_that_leaves_nothing_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never fewer than no calls."""
    limits(monkeypatch, 20, 20)
    found = descriptors.check()
    assert found is not None
    assert "about 0 live calls" in found.message


def test_a_system_without_limits_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to raise, nothing to tell."""
    monkeypatch.setattr(sys, "platform", "win32")

    descriptors.raise_limit()

    assert descriptors.check() is None
