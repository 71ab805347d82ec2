"""The files that pages need: read once, with a name that changes when they do, so that browsers may keep them."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from starlette.responses import Response

from ostler.domain.errors import NotFoundError

FOLDER = Path(__file__).parent / "static"
TYPES: Mapping[str, str] = MappingProxyType(
    {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
)


@cache
def content(name: str) -> bytes:
    """The bytes of a file. Raises `NotFoundError`."""
    path = FOLDER / name
    if path.suffix not in TYPES or path.parent != FOLDER or not path.is_file():
        raise NotFoundError("there is no such file", where=name)
    return path.read_bytes()


@cache
def stamp() -> str:
    """Changes with any of the files; part of the addresses that pages have of them."""
    digest = hashlib.blake2s(digest_size=6)
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def asset(name: str) -> Response:
    """A file. Its address has a stamp, so it may be kept for ever."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(content(name), media_type=TYPES[Path(name).suffix], headers=headers)
