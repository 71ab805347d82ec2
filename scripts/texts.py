"""Write the texts of all statements and reads anew, and those of a new file.

The former come from tables and queries that are written in Core, the latter from the migrations. A test fails when they
are not those of the code.
"""

import tempfile
from pathlib import Path

from ostler.store.compose import ENGINES, composed, composed_new_file
from ostler.store.texts import NEW_FILE, path_of, written


def main() -> None:
    """Write a file for each engine, and say which."""
    for engine in ENGINES:
        path_of(engine).write_bytes(written(composed(engine)))
        print(path_of(engine))
    with tempfile.TemporaryDirectory() as folder:
        NEW_FILE.write_bytes(written(composed_new_file(Path(folder) / "new.db")))
    print(NEW_FILE)


if __name__ == "__main__":
    main()
