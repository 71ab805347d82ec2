"""Where the hub is and which token opens it.

The address, first match: `--hub`, `OSTLER_HUB`, the running hub's `hub.json` in the data folder, the default address.
The token: `--token-file`, else `OSTLER_TOKEN`; never an argument, because arguments are visible to every user of the
machine.
"""

import json
import os
from pathlib import Path

from ostler.config.place import DEFAULT_URL, HUB_FILE, data_dir
from ostler.domain.errors import InvalidInputError


def hub_url(told: str | None) -> str:
    """The address of the hub. Raises `InvalidInputError` when what was told is no address."""
    if told:
        return _checked(told, "--hub")
    if environment := os.environ.get("OSTLER_HUB"):
        return _checked(environment, "environment OSTLER_HUB")
    return _running_url() or DEFAULT_URL


def token(token_file: str | None) -> str | None:
    """The token to present, if there is one. Raises `InvalidInputError`; its text never holds the token."""
    if token_file is None:
        return _one_line(os.environ.get("OSTLER_TOKEN", ""), "environment OSTLER_TOKEN") or None
    try:
        text = Path(token_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InvalidInputError(
            f"the token cannot be read: {reason}", where=f"--token-file {token_file}", remedy="name a readable file"
        ) from None
    found = _one_line(text, f"--token-file {token_file}")
    if not found:
        raise InvalidInputError("the file is empty", where=f"--token-file {token_file}", remedy="put the token in it")
    return found


def _running_url() -> str | None:
    """Address in the file of a running hub. A file that is absent, unreadable or half written names none."""
    try:
        url = json.loads((data_dir(os.environ) / HUB_FILE).read_bytes())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else None


def _checked(url: str, where: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("http", "https") or not rest.strip("/"):
        raise InvalidInputError(f"'{url}' is no address of a hub", where=where, remedy=f"write it like {DEFAULT_URL}")
    return url.rstrip("/")


def _one_line(text: str, where: str) -> str:
    """A token is one printable word: anything else could not be sent, or would smuggle in another header."""
    found = text.strip()
    if not found.isascii() or not found.isprintable() or " " in found:
        raise InvalidInputError("this is no token", where=where, remedy="a token is one word; make one anew")
    return found
