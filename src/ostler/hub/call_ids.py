"""Ids of gateway calls: `c-`, ten characters of time, sixteen of chance, in the letters of task ids.

Sorted as text they are in the order of their milliseconds. The shape (`live.is_call_id`) is one that no task id of ours
has, so `ostler why` knows by it what is asked about.
"""

import secrets
from functools import lru_cache

_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"
"""Base 32 in the order of the characters."""
_CHANCE_CHARS = 16
_DRAWS = 256
_SHIFTS = range(5 * 7, -1, -5)
_ENDS = tuple(first + second for first in _LETTERS for second in _LETTERS)
"""The last two letters of the time."""
_LETTER_OF_BYTE = bytes(ord(_LETTERS[byte % 32]) for byte in range(256))


class _Chance:
    """Letters of chance, drawn from the system many at once: one draw for each call costs as much as its decision."""

    def __init__(self) -> None:
        self._letters = ""
        self._used = 0

    def take(self) -> str:
        """As many as an id has, which nobody had before."""
        if self._used >= len(self._letters):
            self._letters = secrets.token_bytes(_CHANCE_CHARS * _DRAWS).translate(_LETTER_OF_BYTE).decode()
            self._used = 0
        start, self._used = self._used, self._used + _CHANCE_CHARS
        return self._letters[start : self._used]


_chance = _Chance()


def new_call_id(now_ms: int) -> str:
    """A new id."""
    return _begin(now_ms >> 10) + _ENDS[now_ms & 1023] + _chance.take()


@lru_cache(maxsize=8)
def _begin(about_s: int) -> str:
    """The letters that stay for 1,024 ms."""
    return "c-" + "".join([_LETTERS[about_s >> shift & 31] for shift in _SHIFTS])
