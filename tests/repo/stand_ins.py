"""Scripts that install, run with stand-ins for the programs that they ask and nothing else but the usual tools."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USUAL = ("sh", "cat", "cksum", "tr", "mkdir", "mktemp", "cp", "rm", "mv", "ln", "uname", "chmod", "sed")
BROKEN_NPM = "echo 'npm error network' >&2; exit 1"
IDLE_NPM = "exit 0"


class Bench:
    """Where `make test` calls one script of scripts/. Who calls is root, unless `id` stands in otherwise."""

    def __init__(self, folder: Path, script: str, *told: str, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self._tools = folder / "tools"
        self._tools.mkdir()
        for name in USUAL:
            found = shutil.which(name)
            assert found is not None
            (self._tools / name).symlink_to(found)
        self.tool("id", "echo 0")
        self._command = [str(ROOT / "scripts" / script), *told]
        self._environment = {"PATH": str(self._tools), "LOG": str(self.log), **environment}

    def tool(self, name: str, script: str) -> None:
        """A stand-in; what it does is a script of the shell, and `$LOG` is where it notes what it was asked."""
        path = self._tools / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def tools(self, programs: dict[str, str]) -> None:
        """More of them."""
        for name, script in programs.items():
            self.tool(name, script)

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script as `make test` does."""
        return subprocess.run(
            self._command,
            cwd=ROOT,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def asked(self) -> list[str]:
        """What the stand-ins noted."""
        return self.log.read_text(encoding="utf-8").splitlines()
