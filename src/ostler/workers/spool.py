"""Ends of attempts on disk until the hub has them, so that work that was done is not lost with its daemon.

Invariants: an end is on disk before it is offered to the hub, and leaves the disk only after the hub has it. A
file is put in place whole; one that cannot be read is taken away, for it tells nothing. A kill of the process loses
nothing; a loss of power may lose the newest ends, whose attempts are then run again.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ostler.domain.work import Finished, Report
from ostler.workers.run import Key

_SUFFIX = ".json"


class Spool:
    """A folder of ends, of one daemon alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, end: Finished) -> None:
        """Keep an end. One that cannot be written is still told, it only does not outlive the daemon."""
        path = self._path((end.task_id, end.generation))
        partial = path.with_suffix(".partial")
        with contextlib.suppress(OSError):
            partial.write_bytes(msgspec.json.encode(end))
            partial.replace(path)

    def drop(self, reports: Iterable[Report]) -> None:
        """The hub has them."""
        for report in reports:
            if isinstance(report, Finished):
                with contextlib.suppress(OSError):
                    self._path((report.task_id, report.generation)).unlink(missing_ok=True)

    def load(self) -> list[Finished]:
        """What an earlier daemon could not tell, oldest first."""
        found: list[tuple[int, str, Finished]] = []
        with os.scandir(self._folder) as entries:
            paths = [(entry.stat().st_mtime_ns, Path(entry.path)) for entry in entries]
        for changed_ns, path in paths:
            try:
                if path.suffix == _SUFFIX:
                    found.append((changed_ns, path.name, msgspec.json.decode(path.read_bytes(), type=Finished)))
                    continue
            except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return [end for _, _, end in sorted(found, key=lambda row: row[:2])]

    def _path(self, key: Key) -> Path:
        name = hashlib.sha256(f"{key[0]}\0{key[1]}".encode(errors="surrogatepass")).hexdigest()[:32]
        return self._folder / f"{name}{_SUFFIX}"
