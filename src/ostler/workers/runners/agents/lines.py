"""Bytes of any cut to whole lines, and lines to JSON objects that are read without trust.

A line may be as long as a file that an agent has read; beyond `LINE_MAX_BYTES` it is dropped and counted. What is no
JSON object (notices, warnings, half a line at the end) is none of the program's events and is passed over.
"""

from collections.abc import Iterator, Mapping

import msgspec

LINE_MAX_BYTES = 64 * 1024 * 1024

Fields = Mapping[str, object]
NOTHING: Fields = {}


class LineCutter:
    """Cuts a stream into lines. O(1) amortised for each byte."""

    def __init__(self, limit_bytes: int = LINE_MAX_BYTES) -> None:
        self._limit = limit_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self._too_long = False
        self.dropped = 0
        """Lines that were too long."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that are whole now, without their ends."""
        *whole, rest = piece.split(b"\n")
        for part in whole:
            self._hold(part)
            yield from self._take()
        self._hold(rest)

    def end(self) -> Iterator[bytes]:
        """The last line when it had no end."""
        yield from self._take()

    def _hold(self, part: bytes) -> None:
        if self._held + len(part) > self._limit:
            self._too_long = True
            self._parts, self._held = [], 0
        if part and not self._too_long:
            self._parts.append(part)
            self._held += len(part)

    def _take(self) -> Iterator[bytes]:
        line, self._parts, self._held = b"".join(self._parts).rstrip(b"\r"), [], 0
        if self._too_long:
            self.dropped += 1
            self._too_long = False
        elif line:
            yield line


def fields_of(line: bytes) -> Fields | None:
    """A line as a JSON object; `None` when it is none."""
    text = line.strip()
    if not text.startswith(b"{"):
        return None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def inner(fields: Fields, *path: str) -> Fields:
    """An object inside an object; empty when it is not there."""
    for name in path:
        found = fields.get(name)
        if not isinstance(found, dict):
            return NOTHING
        fields = found
    return fields


def items(fields: Fields, name: str) -> list[Fields]:
    """The objects of a list."""
    found = fields.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text(fields: Fields, name: str) -> str:
    """A text; empty when it is not there."""
    found = fields.get(name)
    return found if isinstance(found, str) else ""


def count(fields: Fields, name: str) -> int:
    """A count of something; 0 when it is not there or not one."""
    found = fields.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return 0
    return int(found) if 0 <= found < 2**53 else 0


def micro_usd(fields: Fields, name: str) -> int | None:
    """Dollars as micro-dollars; `None` when it is not there."""
    found = fields.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 2**33:
        return None
    return round(found * 1_000_000)
