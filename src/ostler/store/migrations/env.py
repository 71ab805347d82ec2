"""Run by Alembic for each upgrade: migrates inside the transaction of the connection that it is given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
