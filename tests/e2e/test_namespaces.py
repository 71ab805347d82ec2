"""Two workers in two network namespaces, one with its cable pulled; where the system lets a user make namespaces."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def can_make_namespaces() -> bool:
    """Whether a user may, and the tools are there."""
    probe = "ip link set lo up && ip link add t0 type veth peer name t1 && command -v nsenter"
    try:
        done = subprocess.run(
            ["unshare", "-Urn", "sh", "-c", probe],  # noqa: S607 -- the system's own
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@pytest.mark.skipif(not can_make_namespaces(), reason="no network namespaces for users here; see test_hosts.py")
def test_a_cable_that_is_pulled_for_less_and_for_more_than_the_grace(tmp_path: Path) -> None:
    """For less: the work goes on as its first attempt. For more: it runs at the other worker, and what was finished
    behind the cut comes late, is kept, and is refused because the task has its result.
    """
    done = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-m", "tests.e2e.namespaces", str(tmp_path)],  # noqa: S607 -- the system's own
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])

    assert (told["short"], told["lost_after_short"]) == (1, 0)
    assert told["long"] == 2
    assert told["late"] == ["long", 1, True, "settled"]
    assert "settled" in told["adopted"]
    assert not told["overlap"]
    assert told["codes"] == [0, 0, 0]
