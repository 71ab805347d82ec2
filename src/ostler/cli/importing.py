"""`ostler config import`: read the files, check what came of them as profile and pipeline, write it."""

import os
from collections.abc import Mapping
from pathlib import Path

from ostler.cli.taskfile import parse_task_file
from ostler.config.foreign import read_foreign
from ostler.config.importing import Imported, import_trees
from ostler.config.load import load_source, load_text
from ostler.config.sources import DEFAULT, Source, built_in
from ostler.domain.errors import InvalidInputError

PROFILE, PIPELINE = "ostler.yaml", "pipeline.yaml"


def imported(files: tuple[str, ...]) -> Imported:
    """What comes of the files. Raises `ProfileError` with every mistake, also where the result would not be valid."""
    trees = [(file, read_foreign(file)) for file in files]
    bare: Mapping[str, str] = {name: value for name, value in os.environ.items() if not name.startswith("OSTLER_")}
    known = load_source(built_in(DEFAULT), bare, Path.cwd()).policy.catalog
    found = import_trees(trees, known)
    source = Source(path=Path.cwd() / PROFILE, label=f"imported {PROFILE}", name=Path(PROFILE).stem)
    load_text(found.profile, source, bare, Path.cwd())
    if found.pipeline is not None:
        parse_task_file(found.pipeline, f"imported {PIPELINE}")
    return found


def written(found: Imported, folder: str) -> list[Path]:
    """Write the files into a folder, which is made if need be: all of them or none.

    Refuses when one of them is there already.
    """
    wanted = {Path(folder) / PROFILE: found.profile}
    if found.pipeline is not None:
        wanted[Path(folder) / PIPELINE] = found.pipeline
    for path in wanted:
        if path.exists():
            remedy = "move it away, or choose another folder"
            raise InvalidInputError("the file is there already; nothing was written", where=str(path), remedy=remedy)
    begun: list[Path] = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            with path.open("x", encoding="utf-8") as file:
                begun.append(path)
                file.write(text)
    except OSError as error:
        for path in begun:
            path.unlink(missing_ok=True)
        raise InvalidInputError(f"cannot be written: {error.strerror or error}", where=folder) from None
    return list(wanted)
