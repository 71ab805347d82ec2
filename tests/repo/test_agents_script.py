"""scripts/agents.sh, with a stand-in for npm: what it installs, when it does not, and what it says when it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD_NPM = """\
for place in opencode-simulated/bin/opencode @anthropic-ai/claude-code-simulated/claude; do
  mkdir -p "node_modules/${place%/*}"
  printf '#!/bin/sh\\necho 1.0\\n' >"node_modules/$place"
  chmod +x "node_modules/$place"
done
echo "$@" >>"$LOG"
"""
BROKEN_NPM = "echo 'npm error network' >&2; exit 1"
IDLE_NPM = "exit 0"


class Bench:
    """A folder with a stand-in for npm and nothing else of the machine but its usual tools."""

    def __init__(self, folder: Path, npm: str | None) -> None:
        self.folder = folder
        self.log = folder / "npm.log"
        tools = folder / "tools"
        tools.mkdir()
        for name in ("sh", "cat", "cksum", "tr", "mkdir", "mktemp", "cp", "rm", "mv", "ln", "uname", "chmod", "id"):
            found = shutil.which(name)
            assert found is not None
            (tools / name).symlink_to(found)
        if npm is not None:
            (tools / "npm").write_text(f"#!/bin/sh\n{npm}\n", encoding="utf-8")
            (tools / "npm").chmod(0o755)
        self.environment = {"PATH": str(tools), "OSTLER_AGENTS": str(folder / "store"), "LOG": str(self.log)}

    def install(self) -> subprocess.CompletedProcess[str]:
        """Run the script as `make test` does."""
        return subprocess.run(
            [str(ROOT / "scripts" / "agents.sh"), str(self.folder / "agents")],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def test_both_agents_are_installed_once(tmp_path: Path) -> None:
    """By exact lock and without scripts of the packages; the second time npm is not asked."""
    bench = Bench(tmp_path, GOOD_NPM)

    first, second = bench.install(), bench.install()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "MB to download" in first.stdout
    assert second.stdout == ""
    assert bench.log.read_text(encoding="utf-8").splitlines() == [
        "ci --ignore-scripts --no-audit --no-fund --loglevel=error"
    ]
    for name in ("opencode", "claude"):
        assert os.access(tmp_path / "agents" / "bin" / name, os.X_OK)


@pytest.mark.parametrize(
    ("npm", "told"),
    [(BROKEN_NPM, "npm could not install the agents"), (IDLE_NPM, "npm installed no 'opencode' that runs")],
)
def test_a_failed_installation_says_so_and_leaves_nothing(tmp_path: Path, npm: str, told: str) -> None:
    """The tests do not run as if all was well: the script fails, and names the way without agents."""
    bench = Bench(tmp_path, npm)

    done = bench.install()

    assert done.returncode == 1
    assert told in done.stderr
    assert "WITHOUT_AGENTS=1" in done.stderr
    assert not (tmp_path / "agents").exists()
    assert list((tmp_path / "store").iterdir()) == []


def test_without_npm_and_without_apt_it_says_what_to_install(tmp_path: Path) -> None:
    """The Debian package by name."""
    done = Bench(tmp_path, None).install()

    assert done.returncode == 1
    assert "apt-get install npm" in done.stderr


def test_the_lock_names_no_address(tmp_path: Path) -> None:
    """Versions and hashes only: where they come from is the business of who installs."""
    lock = (ROOT / "tests" / "agents" / "package-lock.json").read_text(encoding="utf-8")

    assert "http" not in lock
    assert lock.count('"integrity"') == lock.count("node_modules/")
