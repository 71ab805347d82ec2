"""The interpreter that has the real engine, for tests marked `engine`."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The engine's interpreter; the test is skipped with the remedy where there is none."""
    named = os.environ.get("OSTLER_ENGINE_PYTHON")
    python = Path(named) if named else ROOT / ".venv-engine" / "bin" / "python"
    if not list(python.parent.parent.glob("lib/python3*/site-packages/llama_cpp")):
        pytest.skip(f"no llama.cpp beside {python}: `make engine` compiles it once (minutes)")
    return python
