"""The demo with a real llama.cpp: the same story, with loads and swaps that take real time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 240


@pytest.mark.engine
def test_the_demo_runs_on_a_real_engine(tmp_path: Path) -> None:
    """Good end to end: real swaps on the machine that was killed and came back, and nothing called simulated there."""
    python = Path(os.environ.get("OSTLER_ENGINE_PYTHON") or ROOT / ".venv-engine" / "bin" / "python")
    if not list(python.parent.parent.glob("lib/python3*/site-packages/llama_cpp")):
        pytest.skip(f"no llama.cpp beside {python}: `make engine` compiles it once (minutes)")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "ostler.cli.main",
            "demo",
            "--engine",
            "llama",
            "--json",
            "--data-dir",
            tmp_path / "kept",
        ],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env={**os.environ, "OSTLER_ENGINE_PYTHON": str(python)},
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads(ran.stdout)
    alpha = next(row for row in report["hosts"] if row["name"] == "llama-alpha")
    assert not alpha["simulated"]
    assert alpha["switched_off"] == 1
    assert alpha["swaps"] >= 1
    assert alpha["lost_ms"] > 0
    assert report["fallbacks"]
    assert report["left_running"] == []
