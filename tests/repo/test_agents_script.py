"""scripts/agents.sh, with a stand-in for npm: what it installs, when it does not, and what it says when it cannot."""

import json
import os
from pathlib import Path

import pytest

from tests.repo.stand_ins import BROKEN_NPM, IDLE_NPM, ROOT, Bench

GOOD_NPM = """\
codex=@openai/codex-simulated/vendor/simulated/bin/codex
for place in opencode-simulated/bin/opencode @anthropic-ai/claude-code-simulated/claude "$codex"; do
  mkdir -p "node_modules/${place%/*}"
  printf '#!/bin/sh\\necho 1.0\\n' >"node_modules/$place"
  chmod +x "node_modules/$place"
done
echo "$@" >>"$LOG"
"""


def agents(folder: Path, npm: str | None) -> Bench:
    """What scripts/agents.sh meets; without npm where there is none."""
    bench = Bench(folder, "agents.sh", str(folder / "agents"), OSTLER_AGENTS=str(folder / "store"))
    bench.tools({"npm": npm} if npm is not None else {})
    return bench


def test_all_agents_are_installed_once(tmp_path: Path) -> None:
    """By exact lock and without scripts of the packages; the second time npm is not asked."""
    bench = agents(tmp_path, GOOD_NPM)

    first, second = bench.install(), bench.install()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "MB to download" in first.stdout
    assert second.stdout == ""
    assert bench.asked == ["ci --ignore-scripts --no-audit --no-fund --loglevel=error"]
    for name in ("opencode", "claude", "codex"):
        assert os.access(tmp_path / "agents" / "bin" / name, os.X_OK)


def test_where_opencode_has_no_hash_in_the_lock_it_is_asked_for_by_version(tmp_path: Path) -> None:
    """The lock holds it for Linux on x64; a Mac gets the package of its own kind, of the very same version."""
    bench = agents(tmp_path, GOOD_NPM)
    bench.tool("uname", 'case "$1" in -s) echo Darwin;; -m) echo arm64;; *) echo Darwin arm64;; esac')

    done = bench.install()

    assert done.returncode == 0, done.stderr
    locked, asked = bench.asked
    assert locked.startswith("ci ")
    package = json.loads((ROOT / "tests" / "agents" / "package.json").read_text(encoding="utf-8"))
    version = package["optionalDependencies"]["opencode-linux-x64-baseline"]
    assert asked.endswith(f" opencode-darwin-arm64@{version}")


def test_aider_is_installed_when_it_is_asked_for(tmp_path: Path) -> None:
    """From PyPI by its exact version, into an environment of its own beside the others; once."""
    bench = agents(tmp_path, GOOD_NPM)
    python = """
    [ "$2" = pip ] && echo "${@: -1}" >>"$LOG" && touch "${0%/*}/aider" && chmod +x "${0%/*}/aider"
    [ "$2" = venv ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    exit 0"""
    bench.tool("python", python.replace("${@: -1}", "$6"))
    bench.tool("touch", 'printf "#!/bin/sh\\n" >"$1"')

    assert bench.install().returncode == 0
    first, second = (bench.install(WITH_AIDER="1", PYTHON=str(tmp_path / "tools" / "python")) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "700 MB" in first.stdout
    assert second.stdout == ""
    assert sum("aider-chat==" in line for line in bench.asked) == 1
    assert os.access(tmp_path / "agents" / "bin" / "aider", os.X_OK)


@pytest.mark.parametrize(
    ("npm", "told"),
    [(BROKEN_NPM, "npm could not install the agents"), (IDLE_NPM, "npm installed no 'opencode' that runs")],
)
def test_a_failed_installation_says_so_and_leaves_nothing(tmp_path: Path, npm: str, told: str) -> None:
    """The tests do not run as if all was well: the script fails, and names the way without agents."""
    bench = agents(tmp_path, npm)

    done = bench.install()

    assert done.returncode == 1
    assert told in done.stderr
    assert "WITHOUT_AGENTS=1" in done.stderr
    assert not (tmp_path / "agents").exists()
    assert list((tmp_path / "store").iterdir()) == []


def test_without_npm_and_without_apt_it_says_what_to_install(tmp_path: Path) -> None:
    """The Debian package by name."""
    done = agents(tmp_path, None).install()

    assert done.returncode == 1
    assert "apt-get install npm" in done.stderr


def test_the_lock_names_no_address(tmp_path: Path) -> None:
    """Versions and hashes only: where they come from is the business of who installs."""
    lock = (ROOT / "tests" / "agents" / "package-lock.json").read_text(encoding="utf-8")

    assert "http" not in lock
    assert lock.count('"integrity"') == lock.count("node_modules/")
