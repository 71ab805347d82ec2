"""Three hubs over one database, each on a machine of its own, and cables that break: where a user may make networks.

The scenes here are three of those in `partition.py`; `unshare -Urn python -m tests.e2e.partition FOLDER` plays all.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import can_cut
from tests.e2e.partition import HUBS, LEASE_S, SCENES

ROOT = Path(__file__).resolve().parents[2]
PLAYED = ("hubs", "deaf", "all")
LEFT_LOCKED_S = 3.0
"""How long the database keeps what a leader has locked that was cut off in the middle."""
SLOW_S = 10.0
"""For machines that do much beside it."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened in one play of the scenes."""
    folder = tmp_path_factory.mktemp("partition")
    done = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-m", "tests.e2e.partition", str(folder), *PLAYED],  # noqa: S607 -- the system's own
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


pytestmark = pytest.mark.skipif(not can_cut(), reason="no networks of namespaces for users here; see test_hubs.py")


def test_what_was_acknowledged_runs_once_at_a_time_and_to_its_end(told: dict[str, Any]) -> None:
    """Through every cut: none is lost, none runs beside itself."""
    assert told["acknowledged"] >= 20
    assert told["ends"] == {"succeeded": told["acknowledged"]}
    assert not told["overlap"]


def test_each_epoch_belongs_to_one_hub(told: dict[str, Any]) -> None:
    """As the database itself says, looked at all the time."""
    assert told["torn_epochs"] == []


@pytest.mark.parametrize("name", [name for name in PLAYED if SCENES[name][1]])
def test_a_leader_that_does_not_hear_its_database_is_replaced_in_seconds(told: dict[str, Any], name: str) -> None:
    """Whether all cables broke or one direction of one. Its lease ends, and what it has locked is let go of."""
    scene = told["scenes"][name]

    assert scene["follower"] != scene["leader"]
    assert scene["handed_over_s"] < LEASE_S + LEFT_LOCKED_S + SLOW_S
    assert scene["served_s"] < scene["handed_over_s"] + SLOW_S
    assert scene["during"][scene["follower"]]["good"] > 0


@pytest.mark.parametrize("name", [name for name in PLAYED if SCENES[name][1]])
def test_a_leader_that_was_cut_off_answers_nobody_and_stands_by_by_itself(told: dict[str, Any], name: str) -> None:
    """Not a single answer from old knowledge; and nobody has to start it again when the cables are mended."""
    scene = told["scenes"][name]

    assert scene["during"][scene["leader"]]["good"] <= LEASE_S * 10  # while its lease lasted
    assert scene["stands_by_s"] < SLOW_S
    assert told["alive"] == sorted(HUBS)
    assert told["tracebacks"] == []


def test_a_leader_that_only_the_other_hubs_do_not_reach_goes_on(told: dict[str, Any]) -> None:
    """The database decides who leads, nobody else. Who calls one of the others is told why it gets no answer."""
    scene = told["scenes"]["hubs"]

    assert scene["changes"] == 0
    assert scene["during"][scene["leader"]]["wrong"] == []
    for name in set(HUBS) - {scene["leader"]}:
        told_there = scene["during"][name]
        assert any("is not reached from here" in wrong for wrong in told_there["wrong"]), told_there


def test_who_calls_is_served_or_told_why_not(told: dict[str, Any]) -> None:
    """Nobody waits without an end, and no error is one that only its author understands."""
    known = (
        "is not reached from here",
        "went away before it answered",
        "may lead",
        "another hub has taken over",
        "no hub leads this pool",
        "does not reach its database",
        "closed the connection without an answer",
        "Connection reset",
    )
    for scene in told["scenes"].values():
        for there in scene["during"].values():
            assert there["longest_s"] < 15
            assert [wrong for wrong in there["wrong"] if not any(words in wrong for words in known)] == []
