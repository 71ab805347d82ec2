"""What the gateway needs of a request and its connection. `ostler.server.request.Request` is one."""

from collections.abc import Callable, Mapping
from typing import Protocol


class Line(Protocol):
    """A request to be answered once, and the client behind it."""

    method: str
    path: str
    """Without the query, percent signs resolved."""
    query: bytes
    client: tuple[str, int] | None
    """Where the client is."""

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """Headers; names in lower case."""
        ...

    gone: bool
    """The client has gone before its answer was sent."""
    on_gone: Callable[[], None] | None
    """Called when it goes."""

    async def body(self, limit_bytes: int, limit_s: float) -> bytes:
        """The whole body. Raises what `ostler.server.request` says."""
        ...

    async def answer(self, status: int, lines: bytes, body: bytes = b"") -> None:
        """A whole answer; `lines` are its headers as bytes, its length is added."""
        ...

    async def start(self, status: int, lines: bytes) -> None:
        """The head of an answer that comes in pieces."""
        ...

    async def write(self, data: bytes) -> None:
        """A piece; waits while the client does not read."""
        ...

    async def finish(self, data: bytes = b"") -> None:
        """The last piece."""
        ...
