"""Routers on recorded outcomes, over several seeds, with the aims that they are held to.

Reads a folder with pair_gsm8k.jsonl, nine_models.jsonl, nine_models_prices.csv and code_tasks_pass_rates.csv, or files
of their shapes; `ostler bench-router` prints the same tables for one file. Fails when an aim is missed.

Without a folder there is nothing to measure: recorded outcomes of others are not part of this tree.

usage: python bench/routing.py [FOLDER] [--seeds N]
"""

import argparse
import sys
import time
from pathlib import Path

from ostler.cli.bench_router import tables
from ostler.learning.trials import Figures

AIMS = (
    ("pair_gsm8k.jsonl", "predicted gain", "apgr", 0.65, True),
    ("nine_models.jsonl", "table, type given", "accuracy", 0.68, True),
    ("nine_models.jsonl", "table, type given", "saved", 0.68, True),
    ("nine_models.jsonl", "learned, cold", "utility", 0.59, True),
    ("nine_models.jsonl", "traffic of the worst model", "share", 0.05, False),
    ("nine_models.jsonl", "unseen type: global means", "gap", 0.0, True),
    ("code_tasks_pass_rates.csv", "bound", "false_promotions", 0.05, False),
    ("code_tasks_pass_rates.csv", "bound", "good_found", 0.70, True),
)


def main() -> int:
    """Print the tables, then each aim with what was reached; 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("no folder with recorded outcomes was named; see --help")
        return 0
    found: dict[tuple[str, str], Figures] = {}
    for name in dict.fromkeys(aim[0] for aim in AIMS):
        started = time.perf_counter()
        for title, lines in tables(arguments.folder / name, None, range(arguments.seeds)).items():
            print(f"\n{title} ({name}, {arguments.seeds} splits)")
            for line in lines:
                found[name, line.name] = line
                print(f"  {line.name:28}", *(f"{key} {value:.4f}" for key, value in line.figures.items()))
        print(f"  {time.perf_counter() - started:.1f} s")
    print("\naims")
    missed = 0
    for name, router, figure, bar, at_least in AIMS:
        value = found[name, router].figures[figure]
        good = value >= bar if at_least else value <= bar
        missed += not good
        print(f"  {'ok    ' if good else 'MISSED'} {router}: {figure} {value:.4f} {'>=' if at_least else '<='} {bar}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
