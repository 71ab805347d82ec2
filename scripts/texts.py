"""Write the texts of all statements and reads anew, from the tables and queries that are written in Core.

A test fails when they are not those of the code.
"""

from ostler.store.compose import ENGINES, composed
from ostler.store.texts import path_of, written


def main() -> None:
    """Write a file for each engine, and say which."""
    for engine in ENGINES:
        path_of(engine).write_bytes(written(composed(engine)))
        print(path_of(engine))


if __name__ == "__main__":
    main()
