"""What an installation brings along is on its page, has a purpose and a licence that may be."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["licences"] = module
    spec.loader.exec_module(module)
    return module


LICENCES = script()


def test_the_page_is_up_to_date() -> None:
    """Run `make licences` when this fails, and read what changed."""
    assert LICENCES.PAGE.read_text(encoding="utf-8") == LICENCES.page()


@pytest.mark.parametrize("extra", list(LICENCES.named()))
def test_every_licence_is_one_that_may_be(extra: str) -> None:
    """Of what is named and of all that it brings along."""
    rows = LICENCES.named()[extra]
    names = {row.name for row in rows} | set(LICENCES.brought([row.name for row in rows]))
    names |= set() if extra else set(LICENCES.locked())
    for name in names:
        licence = LICENCES.licence_of(name)
        allowed = {*LICENCES.ALLOWED, LICENCES.EXCEPTIONS.get(name, "MIT")}
        assert set(LICENCES.parts_of(licence)) <= allowed, f"{name}: {licence}"


def test_the_core_needs_no_exception() -> None:
    """What everybody gets is under permissive licences."""
    assert not set(LICENCES.locked()) & set(LICENCES.EXCEPTIONS)


def test_each_package_that_is_named_has_a_purpose_and_is_used() -> None:
    """Nothing is installed that no line of the program imports."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    modules = {"ruamel.yaml": "ruamel", "llama-cpp-python": "llama_cpp", "jinja2": "jinja2"}
    rows = [row for rows in LICENCES.named().values() for row in rows]
    for row in rows:
        assert row.why, f"nobody says what {row.name} is for"
        module = modules.get(row.name, row.name.lower())
        assert f"import {module}" in source or f"from {module}" in source or f'"{module}' in source, row.name
    assert set(LICENCES.WHY) == {row.name for row in rows}
    assert set(LICENCES.DECLARED) <= {row.name for row in rows}


def test_a_licence_nobody_says_or_nobody_allows_is_found() -> None:
    """The net itself."""
    assert LICENCES.parts_of("MIT OR (GPL-3.0-only AND BSD-3-Clause)") == ("MIT", "GPL-3.0-only", "BSD-3-Clause")
    assert "GPL-3.0-only" not in LICENCES.ALLOWED
    with pytest.raises(LookupError):
        LICENCES.licence_of("no-such-package-anywhere")
