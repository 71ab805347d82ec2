"""What comes with Ostler about the words of types of work, so that a new hub tells them apart from its first task."""

from functools import lru_cache
from importlib.resources import files

import msgspec

from ostler.learning.kinds import KindModel, Reader

FILE = "kinds.json"


@lru_cache(maxsize=1)
def shipped_kinds() -> KindModel:
    """The weights inside the package, made by `scripts/train_types.py`. Not to be changed: copy it to learn more."""
    return msgspec.json.decode((files("ostler.learning") / FILE).read_bytes(), type=KindModel)


@lru_cache(maxsize=1)
def shipped_reader() -> Reader:
    """What the weights alone say."""
    return shipped_kinds().reader()
