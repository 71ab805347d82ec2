"""`data:` URLs, in which OpenAI's formats carry images and files, to media type and base64 and back. Pure."""

import base64
import binascii

from ostler.domain.errors import InvalidInputError
from ostler.wire.talk import Document, Json

PLAIN = "text/plain"

_HEAD_MAX = 200
"""A media type with its parameters is far shorter; megabytes of data are not searched for a comma."""


def data_url(media_type: str, data: str) -> str:
    """Base64 data as a URL.

    >>> data_url("image/png", "aGk=")
    'data:image/png;base64,aGk='
    """
    return f"data:{media_type};base64,{data}"


def from_data_url(url: str, where: str, default_type: str) -> tuple[str, str]:
    """Media type and base64 data of a `data:` URL. Raises `InvalidInputError`.

    >>> from_data_url("data:image/png;base64,aGk=", "", "image/jpeg")
    ('image/png', 'aGk=')
    """
    comma = url.find(",", 0, _HEAD_MAX)
    head = url[len("data:") : comma].split(";") if comma >= 0 else [""]
    if head[-1].strip().lower() != "base64":
        remedy = "write it as data:image/png;base64,... (or give an https:// address)"
        raise InvalidInputError("is no base64 data URL", where=where, remedy=remedy)
    return head[0].strip().lower() or default_type, url[comma + 1 :]


def document(data: str, where: str, *, name: str, cache: Json | None) -> Document:
    """A file that came as a `data:` URL, or as bare base64 (then a PDF). Plain text is given as text."""
    media_type = "application/pdf"
    if data.startswith("data:"):
        media_type, data = from_data_url(data, where, media_type)
    if media_type == PLAIN:
        try:
            data = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise InvalidInputError("is no base64 of text in UTF-8", where=where) from error
    return Document(media_type=media_type, data=data, name=name, cache=cache)


def document_url(part: Document) -> str:
    """The content of a document as a `data:` URL."""
    if part.media_type == PLAIN:
        return data_url(PLAIN, base64.b64encode(part.data.encode()).decode())
    return data_url(part.media_type or "application/pdf", part.data)
