"""Heads of answers as bytes: the status line, the date, the lines of the headers.

What goes into a line may have come from outside (the name of a model that an endpoint listed), so a line break in it
would make two headers of one. Lines are joined first and looked at once, as a whole: only when the count of line breaks
is not that of the lines, each is cleaned by itself.
"""

import http
import re
import time
from collections.abc import Collection, Mapping
from email.utils import formatdate

_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS: Mapping[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return _STATUS.get(status) or f"HTTP/1.1 {status} \r\n".encode()


def header_lines(headers: Collection[tuple[str, str]]) -> bytes:
    r"""Headers as they stand in a head, each with its line end. What is not Latin-1 becomes a question mark.

    >>> header_lines([("content-type", "text/plain"), ("x-name", "two\nlines")])
    b'content-type: text/plain\r\nx-name: two lines\r\n'
    """
    if not headers:
        return b""
    lines = ("\r\n".join(map(": ".join, headers)) + "\r\n").encode("latin-1", "replace")
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        clean = [f"{_BREAKS.sub(' ', name)}: {_BREAKS.sub(' ', value)}\r\n" for name, value in headers]
        lines = "".join(clean).encode("latin-1", "replace")
    return lines


class DateLine:
    """The `date` header; made anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def __call__(self) -> bytes:
        """The line as of now."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line
