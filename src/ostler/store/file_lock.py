"""One process for one database file: an exclusive lock on a file beside it.

The lock belongs to the open file, not to the process, so that a second store in the same process is refused too. The
system drops it when the holder dies, however it dies; the file itself stays, because removing it would let two
processes each lock a file of that name. It does not protect against programs that ignore it.
"""

import fcntl
import os
from pathlib import Path

from ostler.domain.errors import ConflictError


class FileLock:
    """Holds the lock from construction until `release`. Raises `ConflictError` when somebody else has it."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise ConflictError(
                "the database is in use by " + (f"process {holder}" if holder else "another process"),
                where=str(database),
                remedy="stop that hub first, or give this one a database of its own",
            ) from None
        except BaseException:
            os.close(self._descriptor)
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in. Safe to repeat."""
        if self._descriptor >= 0:
            # Closing alone would not do while a program that is just being started still has a copy of the descriptor.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1
