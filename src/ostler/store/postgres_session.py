"""The writer's connection to PostgreSQL: who may write, what goes over the wire when, and whether a commit happened.

    begin, with the writer's row locked, and the first look  ->  looks  ->  all that is written, and the commit

Each of these goes in one message or in one row of them. So a flush of one command asks the server twice, however much
it writes: over a network that is what it costs. Nothing is looked at before it is known that this is still the writer.
Nothing that is on its way is trusted before the commit's answer. Where a statement fails, the server passes over all
that comes after it in the same go, the commit as well; which is why it must judge itself whether a guarded change met
its rows (`SetText.counted`). A look between two writes sends what is waiting first.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import psycopg

from ostler.store.errors import CannotBeginError, FencedError
from ostler.store.postgres_engine import (
    PATIENCE_S,
    Connection,
    Lost,
    Place,
    always,
    begin_text,
    transaction,
    waited_for,
)
from ostler.store.postgres_sets import SetText
from ostler.store.rows import Row

_LOCKED = "SELECT epoch, flush FROM writer FOR NO KEY UPDATE"
"""Waits for the transaction of a connection that is gone, which may still be committing."""


class PostgresSession:
    """The connection that writes; see `flush.Session` and the module. `lost` is asked before each transaction.

    It has a cursor for looks and one for what is written: the answer of a statement that is on its way would pass for
    that of a look after it. A third one spells the first look, since one message has no parameters beside its text.
    """

    _connection: Connection
    _pipeline: AbstractContextManager[psycopg.Pipeline] | None
    """Open while something is on its way."""
    _looking: psycopg.Cursor[tuple[Any, ...]]
    _writing: psycopg.Cursor[tuple[Any, ...]]
    _spelling: psycopg.ClientCursor[tuple[Any, ...]]

    def __init__(
        self,
        place: Place,
        connection: Connection,
        epoch: int,
        patience_s: float = PATIENCE_S,
        lost: Lost = always,
    ) -> None:
        self._place = place
        self._take(connection)
        self._lost = lost
        self._epoch = epoch
        self._patience_s = patience_s
        # The row stays ours until the end of the transaction: who wants to take over waits for it.
        self._begin = f"{begin_text(place)}; {_LOCKED}"
        self._to_begin = False
        """A transaction was begun, and the server has not been told."""
        self._broke = False
        with transaction(connection, place) as cursor:
            found = cursor.execute("SELECT epoch, flush, last_event_seq FROM writer").fetchone()
        if found is None or found[0] != epoch:
            raise FencedError(place.shown)
        self._flush: int = found[1]
        """The last one that is known to have been committed."""
        self._last_event_seq: int = found[2]

    def last_event_seq(self) -> int:
        """Number of the newest event ever written."""
        return self._last_event_seq

    def begin(self) -> None:
        """Begin a transaction; the server is told with its first question. Raises `CannotBeginError`, as that does,
        because of a `FencedError` where this is the writer no longer.
        """
        self._broke, self._to_begin = False, True
        try:
            self._check_right()
        except FencedError as error:
            raise CannotBeginError from error

    def _begun(self, look: str = "") -> None:
        """Tell the server, on a new connection if the last one broke, and ask the first question with it."""
        self._to_begin = False
        text = f"{self._begin}; {look}".encode()
        try:
            if self._connection.closed:
                self._reconnect()
            try:
                self._looking.execute(text)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
                self._reconnect()  # the server was restarted since the last flush
                self._looking.execute(text)
            self._check_fence()
        except psycopg.DataError:
            raise  # of the question
        except (psycopg.Error, FencedError) as error:
            raise CannotBeginError from error

    def _check_right(self) -> None:
        if reason := self._lost():
            raise FencedError(self._place.shown, reason)

    def _check_fence(self) -> None:
        while self._looking.description is None:  # of what only begins and sets there is nothing to see
            if not self._looking.nextset():
                raise FencedError(self._place.shown)
        epoch, flush = self._looking.fetchone() or (None, None)
        if (epoch, flush) == (self._epoch, self._flush):
            return
        self.rollback()
        if epoch == self._epoch:  # all that is known here is older than what is stored
            raise FencedError(self._place.shown, "its last commit happened, and nobody could tell it so")
        raise FencedError(self._place.shown)

    def look(self, text: str, parameters: Sequence[str | int] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        """Ask."""
        if not self._to_begin:
            return self._looking.execute(text.encode(), parameters)
        self._begun(self._spelling.mogrify(text.encode(), parameters))
        self._looking.nextset()
        return self._looking

    def many(self, text: str, parameters: list[Row]) -> None:
        """Put a statement for each row on its way, in one go where it can be."""
        if isinstance(text, SetText):
            self._write(text, (text.parameter(parameters),))
        else:
            self._pipelined().executemany(text, parameters)

    def exactly(self, text: str, parameters: list[Row]) -> None:
        """The same for one that changes a row for each."""
        if not isinstance(text, SetText):
            raise TypeError(text)  # nobody would count
        self._write(text.counted, (text.parameter(parameters), len(parameters)))

    def commit(self, last_event_seq: int) -> None:
        """Make it durable. Nothing is committed where anything before it failed: the server passes over the rest."""
        try:
            self._write("UPDATE writer SET flush = %s, last_event_seq = %s", (self._flush + 1, last_event_seq))
            self._write("COMMIT", ())
            self._all_answered()
        except psycopg.OperationalError:
            self._broke = self._connection.closed
            if not self._broke or not self._happened():
                raise
        self._flush += 1

    def _write(self, text: str, parameters: Row) -> None:
        self._pipelined().execute(text.encode(), parameters)

    def _pipelined(self) -> psycopg.Cursor[tuple[Any, ...]]:
        """For what is only to be written."""
        if self._to_begin:
            self._begun()
        if self._pipeline is None:
            self._pipeline = self._connection.pipeline()
            self._pipeline.__enter__()
        return self._writing

    def _all_answered(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.__exit__(None, None, None)

    def _happened(self) -> bool:
        """Whether the commit whose answer got lost is in the database."""
        self._reconnect()
        with transaction(self._connection, self._place) as cursor:
            return cursor.execute(_LOCKED).fetchone() == (self._epoch, self._flush + 1)

    def rollback(self) -> None:
        """Undo it; a connection that broke has undone it."""
        if self._to_begin:
            self._to_begin = False
            return
        with suppress(psycopg.Error):  # whoever rolls back knows of one already
            self._all_answered()
        self._broke = self._broke or self._connection.closed
        with suppress(psycopg.OperationalError):
            self._connection.execute("ROLLBACK")

    def lost(self) -> bool:
        """Whether the connection broke."""
        return self._broke

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _reconnect(self) -> None:
        self._connection.close()
        self._take(waited_for(self._place, self._patience_s, self._lost))

    def _take(self, connection: Connection) -> None:
        self._connection = connection
        self._pipeline = None
        self._looking = connection.cursor()
        self._writing = connection.cursor()
        self._spelling = psycopg.ClientCursor(connection)
