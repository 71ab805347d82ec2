"""A few hundred tasks over real crashes, in a process of their own: it adopts orphans and mounts a small disk."""

import json
import subprocess
import sys
from pathlib import Path

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
