"""Migrations of the schema, run by `ostler.store.migrate`."""
