"""Why there is no connection to a PostgreSQL database, for people.

The driver has no code for what keeps a connection from coming about, only words: its own, which are in English, or
those of the server after `FATAL:`. They are read for signs of what can be mended where the address is written. Words
that are not known, or not English, are shown as they are, with the general remedy.
"""

import re

from ostler.store.errors import StoreError

IS_IT_THERE = "is the server running, and reachable from here? Nothing that was acknowledged is lost"
WHO = "check user and password in hub.database, or PGPASSWORD and ~/.pgpass"

_REMEDIES = (
    (re.compile(r'database ".*" does not exist'), "make it with 'createdb NAME', or correct its name in hub.database"),
    (re.compile(r'role ".*" does not exist|authentication failed|no password supplied|password is required'), WHO),
    (re.compile(r"no pg_hba\.conf entry"), "let this user in from here: a line in the server's pg_hba.conf"),
    (re.compile(r"too many (clients|connections)|connection slots"), "raise max_connections of the server"),
    (re.compile(r"resolve host|translate host"), "correct the name of the host in hub.database"),
    (re.compile(r"support SSL|SSL (error|was required)|certificate"), "see sslmode in hub.database"),
)
_HOW_ASKED = re.compile(
    r'connection (failed|is bad): (connection to server (at|on socket) ".*?"( \(.*?\))?(, port \d+)? failed: )?'
)
"""The driver repeats the address, which stands before the message anyway."""
_DOUBT = re.compile(r"\s*Is the server running[^?]*\?")


def unreached(said: str, where: str) -> StoreError:
    """What a caller is told, from what the driver said.

    >>> print(unreached("connection failed: FATAL:  sorry, too many clients already", "db.lan/x"))
    db.lan/x: the server refuses: sorry, too many clients already (raise max_connections of the server)
    """
    text = " ".join(_DOUBT.sub("", _HOW_ASKED.sub("", said)).split())
    _, refused, reason = text.partition("FATAL: ")
    what = f"the server refuses: {reason}" if refused else f"no connection: {text}"
    remedy = next((remedy for sign, remedy in _REMEDIES if sign.search(text)), IS_IT_THERE)
    return StoreError(what, where=where, remedy=remedy)
