"""Results of needed tasks for a command: files in a private folder that is gone when the command is.

    OSTLER_RESULTS            the folder; one file for each result, named by the id of its task
    OSTLER_RESULT_<ID>        the path of one of them; ID in capitals, every other character than a letter or digit as _
    OSTLER_RESULTS_MISSING    ids without a result, separated by commas: optional tasks that did not succeed

A result is data of another program, maybe of a model: it is never part of an argument vector nor of the environment
itself, where it could be read by others, be taken for an option, or be too long to start anything.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from ostler.domain.work import NeedResult

FOLDER_ENV = "OSTLER_RESULTS"
FILE_ENV = "OSTLER_RESULT_"
MISSING_ENV = "OSTLER_RESULTS_MISSING"


@contextmanager
def result_files(results: Sequence[NeedResult], place: Path | None = None) -> Iterator[Mapping[str, str]]:
    """Write the files; the variables that say where they are. Nothing at all when there are no results.

    `place`: a folder whose owner takes it away, so that a command that outlives this daemon has them still.
    """
    if not results:
        yield {}
        return
    with _folder(place) as folder:
        env = {FOLDER_ENV: folder}
        missing = [result.name for result in results if result.output is None]
        if missing:
            env[MISSING_ENV] = ",".join(missing)
        names = Counter(variable(result.name) for result in results)
        for result in results:
            if result.output is None:
                continue
            path = Path(folder, file_name(result.name))
            path.write_text(result.output, encoding="utf-8", errors="surrogateescape")
            if names[variable(result.name)] == 1:  # two ids of one spelling: neither is guessed
                env[variable(result.name)] = str(path)
        yield env


@contextmanager
def _folder(place: Path | None) -> Iterator[str]:
    if place is None:
        with tempfile.TemporaryDirectory(prefix="ostler-results-") as folder:
            yield folder
    else:
        place.mkdir(exist_ok=True, mode=0o700)
        yield str(place)


def variable(name: str) -> str:
    """The variable of a result.

    >>> variable("chief-architect.v2")
    'OSTLER_RESULT_CHIEF_ARCHITECT_V2'
    """
    return FILE_ENV + re.sub(r"[^A-Z0-9]", "_", name.upper())


def file_name(name: str) -> str:
    """The file of a result: its id, with what no file name may hold written as %XX.

    >>> file_name("build"), file_name("a/b"), file_name("..")
    ('build', 'a%2Fb', '%2E%2E')
    """
    quoted = quote(name, safe="@:+=,~")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted
