"""Graphics memory of this machine, where it can be known: NVIDIA by its tool, AMD by the kernel, Apple shares RAM.

Several cards are added up. Unknown is `None`, never a guess: a card that is not listed is not seen at all.

`nvidia-smi` is a process that takes from 20 ms to seconds, so its answer is kept for a while, it is killed when it
takes too long, and where it is missing or fails it is left alone for longer.
"""

import asyncio
import contextlib
import shutil
from pathlib import Path

import msgspec

from ostler.domain.clock import Clock

QUERY = ("--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits")
TIMEOUT_S = 2.0
FRESH_MS = 15_000
RETRY_MS = 300_000
_MIB = 1024 * 1024


class Vram(msgspec.Struct, frozen=True):
    """Bytes of graphics memory over all cards."""

    total_bytes: int
    used_bytes: int

    def __add__(self, other: "Vram") -> "Vram":
        return Vram(self.total_bytes + other.total_bytes, self.used_bytes + other.used_bytes)


def parse_nvidia(output: str) -> Vram | None:
    r"""Rows of `total, used` in MiB. `None` when no row has two numbers (cards that share RAM say "[N/A]").

    >>> parse_nvidia("24564, 1024\n8192, 0\n")
    Vram(total_bytes=34347155456, used_bytes=1073741824)
    """
    found: Vram | None = None
    for row in output.splitlines():
        cells = [cell.strip() for cell in row.split(",")]
        if len(cells) == 2 and all(cell.isdecimal() for cell in cells):  # noqa: PLR2004 -- total and used
            card = Vram(int(cells[0]) * _MIB, int(cells[1]) * _MIB)
            found = card if found is None else found + card
    return found


def read_amd(sys_dir: Path) -> Vram | None:
    """Cards of the amdgpu driver, as the kernel shows them below `/sys`. A few small files."""
    found: Vram | None = None
    for total_file in sorted(sys_dir.glob("class/drm/card*/device/mem_info_vram_total")):
        with contextlib.suppress(OSError, ValueError):
            used_file = total_file.with_name("mem_info_vram_used")
            card = Vram(int(total_file.read_text()), int(used_file.read_text()))
            found = card if found is None else found + card
    return found


class NvidiaQuery:
    """Asks `nvidia-smi` now and then. `command` is its path; empty = looked up once, `None` = there is none."""

    def __init__(self, clock: Clock, command: str | None = "", timeout_s: float = TIMEOUT_S) -> None:
        self._clock = clock
        self._command = shutil.which("nvidia-smi") if command == "" else command
        self._timeout_s = timeout_s
        self._known: Vram | None = None
        self._next_ms = 0

    async def vram(self) -> Vram | None:
        """The newest answer. Asks again when it is old; takes at most the timeout, and nothing between questions."""
        now_ms = self._clock.now_ms()
        if self._command is not None and now_ms >= self._next_ms:
            output = await _run(self._command, self._timeout_s)
            self._known = None if output is None else parse_nvidia(output)
            self._next_ms = now_ms + (RETRY_MS if output is None else FRESH_MS)
        return self._known


async def _run(command: str, timeout_s: float) -> str | None:
    """Standard output of a successful run, else `None`. Leaves no process behind."""
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *QUERY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode("utf-8", "replace") if process.returncode == 0 else None
