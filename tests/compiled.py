"""Files of tests are compiled once for all processes that run them.

pytest rewrites every assertion of a file when it imports it: most of the time that it takes to collect the tests. It
keeps what comes of that beside the file, but processes that begin together come to each file together, and all of them
do all of the work. So each compiles a part of the files first, and finds the others compiled when it comes to them.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

FOLDER = Path(__file__).resolve().parent


def kept(file: Path) -> Path:
    """Where pytest looks for a compiled file."""
    return rewrite.get_cache_dir(file) / f"{file.name.removesuffix('.py')}{rewrite.PYC_TAIL}"


def files_of(arguments: Iterable[str], start: Path) -> list[Path]:
    """The files of tests that are named on a command line in a folder: by themselves, by a test in them, or by a
    folder that they are in.
    """
    named = [(start / argument.partition("::")[0]).resolve() for argument in arguments]
    return [file for file in sorted(FOLDER.rglob("test_*.py")) if any(file.is_relative_to(one) for one in named)]


def part_of(files: list[Path], part: int, parts: int) -> list[Path]:
    """Those that process `part` of `parts` compiles."""
    return files[part::parts]


def compile_file(file: Path, config: pytest.Config) -> None:
    """Compile a file as pytest would, where that has not been done since it was changed."""
    place = kept(file)
    if rewrite.try_makedirs(place.parent) and rewrite._read_pyc(file, place) is None:
        source_hash, code = rewrite._rewrite_test(file, config)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, place)


def compile_part(config: pytest.Config, part: int, parts: int) -> None:
    """Compile a part of the files that are to run, unless nothing is to be kept (`PYTHONDONTWRITEBYTECODE`)."""
    if not sys.dont_write_bytecode:
        for file in part_of(files_of(config.args, config.invocation_params.dir), part, parts):
            compile_file(file, config)
