"""Small state in a file that several programs share: whole or not at all, and one change after the other.

A change reads, changes and writes under a lock on a file beside it, so that no change is lost. The new text is written
elsewhere, made durable, then put in the place of the old one: a reader sees one or the other. The text before stays as
`NAME.previous`. Each text carries a version that rises by one, and a checksum: what is torn, or was edited by hand and
does not fit its checksum, is not believed. Then the text before is used, and `recovered` says so; when that is no good
either, it is an error, never an empty state.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ostler.domain.errors import ConflictError
from ostler.store.errors import StoreError

LOCK_WAIT_S = 10.0
_LOOK_S = 0.005


class _Text(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    sha256: str
    body: msgspec.Raw


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    version: int = 0
    """0 = there is no file yet."""
    body: bytes | None = None
    """JSON text."""
    recovered: bool = False
    """The newest text could not be believed; this is the one before it."""


class StateFile:
    """One file. `kind` names what is in it, so that another program's file is not taken for it."""

    def __init__(self, path: str | Path, kind: str) -> None:
        self.path = Path(path)
        self._kind = kind
        self._previous = self.path.with_name(self.path.name + ".previous")

    def read(self) -> Stored:
        """The newest text. Raises `StoreError` when there is one that cannot be believed, nor the one before it."""
        found, problem = self._text(self.path)
        if found is not None:
            return found
        before, _ = self._text(self._previous)
        if before is not None:
            return msgspec.structs.replace(before, recovered=True)
        if problem:
            remedy = f"repair it, or move it away to begin anew; so with {self._previous.name}"
            raise StoreError(f"{problem}, and there is no good copy", where=str(self.path), remedy=remedy)
        return Stored()

    def change(self, step: Callable[[bytes | None], bytes]) -> Stored:
        """Put what `step` makes of the text (`None`: there is none yet) in its place; nobody else changes it meanwhile.

        Raises `StoreError` as `read`, and when it cannot be written; `ConflictError` when the lock cannot be had.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                before = self.read()
                body = step(before.body)
                if body == before.body and not before.recovered:
                    return before
                found = Stored(version=before.version + 1, body=body)
                self._write(found, body)
                return found
        except OSError as error:
            raise StoreError(f"cannot be written: {error.strerror or error}", where=str(self.path)) from error

    def _text(self, path: Path) -> tuple[Stored | None, str]:
        """What a file holds, or why it cannot be believed; neither when there is none."""
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            raise StoreError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
        try:
            text = msgspec.json.decode(raw, type=_Text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None, "the file is torn"
        body = bytes(text.body)
        if text.format != self._kind:
            return None, f"the file holds {text.format}, not {self._kind}"
        if text.sha256 != _sum(text.version, body):
            return None, "the file is torn or was edited: its checksum does not fit"
        return Stored(version=text.version, body=body), ""

    def _write(self, stored: Stored, body: bytes) -> None:
        text = _Text(
            format=self._kind, version=stored.version, sha256=_sum(stored.version, body), body=msgspec.Raw(body)
        )
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(text))
                file.flush()
                os.fsync(file.fileno())
            if self._text(self.path)[0] is not None:
                kept = partial.with_suffix(".kept")
                kept.unlink(missing_ok=True)
                kept.hardlink_to(self.path)
                kept.replace(self._previous)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            until = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        what = f"another program has kept its lock for {LOCK_WAIT_S:.0f} s"
                        raise ConflictError(what, where=str(self.path), remedy="stop that program") from None
                    time.sleep(_LOOK_S)
            yield
        finally:
            os.close(descriptor)


def _sum(version: int, body: bytes) -> str:
    return hashlib.sha256(b"%d\n%s" % (version, body)).hexdigest()
