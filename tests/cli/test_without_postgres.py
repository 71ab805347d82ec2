"""A hub for a pool of PostgreSQL where the driver was not installed."""

import os
import subprocess
import sys
from pathlib import Path

from ostler.domain.errors import ExitCode

PROFILE = """\
hub: {port: 0, data_dir: data, database: "postgresql://ostler@127.0.0.1:9/pool"}
endpoints: [{name: a, provider: ollama, url: "http://127.0.0.1:9"}]
"""


def test_the_extra_is_named(tmp_path: Path) -> None:
    """One line that says what to install, before anything is opened: no mistake of ours, as it was once called."""
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")
    absent = tmp_path / "without" / "psycopg"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ModuleNotFoundError(name='psycopg')\n", encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(absent.parent)}

    got = subprocess.run(
        [sys.executable, "-m", "ostler.cli.main", "up"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    told = "ostler: hub.database: PostgreSQL needs the extra 'postgres' (pip install 'ostler[postgres]')\n"
    assert (got.returncode, got.stdout, got.stderr) == (ExitCode.USAGE, "", told)
