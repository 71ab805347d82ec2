"""What it costs to start and to install Ostler.

Prints the wall time of `ostler --version` against a bare interpreter, in turns so that both see the same machine.
With `--size`: the disk space of the core, installed from its lock into a fresh folder (downloads: takes a minute).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 20


def main() -> None:
    """Measure what was asked for and print it."""
    cli = argparse.ArgumentParser(description="Measure start-up time and installed size.")
    cli.add_argument("--runs", type=int, default=RUNS)
    cli.add_argument("--size", action="store_true", help="also install the core from its lock and measure it")
    args = cli.parse_args()
    print_start_up(args.runs)
    if args.size:
        print_size()


def print_start_up(runs: int) -> None:
    """Time both commands in turns, after one unmeasured round that fills the caches."""
    bare = [sys.executable, "-c", "pass"]
    version = [str(Path(sys.executable).with_name("ostler")), "--version"]
    times: dict[str, list[float]] = {"bare": [], "version": []}
    for number in range(runs + 1):
        for name, command in (("bare", bare), ("version", version)):
            elapsed_ms = run_ms(command)
            if number:
                times[name].append(elapsed_ms)
    bare_ms, version_ms = (statistics.median(times[name]) for name in ("bare", "version"))
    print(f"bare interpreter   {bare_ms:7.1f} ms (median of {runs})")
    print(f"ostler --version   {version_ms:7.1f} ms, {version_ms / bare_ms:.2f} x a bare interpreter")


def run_ms(command: list[str]) -> float:
    """Wall time of one run that must succeed, in milliseconds."""
    before = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - before) * 1000


def print_size() -> None:
    """Install core.lock into an empty folder and sum the files, byte-code included."""
    with tempfile.TemporaryDirectory(prefix="ostler-size-") as folder:
        target = Path(folder)
        lock = ROOT / "requirements" / "core.lock"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "--require-hashes", "--target", folder, "--requirement", str(lock)], check=True)
        sizes = {
            entry.name: sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
            if entry.is_dir()
            else entry.stat().st_size
            for entry in target.iterdir()
        }
    mb = {name: size / 1e6 for name, size in sizes.items()}
    packages = sum(name.endswith(".dist-info") for name in sizes)
    print(f"core closure       {sum(mb.values()):7.1f} MB in {packages} packages")
    for name in sorted(mb, key=lambda name: -mb[name])[:6]:
        print(f"  {name:<16} {mb[name]:7.1f} MB")


if __name__ == "__main__":
    main()
