"""Processor time and memory of a process and all its descendants, as the kernel counts them."""

from pathlib import Path

import psutil

NS_PER_S = 1e9


class Gauge:
    """Over the tree of one process; `None` = nothing to measure, every reading is 0."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid

    def _tree(self) -> list[psutil.Process]:
        if self._pid is None:
            return []
        root = psutil.Process(self._pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        """User and system time so far. Finer than a clock tick where the kernel keeps it by thread."""
        return sum(_cpu_s(process) for process in self._tree())

    def memory_mb(self) -> float:
        """What the tree alone holds, and its share of what it shares (PSS), in MB."""
        return sum(process.memory_full_info().pss for process in self._tree()) / 1e6


def _cpu_s(process: psutil.Process) -> float:
    try:
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / NS_PER_S
    except (OSError, ValueError):
        times = process.cpu_times()
        return float(times.user + times.system)
