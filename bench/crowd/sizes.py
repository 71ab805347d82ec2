"""Measured for one number of tasks after the other, each in a folder of its own; one that breaks off ends the run."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.hop.machine import RunError, StartError

T = TypeVar("T")


def measured(sizes: Sequence[int], one: Callable[[Path, int], T]) -> list[T] | None:
    """What was found of each; `None` when the run broke off, which is said."""
    columns: list[T] = []
    try:
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="ostler-bench-") as folder:
                columns.append(one(Path(folder), size))
                print(f"  measured with {size:,} tasks", file=sys.stderr, flush=True)
    except (StartError, RunError) as error:
        print(f"the run broke off: {error}", file=sys.stderr)
        return None
    return columns
