"""scripts/agents.sh, with a stand-in for npm: what it installs, when it does not, and what it says when it cannot."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD_NPM = """\
codex=@openai/codex-simulated/vendor/simulated/bin/codex
for place in opencode-simulated/bin/opencode @anthropic-ai/claude-code-simulated/claude "$codex"; do
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
        for name in (
            "sh",
            "cat",
            "cksum",
            "tr",
            "mkdir",
            "mktemp",
            "cp",
            "rm",
            "mv",
            "ln",
            "uname",
            "chmod",
            "id",
            "sed",
        ):
            found = shutil.which(name)
            assert found is not None
            (tools / name).symlink_to(found)
        if npm is not None:
            (tools / "npm").write_text(f"#!/bin/sh\n{npm}\n", encoding="utf-8")
            (tools / "npm").chmod(0o755)
        self.environment = {"PATH": str(tools), "OSTLER_AGENTS": str(folder / "store"), "LOG": str(self.log)}

    def tool(self, name: str, script: str) -> None:
        """Another stand-in."""
        path = self.folder / "tools" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def install(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script as `make test` does."""
        return subprocess.run(
            [str(ROOT / "scripts" / "agents.sh"), str(self.folder / "agents")],
            cwd=ROOT,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def test_all_agents_are_installed_once(tmp_path: Path) -> None:
    """By exact lock and without scripts of the packages; the second time npm is not asked."""
    bench = Bench(tmp_path, GOOD_NPM)

    first, second = bench.install(), bench.install()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "MB to download" in first.stdout
    assert second.stdout == ""
    assert bench.log.read_text(encoding="utf-8").splitlines() == [
        "ci --ignore-scripts --no-audit --no-fund --loglevel=error"
    ]
    for name in ("opencode", "claude", "codex"):
        assert os.access(tmp_path / "agents" / "bin" / name, os.X_OK)


def test_where_opencode_has_no_hash_in_the_lock_it_is_asked_for_by_version(tmp_path: Path) -> None:
    """The lock holds it for Linux on x64; a Mac gets the package of its own kind, of the very same version."""
    bench = Bench(tmp_path, GOOD_NPM)
    bench.tool("uname", 'case "$1" in -s) echo Darwin;; -m) echo arm64;; *) echo Darwin arm64;; esac')

    done = bench.install()

    assert done.returncode == 0, done.stderr
    locked, asked = bench.log.read_text(encoding="utf-8").splitlines()
    assert locked.startswith("ci ")
    package = json.loads((ROOT / "tests" / "agents" / "package.json").read_text(encoding="utf-8"))
    version = package["optionalDependencies"]["opencode-linux-x64-baseline"]
    assert asked.endswith(f" opencode-darwin-arm64@{version}")


def test_aider_is_installed_when_it_is_asked_for(tmp_path: Path) -> None:
    """From PyPI by its exact version, into an environment of its own beside the others; once."""
    bench = Bench(tmp_path, GOOD_NPM)
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
    assert bench.log.read_text(encoding="utf-8").count("aider-chat==") == 1
    assert os.access(tmp_path / "agents" / "bin" / "aider", os.X_OK)


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
