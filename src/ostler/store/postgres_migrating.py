"""Migrations of a pool in PostgreSQL. They speak Core, which nothing else of a hub needs: imported where one is due."""

from contextlib import closing

import psycopg
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from ostler.store.migrate import bring_up_to_date
from ostler.store.postgres_engine import Connection, Place, connect, explained


def upgrade(place: Place, *, migrate: bool) -> None:
    """Make the pool's schema, or bring it up to date. Raises `OstlerError`."""
    try:
        with closing(_engine(place).connect()) as connection:
            bring_up_to_date(
                connection,
                where=place.shown,
                migrate=migrate,
                alone=_alone_text(place),
                finish=_order_by_code_point,
            )
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        raise explained(error, place) from error


def _engine(place: Place) -> sa.Engine:
    return sa.create_engine("postgresql+psycopg://", creator=lambda: _for_core(place), poolclass=NullPool)


def _for_core(place: Place) -> Connection:
    connection = connect(place)
    try:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{place.schema}"')
        connection.execute(f'SET search_path TO "{place.schema}"')
    except psycopg.Error:
        connection.close()
        raise
    connection.autocommit = False
    return connection


def _alone_text(place: Place) -> str:
    """One at a time: a second hub that starts waits until the first has brought the schema up to date."""
    return f"SELECT pg_advisory_xact_lock(hashtext('schema of ostler'), hashtext('{place.schema}'))"


def _order_by_code_point(connection: sa.Connection) -> None:
    """Text is ordered and compared as everywhere else in the program, whatever the language of the database."""
    found = connection.exec_driver_sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        " AND data_type = 'text' AND coalesce(collation_name, '') <> 'C' AND table_name <> 'alembic_version'"
    )
    for table, column in found.fetchall():
        connection.exec_driver_sql(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE text COLLATE "C"')
