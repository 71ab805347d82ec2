"""A small disk of our own that can be full: a tmpfs in a mount namespace, so that nothing outlives the process.

`python -m tests.crash` starts itself anew inside such a namespace. A disk is made full by shrinking it to what it
holds, and has room again by growing it: no ballast is written, and nobody else can take the last page first.
"""

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

INSIDE = "OSTLER_CRASH_INSIDE"
_REMOUNT = 32
_ROOM_BYTES = 2 << 30
_TRIES = 20
# As root the ids are kept; any other user becomes who they are with the right to mount, in a namespace of their own.
_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-current-user", "--keep-caps")
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter(arguments: list[str]) -> str:
    """Start this program again inside a namespace; returns only where that cannot be, with the reason."""
    probing = [*_UNSHARE, sys.executable, "-m", "tests.crash.disk"]
    try:
        done = subprocess.run(probing, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no mount namespace here: {error}"
    if done.returncode == 0:
        again = [*_UNSHARE, sys.executable, "-m", "tests.crash", *arguments]
        os.execvpe(_UNSHARE[0], again, os.environ | {INSIDE: "1"})  # noqa: S606 -- ourselves
    return f"no mount namespace here: {''.join(done.stderr.strip().splitlines()[-1:])}"


class SmallDisk:
    """A file system at a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount(_ROOM_BYTES, 0)
        self.is_full = False

    def fill(self) -> None:
        """From now on nothing more fits. Between measuring and shrinking it something may have been written: then it is
        measured again.
        """
        for tries_left in reversed(range(_TRIES)):
            found = os.statvfs(self.folder)
            try:
                self._mount((found.f_blocks - found.f_bfree) * found.f_frsize, _REMOUNT)
            except OSError as error:
                if error.errno != errno.EINVAL or not tries_left:
                    raise
            else:
                break
        self.is_full = True

    def free(self) -> None:
        """There is room again."""
        self._mount(_ROOM_BYTES, _REMOUNT)
        self.is_full = False

    def _mount(self, size_bytes: int, flags: int) -> None:
        options = f"size={max(4096, size_bytes)},mode=0777".encode()
        if _LIBC.mount(b"tmpfs", str(self.folder).encode(), b"tmpfs", flags, options) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.folder))


def probe(folder: Path) -> None:
    """Fail where a disk cannot be made, filled and freed."""
    disk = SmallDisk(folder)
    (folder / "held").write_bytes(b"x" * 100_000)
    disk.fill()
    try:
        (folder / "more").write_bytes(b"x" * 100_000)
    except OSError:
        disk.free()
        (folder / "more").write_bytes(b"x" * 100_000)
        return
    raise OSError("a full disk took more")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        probe(Path(made) / "disk")
        _LIBC.umount2(str(Path(made) / "disk").encode(), 2)
