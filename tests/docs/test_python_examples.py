"""The examples of the library run as they stand on the pages, and print what the comment beside them says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.simulated import ladder, machine

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"^print\(.*\) *# (.+)$|^ +print\(.*\) *# (.+)$", re.MULTILINE)


def examples(page: Path) -> list[str]:
    """Those that use the library; others speak to a hub."""
    return [code for code in FENCE.findall(page.read_text(encoding="utf-8")) if "from ostler import" in code]


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if examples(page)]


def test_there_are_pages_with_examples() -> None:
    """The test below looks at something."""
    assert {page.name for page in PAGES} >= {"context.md", "library.md"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a simulated machine with models."""
    with machine(tmp_path_factory.mktemp("machine")) as found:
        yield found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_as_they_stand(page: Path, tmp_path: Path, url: str) -> None:
    """In one program after the other, in a folder with a profile alone; lines that say what they print do print it."""
    ladder(tmp_path, url)
    for number, code in enumerate(examples(page)):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, f"example {number + 1}: {done.stderr}"
        printed = done.stdout.splitlines()
        expected = [first or second for first, second in SAID.findall(code)]
        assert [line for line in expected if line not in printed] == [], f"example {number + 1} printed {printed}"
