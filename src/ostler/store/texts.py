"""The text of every statement and every read of an engine, and of a new SQLite file, from files beside this one.

They are written in SQLAlchemy's Core (see `compose`), whose import and compiling cost a hub a fifth of a second at each
start and a third of its memory. So `make texts` writes them down, and a test says when they are not those of the code.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_origin, get_type_hints

import msgspec

from ostler.store.postgres_sets import SetText
from ostler.store.reads import Queries
from ostler.store.statements import Statements

Text = str | dict[str, Any] | list[Any]


class Texts(NamedTuple):
    """All of an engine."""

    statements: Statements
    queries: Queries


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a database where nothing is, all at once: what the migrations come to, one after the other."""

    revision: str
    """Of its schema."""
    texts: tuple[str, ...]


NEW_FILE = Path(__file__).with_name("texts_new_file.json")


@cache
def new_file() -> NewFile:
    """Read it."""
    return msgspec.json.decode(NEW_FILE.read_bytes(), type=NewFile)


def path_of(engine: str) -> Path:
    """The file of an engine, `sqlite` or `postgres`."""
    return Path(__file__).with_name(f"texts_{engine}.json")


@cache
def texts_of(engine: str) -> Texts:
    """Read them."""
    found: Texts = _read(Texts, msgspec.json.decode(path_of(engine).read_bytes()))
    return found


def written(texts: Texts | NewFile) -> bytes:
    """What the file has, a line for each text."""
    plain = texts if isinstance(texts, NewFile) else _plain(texts)
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def _plain(value: Any) -> Text:  # noqa: ANN401 - texts in tuples in named tuples
    if isinstance(value, SetText):
        return {"text": str(value), "names": list(map(str, value.names)), "unique": list(value.unique)}
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value]


def _read(kind: Any, found: Any) -> Any:  # noqa: ANN401 - as above
    if kind is str:
        return found if isinstance(found, str) else SetText(found["text"], found["names"], found["unique"])
    if get_origin(kind) is tuple:
        return tuple(_read(str, part) for part in found)
    return kind(**{name: _read(part, found[name]) for name, part in get_type_hints(kind).items()})
