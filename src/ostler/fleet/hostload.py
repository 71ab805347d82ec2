"""Load of this machine for the scheduler: processor, memory, graphics memory. Runs in the worker on the machine.

Where the worker itself is confined by a control group (a container, a systemd slice), the group's memory limit is what
counts, with what its processes use of it; page cache that the kernel would give back is not counted as used. The
processor is always the whole machine's, because models of other processes compete for it.

Cost: a few small files, well under a millisecond, except for `nvidia-smi` (see `gpu`). The first report has no
processor figure: load is a difference between two moments.
"""

import platform
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from ostler.domain.clock import Clock
from ostler.domain.fleet import HostReport
from ostler.fleet.gpu import NvidiaQuery, Vram, read_amd

NO_LIMIT = 1 << 60
"""The first version of control groups writes a huge number for "no limit"."""


class Memory(msgspec.Struct, frozen=True):
    """Bytes of main memory that may be used, and that are."""

    total_bytes: int
    used_bytes: int


class CpuTimes(msgspec.Struct, frozen=True):
    """Seconds since the machine started, over all processors."""

    busy_s: float
    total_s: float


class Machine(Protocol):
    """What is measured; tests give one of their own."""

    def memory(self) -> Memory:
        """Main memory now."""
        ...

    def cpu(self) -> CpuTimes:
        """Processor time until now."""
        ...


class PsutilMachine:
    """The real one."""

    def memory(self) -> Memory:
        """Physical memory; used = what could not be had without swapping."""
        import psutil  # noqa: PLC0415 -- only workers need it

        found = psutil.virtual_memory()
        return Memory(found.total, found.total - found.available)

    def cpu(self) -> CpuTimes:
        """Time spent working and in all. Waiting for a disk is not work; guest time is part of user time."""
        import psutil  # noqa: PLC0415 -- only workers need it

        times = psutil.cpu_times()._asdict()
        total = sum(value for name, value in times.items() if name not in ("guest", "guest_nice"))
        return CpuTimes(total - times["idle"] - times.get("iowait", 0.0), total)


class HostLoad:
    """Makes reports of one machine. `root` is the file system below which `/sys` and `/proc` are looked for."""

    def __init__(
        self,
        host: str,
        clock: Clock,
        *,
        machine: Machine | None = None,
        nvidia: NvidiaQuery | None = None,
        root: Path = Path("/"),
        unified_memory: bool | None = None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._machine: Machine = machine or PsutilMachine()
        self._nvidia = nvidia or NvidiaQuery(clock)
        self._root = root
        self._unified = is_apple_silicon() if unified_memory is None else unified_memory
        self._last_cpu: CpuTimes | None = None

    async def report(self) -> HostReport:
        """The load now. What cannot be known is `None`."""
        memory = self._machine.memory()
        group = group_memory(self._root, memory.total_bytes)
        ram = group or memory
        vram = await self._vram(memory)
        return HostReport(
            host=self._host,
            at_ms=self._clock.now_ms(),
            cpu_percent=self._cpu_percent(),
            ram_total_bytes=ram.total_bytes,
            ram_used_bytes=ram.used_bytes,
            vram_total_bytes=vram.total_bytes if vram else None,
            vram_used_bytes=vram.used_bytes if vram else None,
        )

    async def _vram(self, memory: Memory) -> Vram | None:
        if self._unified:
            return Vram(memory.total_bytes, memory.used_bytes)
        cards = (await self._nvidia.vram(), read_amd(self._root / "sys"))
        found = [card for card in cards if card is not None]
        return sum(found[1:], found[0]) if found else None

    def _cpu_percent(self) -> float | None:
        now, last = self._machine.cpu(), self._last_cpu
        self._last_cpu = now
        if last is None or now.total_s <= last.total_s:
            return None
        share = (now.busy_s - last.busy_s) / (now.total_s - last.total_s)
        return round(min(max(share * 100.0, 0.0), 100.0), 1)


def is_apple_silicon() -> bool:
    """Whether graphics and programs share one memory here."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def group_memory(root: Path, physical_bytes: int) -> Memory | None:
    """The tightest memory limit that control groups put on this process, `None` without one below physical memory."""
    return _group_v2(root, physical_bytes) or _group_v1(root, physical_bytes)


def _group_v2(root: Path, physical_bytes: int) -> Memory | None:
    base = root / "sys/fs/cgroup"
    tightest: Memory | None = None
    for directory in _own_groups(root, base):
        limit = _number(directory / "memory.max")
        current = _number(directory / "memory.current")
        if limit is None or current is None or limit >= physical_bytes:
            continue
        if tightest is None or limit < tightest.total_bytes:
            reclaimable = _stat(directory / "memory.stat", "inactive_file")
            tightest = Memory(limit, max(current - reclaimable, 0))
    return tightest


def _own_groups(root: Path, base: Path) -> list[Path]:
    """The group of this process and all above it; a limit anywhere on the way holds."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    parts = [part for part in own.split("/") if part not in ("", "..")]
    return [base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _group_v1(root: Path, physical_bytes: int) -> Memory | None:
    directory = root / "sys/fs/cgroup/memory"
    limit = _number(directory / "memory.limit_in_bytes")
    current = _number(directory / "memory.usage_in_bytes")
    if limit is None or current is None or limit >= min(physical_bytes, NO_LIMIT):
        return None
    return Memory(limit, max(current - _stat(directory / "memory.stat", "total_inactive_file"), 0))


def _number(path: Path) -> int | None:
    """A file with one number; `None` for a missing file or the word `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _stat(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    values = (line.partition(" ") for line in lines)
    return next((int(value) for key, _, value in values if key == name and value.strip().isdecimal()), 0)
