"""Which version of an agent command line is installed, asked once."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ostler.workers.runners.agents.contract import Adapter

_LIMIT_S = 20.0
_asked: dict[tuple[str, int], str] = {}
"""(Path, time of change) -> version."""


def found(adapter: Adapter, environ: Mapping[str, str]) -> str | None:
    """Path of the program, if it is there."""
    return shutil.which(adapter.name, path=environ.get("PATH", os.defpath))


async def version_of(adapter: Adapter, environ: Mapping[str, str]) -> str:
    """The version; empty when it tells none. Runs in an empty home."""
    path = found(adapter, environ)
    if path is None:
        return ""
    key = (path, await asyncio.to_thread(_changed_ns, path))
    if key not in _asked:
        _asked[key] = await _ask(path, environ)
    return _asked[key]


def _changed_ns(path: str) -> int:
    return Path(path).stat().st_mtime_ns


async def _ask(path: str, environ: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="ostler-") as home:
        env = {"HOME": home, "PATH": environ.get("PATH", os.defpath)}
        process = await asyncio.create_subprocess_exec(
            path,
            "--version",
            cwd=home,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_LIMIT_S):
                output, _ = await process.communicate()
        except TimeoutError:
            return ""
        finally:
            if process.returncode is None:  # also where it is waited for no longer
                process.kill()
                await process.wait()
    said = re.search(r"\d+\.\d+\.\d+[\w.-]*", output.decode(errors="replace"))
    return said[0] if said else ""
