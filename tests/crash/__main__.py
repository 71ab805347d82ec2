"""Play real crashes: `python -m tests.crash --store sqlite --tasks 10000 --seed 1`."""

import argparse
import json
import os
import shutil
import sys
import time

from tests.crash.disk import INSIDE, enter
from tests.crash.play import Wish, played


def main() -> int:
    """Exit code 1 when anything is wrong; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=100, help="tasks between two faults, about")
    given = parser.parse_args()
    no_disk = "" if INSIDE in os.environ else enter(sys.argv[1:])
    began_s = time.monotonic()

    def tell(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began_s:7.1f} s  {text}\n")
        sys.stdout.flush()

    tell(f"{given.store}, {given.tasks} tasks, seed {given.seed}" + (f"; {no_disk}" if no_disk else ""))
    result = played(Wish(given.store, given.tasks, given.seed, given.every, no_disk), tell)
    for problem in result.problems[:50]:
        tell(f"WRONG: {problem}")
    if not result.problems:
        shutil.rmtree(str(result.figures["folder"]), ignore_errors=True)
    sys.stdout.write(json.dumps({"problems": len(result.problems), "no_disk": no_disk, **result.figures}) + "\n")
    return int(bool(result.problems))


if __name__ == "__main__":
    sys.exit(main())
