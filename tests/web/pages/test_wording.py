"""Figures and names as pages write them; files and templates as they must be."""

import doctest
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.cli.verbs import program
from ostler.domain.states import TaskState, WaitCode
from ostler.web import pages
from ostler.web.pages import wording
from ostler.web.pages.actions import VERBS
from ostler.web.pages.assets import FOLDER, content, stamp
from ostler.web.pages.home import ADVICE
from ostler.web.pages.tasks import GROUPS, allowed_verbs
from tests.web import samples

ROOT = Path(pages.__file__).parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
COMMANDS = re.compile(r"<code>(ostler [^<]*)</code>", re.DOTALL)


@pytest.mark.parametrize("name", ["wording", "render", "live"])
def test_the_examples_are_true(name: str) -> None:
    """What the docstrings show is what comes out."""
    assert doctest.testmod(importlib.import_module(f"ostler.web.pages.{name}")).failed == 0


@given(st.integers(0, 10**15))
def test_a_sum_of_money_is_never_shown_as_nothing_or_as_more_than_it_is(micro_usd: int) -> None:
    """However small, it has a digit that is no nought; rounding moves it by less than one part in a hundred."""
    shown = wording.money(micro_usd)
    value = float(shown.removeprefix("$"))

    assert (value == 0) == (micro_usd == 0)
    assert abs(value - micro_usd / 10**6) <= max(0.005, 0.05 * micro_usd / 10**6) + 1e-9


@given(st.floats(0, 10**12))
def test_a_duration_has_at_most_two_units(duration_ms: float) -> None:
    """Short enough for a row."""
    assert re.fullmatch(r"[\d.]+ (s|min|h|d)( \d+ (s|min|h))?", wording.span(duration_ms))


def test_every_state_and_every_reason_has_words() -> None:
    """A new one without them would break a page."""
    assert set(wording.STATES) == set(TaskState)
    assert set(wording.WAITS) == set(WaitCode)
    assert set(ADVICE) <= set(WaitCode)


def test_every_state_can_be_filtered_for() -> None:
    """The groups of the filter cover all of them."""
    assert {state for states in GROUPS.values() for state in states} == set(TaskState)


@pytest.mark.parametrize("state", list(TaskState))
def test_what_a_page_offers_for_a_state_are_verbs_that_exist(state: TaskState) -> None:
    """What is done cannot be undone: nothing is offered for it."""
    finished = {"finished_ms": 1} if state in {TaskState.SUCCEEDED, TaskState.FAILED} else {}
    offered = allowed_verbs(samples.task("t", state, **finished))

    assert set(offered) <= set(VERBS)
    assert (offered == ()) == (state is TaskState.SUCCEEDED)


def test_no_markup_stands_in_python() -> None:
    """It is in templates, where it is escaped and can be read."""
    markup = re.compile(r"""["'][^"'\n]*</?(div|span|p|a|ul|li|form|h\d)[ >]""")
    found = [path.name for path in ROOT.glob("*.py") if markup.search(path.read_text("utf-8"))]

    assert found == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_turns_no_escaping_off_and_fetches_nothing(template: Path) -> None:
    """No `safe`, no address of another place, no style or handler inside."""
    text = template.read_text(encoding="utf-8")

    assert not re.search(r"\|\s*safe|autoescape\s+false", text)
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert not re.search(r"\s(style|on\w+)=\"", text)


def test_every_command_that_a_page_shows_is_one() -> None:
    """What an empty page tells to type parses."""
    texts = [template.read_text("utf-8") for template in TEMPLATES]
    lines = [line for text in texts for block in COMMANDS.findall(text) for line in block.splitlines()]
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line.replace("&amp;", "&"))[1:]
        command: click.Command = program()
        context = click.Context(command, info_name="ostler")
        while isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            assert found is not None, line
            command, words = found, words[1:]
            context = click.Context(command, parent=context, info_name=command.name)
        command.make_context(command.name, list(words))


def test_the_files_are_few_and_fetch_nothing() -> None:
    """One script, one style sheet, one icon, and no address of another place in them."""
    names = sorted(path.name for path in FOLDER.iterdir())
    texts = [content(name).decode() for name in names]

    assert names == ["app.css", "app.js", "icon.svg"]
    assert [text for text in texts if re.search(r"https?://(?!www\.w3\.org)", text)] == []
    assert re.fullmatch(r"\w+", stamp())


def test_the_script_asks_for_no_right_that_the_policy_forbids() -> None:
    """No text becomes code."""
    script = content("app.js").decode()

    assert not re.search(r"\beval\(|new Function|\.style\.|setAttribute\(\"style", script)
