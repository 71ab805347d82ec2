"""Why there is no connection: each reason in one line, with what mends it."""

import socket

import psycopg
import pytest

from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.store.errors import StoreError
from ostler.store.postgres_absence import IS_IT_THERE, WHO, unreached
from ostler.store.postgres_engine import server_version
from tests.postgres_server import PostgresServer

AT = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '
SAID: list[tuple[str, str, str]] = [
    (f'{AT}FATAL:  database "x" does not exist', 'refuses: database "x" does not exist', "createdb"),
    (f'{AT}FATAL:  role "ben" does not exist', 'refuses: role "ben" does not exist', WHO),
    (f'{AT}FATAL:  password authentication failed for user "ben"', "authentication failed", WHO),
    (f"{AT}fe_sendauth: no password supplied", "no connection: fe_sendauth: no password supplied", WHO),
    (f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.9"', 'entry for host "10.0.0.9"', "pg_hba"),
    (f"{AT}FATAL:  sorry, too many clients already", "too many clients", "max_connections"),
    (f"{AT}FATAL:  Datenbank »x« existiert nicht", "refuses: Datenbank »x« existiert nicht", IS_IT_THERE),
    (f"{AT}server does not support SSL, but SSL was required", "does not support SSL", "sslmode"),
    (
        f"{AT}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
        "no connection: Connection refused (",
        IS_IT_THERE,
    ),
    (
        'connection failed: connection to server on socket "/run/.s.PG" failed: No such file\n\tIs the server running?',
        "no connection: No such file (",
        IS_IT_THERE,
    ),
    ("failed to resolve host 'db.lan': [Errno -2] Name or service not known", "resolve host 'db.lan'", "host in hub."),
    ("connection timeout expired", "no connection: connection timeout expired (", IS_IT_THERE),
    ('connection is bad: invalid port number: "99999"', 'no connection: invalid port number: "99999" (', IS_IT_THERE),
]


@pytest.mark.parametrize(("said", "told", "remedy"), SAID)
def test_each_reason_is_one_line_with_its_remedy(said: str, told: str, remedy: str) -> None:
    """Without what the driver repeats of the address."""
    error = unreached(said, "postgresql://db.lan/x")

    assert told in str(error)
    assert remedy in error.remedy
    assert "\n" not in str(error)
    assert "connection to server" not in str(error)


@pytest.mark.parametrize(
    ("database", "user", "told"),
    [("nothere", "ostler", "createdb"), ("postgres", "nobody_here", "check user and password")],
)
def test_what_a_real_server_refuses_is_understood(
    postgres: PostgresServer, database: str, user: str, told: str
) -> None:
    """Its words are those that are looked for."""
    url = postgres.url(database).replace("ostler@", f"{user}@")

    with pytest.raises(StoreError, match="the server refuses: ") as caught:
        server_version(url)

    assert told in caught.value.remedy
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


def test_an_address_with_an_unknown_option_is_bad_input() -> None:
    """The server is not asked, so it is not to blame."""
    with pytest.raises(InvalidInputError, match=r'hub\.database: invalid URI query parameter: "colour"'):
        server_version("postgresql://ostler@127.0.0.1:9/pool?colour=red")


def test_nobody_at_the_address_is_told_as_that() -> None:
    """A port that was just free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

        with pytest.raises(OstlerError, match=r"no connection: Connection refused \(is the server running"):
            server_version(f"postgresql://ostler@127.0.0.1:{port}/pool")
