"""Rewrite requirements/*.lock from pyproject.toml: exact versions with hashes, for every platform.

The floor is Python 3.11. One resolution feeds the others: dev.lock holds everything a developer runs; core.lock and
build.lock are resolved under it, so that what is tested is what a user gets. Versions that still fit are kept;
`--upgrade` takes the newest. llama.cpp has a lock of its own, because what is installed is a wheel compiled here, which
has no published hash.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

UV = "uv==0.13.8"
ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
ENGINE = "llama-cpp-python"


def main() -> int:
    """Write the five locks; the exit status is that of the first resolution that failed."""
    cli = argparse.ArgumentParser(description="Rewrite requirements/*.lock.")
    cli.add_argument(
        "--upgrade", action="store_true", help="take the newest versions instead of keeping those that fit"
    )
    upgrade = ["--upgrade"] if cli.parse_args().upgrade else []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    engine = project["project"]["optional-dependencies"]["engine"]
    engine_build = project["dependency-groups"]["engine-build"]
    under_dev = ["--constraint", "requirements/dev.lock"]
    with tempfile.TemporaryDirectory(prefix="ostler-lock-") as folder:
        uv = _uv(Path(folder))
        try:
            _compile(uv, "dev", ["pyproject.toml", "--group", "dev", *upgrade])
            _compile(uv, "core", ["pyproject.toml", *under_dev])
            _compile(uv, "build", ["--group", "build", *under_dev])
            _compile(uv, "engine", ["-", "--no-emit-package", ENGINE, *upgrade], [*engine, *engine_build])
            _compile(uv, "llama", ["-", "--no-deps", *upgrade], [row for row in engine if row.startswith(ENGINE)])
        except subprocess.CalledProcessError as error:
            print(
                f"make lock: no solution found, the message above says why ({' '.join(error.cmd[1:4])})",
                file=sys.stderr,
            )
            return error.returncode
    return 0


def _uv(folder: Path) -> Path:
    """Install the resolver into an environment that is thrown away afterwards."""
    venv.create(folder, with_pip=True)
    print(f"Installing {UV} into a throw-away environment ...", flush=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", UV], check=True)
    return folder / "bin" / "uv"


def _compile(uv: Path, name: str, source: list[str], requirements: list[str] | None = None) -> None:
    """Resolve `source` into requirements/NAME.lock; `requirements` are fed to it where the source is `-`."""
    command = [str(uv), "pip", "compile", *source, "--quiet", "--output-file", f"requirements/{name}.lock"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"]
    subprocess.run(
        command, cwd=ROOT, check=True, text=True, input="\n".join(requirements or []), stdout=subprocess.DEVNULL
    )
    count = sum("==" in row for row in (LOCKS / f"{name}.lock").read_text(encoding="utf-8").splitlines())
    print(f"requirements/{name}.lock: {count} packages", flush=True)


if __name__ == "__main__":
    sys.exit(main())
