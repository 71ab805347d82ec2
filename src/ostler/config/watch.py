"""Watching a profile for changes. A new version that is not valid is refused whole and the old one stays.

Polling: every `interval_s` the file's time of change, size and, when these differ or are too fresh to tell, its hash
are compared. Each content is reported once, good or bad, and so is the loss of the file.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from ostler.config.settings import LoadedProfile
from ostler.domain.errors import OstlerError

FRESH_NS = 2_000_000_000
"""A file changed this recently may change again within the resolution of its time stamp: its hash is compared."""

_Stamp = tuple[int, int]


class ProfileWatcher:
    """Calls back with each new valid profile, or with the text of why a new version was refused.

    `load` reads and checks the file at `path` and raises `OstlerError`. Both callbacks run in the task that polls.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[], LoadedProfile],
        on_change: Callable[[LoadedProfile], None],
        on_refused: Callable[[str], None],
        *,
        interval_s: float = 2.0,
    ) -> None:
        self._path = path
        self._load = load
        self._on_change = on_change
        self._on_refused = on_refused
        self._interval_s = interval_s
        self._stamp: _Stamp | None = None
        self._digest = ""
        self._looked_ns = 0
        self._changed()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.poll()

    async def poll(self) -> None:
        """Look once; calls back at most once. Files are read and checked off the event loop."""
        try:
            profile = await asyncio.to_thread(self._next)
        except OstlerError as error:
            self._on_refused(f"the profile was not taken over, the old one stays:\n{error}")
            return
        except OSError as error:
            self._on_refused(f"{self._path}: {error.strerror or error}; the settings in use stay")
            return
        if profile is not None:
            self._on_change(profile)

    def _next(self) -> LoadedProfile | None:
        return self._load() if self._changed() else None

    def _changed(self) -> bool:
        """Whether the content differs from the one seen last. Raises `OSError` once when the file is lost."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp and self._looked_ns - status.st_mtime_ns > FRESH_NS:
                return False
            looked_ns = time.time_ns()
            digest = hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError:
            was_there, self._stamp, self._digest = self._digest != "", None, ""
            if was_there:
                raise
            return False
        changed = digest != self._digest
        self._stamp, self._digest, self._looked_ns = stamp, digest, looked_ns
        return changed
