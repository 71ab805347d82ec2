"""A few hundred tasks over real crashes, in a process of their own: it adopts orphans and mounts a small disk."""

import json
import subprocess
import sys
from pathlib import Path

from tests.crash.faults import OF_DATABASE, Kind

ROOT = Path(__file__).resolve().parents[2]
TASKS = 240


def play(store: str, every: int, seed: int) -> dict[str, object]:
    """What came of it. Fails with what is wrong."""
    words = ("--store", store, "--tasks", str(TASKS), "--every", str(every), "--seed", str(seed))
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", *words],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


def all_is_well(store: str, every: int, seed: int) -> None:
    """Play, and hold what came of it against what must. The stores are tried in files of their own: side by side."""
    told = play(store, every, seed)

    assert (told["problems"], told["acknowledged"]) == (0, TASKS)
    suffered = set(Kind) - (OF_DATABASE if told["store"] == "sqlite" else set())
    suffered -= {Kind.DISK_FULL} if told["no_disk"] else set()
    faults = told["faults"]
    assert isinstance(faults, dict)
    assert set(faults) == {kind.value for kind in suffered}
    assert told["kills"]
    assert told["ledger_micro_usd"]
