"""The durable store: tasks, attempts, decisions, events, sessions, endpoints and tokens.

`MemoryStore` (`memory`) is the reference, `SqliteStore` (`sqlite`) the one that lasts; both satisfy the `Store` port
and pass one conformance suite. What they share is pure: `guards` says which commands are refused.

The way of a command through the SQLite store:

    apply -> queue -> writer thread (`group_commit`): everything that waits becomes one flush
          -> one transaction (`flush`): load a picture of the tasks named, walk the commands in order (`plan`),
             write one statement per kind of row (`statements`) -> commit -> answers, all at once

What is particular to SQLite is in `sqlite_engine` alone. `schema` is the one description of the tables; `migrate`
brings a file up to it.
"""
