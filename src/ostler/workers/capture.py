"""Output of unknown length in bounded memory: the beginning and the end are kept, the middle is cut and counted.

Invariant: at most `limit_bytes` plus one fed piece are held. O(1) amortised for each byte fed.
"""

DEFAULT_LIMIT_BYTES = 256 * 1024
_UTF8_WIDTH_MAX = 4


class Capture:
    """Collects bytes; half of the limit holds the beginning, half the end."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._head_limit = limit_bytes - limit_bytes // 2
        self._tail_limit = limit_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total_bytes = 0
        """Length before cutting."""

    def feed(self, piece: bytes) -> None:
        """Add output."""
        self.total_bytes += len(piece)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        self._tail += piece
        # The slack keeps the cost of moving the tail away from small pieces.
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: len(self._tail) - self._tail_limit]

    def skip(self, count: int) -> None:
        """So many bytes came that nobody can read any more; the caller sees to it that they are of the middle."""
        self.total_bytes += count
        self._tail.clear()

    def text(self) -> str:
        """What was kept, as text: UTF-8, what is not (and NUL, which no database takes) shown as U+FFFD."""
        tail = bytes(self._tail[max(0, len(self._tail) - self._tail_limit) :])
        cut_bytes = self.total_bytes - len(self._head) - len(tail)
        if cut_bytes == 0:
            return _decoded(bytes(self._head) + tail)
        return f"{_decoded(_whole_end(self._head))}\n[... {cut_bytes} bytes cut ...]\n{_decoded(_whole_start(tail))}"

    def end(self, characters: int) -> str:
        """The newest characters, for showing progress."""
        if characters <= 0:
            return ""
        count = characters * _UTF8_WIDTH_MAX
        newest = bytes(self._tail[-count:])
        if len(newest) < count:
            newest = bytes(self._head[-(count - len(newest)) :]) + newest if self._is_joined() else newest
        return _decoded(_whole_start(newest))[-characters:]

    def _is_joined(self) -> bool:
        """Whether the tail follows the head without a cut."""
        return len(self._head) + len(self._tail) == self.total_bytes


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace").replace("\x00", "\ufffd")


def _whole_start(raw: bytes) -> bytes:
    """Without the rest of a character whose beginning was cut off."""
    skip = 0
    while skip < min(len(raw), _UTF8_WIDTH_MAX - 1) and raw[skip] & 0xC0 == 0x80:  # noqa: PLR2004 -- a UTF-8 mask
        skip += 1
    return raw[skip:]


def _whole_end(raw: bytes | bytearray) -> bytes:
    """Without the beginning of a character whose rest was cut off."""
    for back in range(1, min(len(raw), _UTF8_WIDTH_MAX - 1) + 1):
        byte = raw[-back]
        if byte & 0xC0 == 0xC0:  # noqa: PLR2004 -- a UTF-8 lead byte
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004
            return bytes(raw[:-back] if width > back else raw)
        if byte & 0x80 == 0:
            break
    return bytes(raw)
