"""Ids of gateway calls: `c-`, ten characters of time, sixteen of chance, in the letters of task ids.

Sorted as text they are in the order of their milliseconds. The shape (`live.is_call_id`) is one that no task id of ours
has, so `ostler why` knows by it what is asked about.
"""

import secrets

_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"
"""Base 32 in the order of the characters."""
_CHANCE_BITS = 80
_SHIFTS = range(5 * 25, -1, -5)


def new_call_id(now_ms: int) -> str:
    """A new id."""
    number = (now_ms << _CHANCE_BITS) | secrets.randbits(_CHANCE_BITS)
    return "c-" + "".join([_LETTERS[number >> shift & 31] for shift in _SHIFTS])
