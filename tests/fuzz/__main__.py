"""Fuzz for so many seconds, each reader in turn: `python -m tests.fuzz [--seconds N] [--only WORD] [--from NUMBER]`.

A crash is shrunk and told with its number; `--only NAME --from NUMBER --seconds 1` plays it again.
"""

import argparse
import sys
import time
import traceback

from tests.fuzz.play import Crash, mutant, play, shrunk
from tests.fuzz.targets import targets

PIECE = 200
SHOWN_BYTES = 600


def main() -> int:
    """Play; 1 when something crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="", help="targets whose name has this in it")
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first input")
    options = parser.parse_args()
    found = [target for target in targets() if options.only in target.name]
    until_s = time.monotonic() + options.seconds
    number, played, crashes = options.first, 0, 0
    broken: set[str] = set()
    while time.monotonic() < until_s and len(broken) < len(found):
        for target in found:
            if target.name in broken or time.monotonic() >= until_s:
                continue
            seeds = target.seeds()
            for one in range(number, number + max(1, int(PIECE * target.share))):
                data = mutant(target, seeds, one)
                played += 1
                try:
                    play(target, data, measured=one % 50 == 0)
                except Crash as crash:
                    crashes += 1
                    broken.add(target.name)
                    small = shrunk(target, data)
                    traceback.print_exception(crash.__cause__ or crash, limit=-6)
                    print(f"CRASH {target.name} number {one}: {crash}\n  {small[:SHOWN_BYTES]!r}", flush=True)  # noqa: T201
                    break
        number += PIECE
    print(f"{played} inputs to {len(found)} readers, {crashes} crashes; next --from {number}")  # noqa: T201
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
