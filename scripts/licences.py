"""Write docs/reference/dependencies.md: what an installation brings along, under which licences, and why.

Names come from pyproject.toml and requirements/core.lock, licences from the metadata of the installed packages. A test
fails when the page is not up to date, when a licence is in no list below, or when nobody says what a package is for.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "dependencies.md"

ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "PSF-2.0", "Unlicense", "Zlib"}
)
"""Licences that any package may have: permissive ones."""
EXCEPTIONS: Mapping[str, str] = MappingProxyType({"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"})
"""Others, by package: of an extra that is installed beside the program, unchanged, and can be replaced."""

WHY: Mapping[str, str] = MappingProxyType(
    {
        "aiohttp": "calls of endpoints over TLS, and remote workers; imported when the first is made",
        "alembic": "the one line of migrations of the store",
        "click": "the command line",
        "gguf": "makes the tiny weights of the real engine",
        "httptools": "the parser of HTTP/1.1, of our server and of our client",
        "jinja2": "templates of the dashboard; imported when somebody looks",
        "llama-cpp-python": "the real engine, compiled here",
        "msgspec": "records, JSON and their validation",
        "numpy": "arrays of the tiny weights",
        "ortools": "the exact solver, in a process of its own",
        "psutil": "load and memory of hosts, and processes of agents",
        "psycopg": "speaks to PostgreSQL",
        "rich": "tables and the full-screen view in the terminal",
        "ruamel.yaml": "reads profiles and task files with the place of each value",
        "sqlalchemy": "the schema and its statements for both databases",
        "starlette": "routes of the hub's API and pages",
        "structlog": "logs",
        "tokenizers": "exact token counts from a tokenizer's file",
        "uvicorn": "serves simulated hosts and providers",
        "uvloop": "the event loop of hubs and workers",
    }
)
DECLARED: Mapping[str, str] = MappingProxyType({"gguf": "MIT", "llama-cpp-python": "MIT", "tokenizers": "Apache-2.0"})
"""Licences of packages that the developers' environment does not have, as their own pages declare them."""
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "3-clause bsd license": "BSD-3-Clause",
        "apache 2.0": "Apache-2.0",
        "bsd": "BSD-3-Clause",
        "bsd license": "BSD-3-Clause",
        "dual license": "Apache-2.0 OR BSD-3-Clause",
        "mit license": "MIT",
        "osi approved :: apache software license": "Apache-2.0",
        "osi approved :: bsd license": "BSD-3-Clause",
        "osi approved :: mit license": "MIT",
    }
)
"""What packages without an expression write, in expressions."""

HEAD = """\
# Dependencies

What an installation brings along. Versions and hashes of everything are locked in `requirements/`; nothing is fetched
when the program runs. Each licence is one that lets the package be used beside a program under Apache-2.0.

```console
$ make licences
```

This page is generated; `make licences` writes it, and a test fails when a dependency is new, when its licence changed,
or when that is none of the permissive ones below.
"""


class Row(NamedTuple):
    """A dependency that the project names itself."""

    name: str
    versions: str
    licence: str
    why: str


def normal(name: str) -> str:
    """A name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(name: str) -> str:
    """The licence as an expression; `LookupError` when nobody says it."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return DECLARED[name]
    if "License-Expression" in found:
        return str(found["License-Expression"])
    written = str(found["License"]).strip() if "License" in found else ""
    classifiers = [str(line).removeprefix("License :: ") for line in found.get_all("Classifier") or []]
    for said in (written, *classifiers):
        if said in ALLOWED:
            return str(said)
        if said.lower() in _WORDS:
            return _WORDS[said.lower()]
    raise LookupError(f"{name} says no licence: {written!r} {classifiers}")


def parts_of(expression: str) -> tuple[str, ...]:
    """The licences in an expression."""
    return tuple(re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]*", re.sub(r"\b(AND|OR|WITH)\b", " ", expression)))


def named() -> dict[str, list[Row]]:
    """Dependencies by extra; the core is ``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: sorted(map(_row, lines)) for extra, lines in groups.items()}


def _row(line: str) -> Row:
    wanted = Requirement(line)
    versions = ",".join(sorted(str(wanted.specifier).split(","), reverse=True))
    return Row(wanted.name, versions, licence_of(wanted.name), WHY.get(wanted.name, ""))


def locked() -> list[str]:
    """Everything that the core installs."""
    lines = (ROOT / "requirements" / "core.lock").read_text(encoding="utf-8").splitlines()
    return sorted(match[1] for line in lines if (match := re.match(r"([a-z0-9._-]+)==", line)))


def brought(names: list[str]) -> list[str]:
    """What these bring along, where it is installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        for line in _requires(name):
            if line not in found:
                found.add(line)
                waiting.append(line)
    return sorted(found - {normal(name) for name in names})


def _requires(name: str) -> Iterator[str]:
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    extra = {"psycopg": "binary"}.get(name, "")
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra, "python_full_version": "3.11.0"}):
            yield normal(wanted.name)


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    core = {normal(row.name) for row in named()[""]}
    for extra, rows in named().items():
        parts.append(f"\n## {f'The extra `{extra}`' if extra else 'The core'}\n\n")
        parts.append("| package | versions | licence | what for |\n|---|---|---|---|\n")
        parts += [f"| {row.name} | `{row.versions}` | {row.licence} | {row.why} |\n" for row in rows]
        own = [normal(row.name) for row in rows]
        more = sorted(set(locked()) - core) if not extra else brought([row.name for row in rows])
        more = [name for name in more if name not in own and (not extra or name not in locked())]
        if more:
            listed = ", ".join(f"{name} ({licence_of(name)})" for name in more)
            parts.append(f"\nThey bring along: {listed}.\n")
    parts.append(f"\n## Licences\n\nAny package may have: {', '.join(sorted(ALLOWED))}.\n\n")
    names = ", ".join(f"{name} ({licence})" for name, licence in sorted(EXCEPTIONS.items()))
    parts.append(
        f"Only these may have another: {names}. They are part of an extra, are installed as their makers publish them, "
        "and can be replaced by anybody.\nThe engine's own packages are not in the developers' environment; their "
        "licences stand here as their pages declare them.\n"
    )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
