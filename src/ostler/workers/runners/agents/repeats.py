"""Whether an agent gets on: how often in a row it did the very same thing and got the very same answer. Pure.

An action is a call of a tool and its answer, whole: asking again what gives another answer is progress. Counted are
actions that repeat each other (A A A) and pairs that do (A B A B), the longest such end of the run. O(1) for each.
"""

import hashlib

import msgspec

Fingerprint = bytes


def fingerprint(value: object) -> Fingerprint:
    """Equal for equal words, however long they are."""
    plain = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return hashlib.blake2b(plain.encode(errors="replace"), digest_size=16).digest()


class Repeats:
    """Counts the actions of one run."""

    def __init__(self) -> None:
        self._asked: dict[str, Fingerprint] = {}
        self._last: Fingerprint | None = None
        self._last_but_one: Fingerprint | None = None
        self._same = 0
        self._in_turn = 0

    def called(self, call_id: str, asked: Fingerprint) -> None:
        """A tool was asked for something."""
        self._asked[call_id] = asked

    def answered(self, call_id: str, answer: Fingerprint) -> None:
        """It answered: the action is whole."""
        asked = self._asked.pop(call_id, None)
        if asked is None:
            return
        action = asked + answer
        self._same = self._same + 1 if action == self._last else 1
        in_turn = action == self._last_but_one and action != self._last
        self._in_turn = self._in_turn + 1 if in_turn else 0
        self._last_but_one, self._last = self._last, action

    @property
    def count(self) -> int:
        """How often the last action, or the last two in turn, came in a row."""
        return max(self._same, (self._in_turn + 2) // 2 if self._in_turn else 0)
