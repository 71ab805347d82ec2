"""How much a model is to read of a request that is only looked at, and whether pictures are in it. Pure.

Decoded are the kinds of parts; their texts stay unread bytes. The data of pictures and files does not count, for
megabytes of base64 are few tokens.
"""

from collections.abc import Iterable

import msgspec


class Part(msgspec.Struct):
    """A part of a content, of which only kind and text are looked at."""

    type: str = ""
    text: msgspec.Raw = msgspec.Raw()


Content = str | list[Part] | None

_PICTURES = frozenset({"image_url", "input_image"})


def measure(contents: Iterable[Content]) -> tuple[bool, int]:
    """Whether there are images, and about how many characters are read."""
    images, chars = False, 0
    for content in contents:
        if isinstance(content, str):
            chars += len(content)
        elif content:
            for part in content:
                images = images or part.type in _PICTURES
                chars += unread(part.text)
    return images, chars


def unread(raw: msgspec.Raw) -> int:
    """Bytes of a value that was not decoded."""
    return len(memoryview(raw))
