"""The pages hold: their links lead somewhere, their commands and YAML are what the programs accept.

What the references say of verbs, settings, events and routes is proved beside the code that they describe.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ostler.cli.taskfile import parse_task_file
from ostler.cli.verbs import program
from ostler.config.load import load_text
from ostler.config.sources import Source
from ostler.simulate.spec import SimulatedHostSpec, spec_from
from ostler.version import __version__

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
OWN_EXAMPLES = [page for page in PAGES if "reference" not in page.parts]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(ostler [^`\n]+)`")
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ENDS_COMMAND = re.compile(r"[|&;<>()]+")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(text: str) -> str:
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """The names that a heading gets on the usual renderers: lower case, punctuation dropped, spaces as hyphens."""
    headings = HEADING.findall(prose(text_of(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[str]:
    yield from (link for link in LINK.findall(prose(text_of(page))) if "://" not in link)


def blocks(page: Path, *languages: str) -> Iterator[str]:
    yield from (body for language, body in FENCE.findall(text_of(page)) if language in languages)


def command_lines(page: Path) -> Iterator[str]:
    """What a reader would type: whole `sh` blocks without their here-documents, and what follows a prompt."""
    for body in blocks(page, "sh"):
        typed = re.sub(r"<<'EOF'\n.*?^EOF$", "", body, flags=re.MULTILINE | re.DOTALL)
        yield from typed.replace("\\\n", " ").splitlines()
    for body in blocks(page, "console"):
        yield from (line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ "))
    for body in blocks(page, "ini"):
        yield from re.findall(r"(?<=/bin/)ostler .*", body)


def calls(line: str) -> Iterator[list[str]]:
    """The arguments of each call of `ostler` in a line for a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    call: list[str] | None = None
    for word in lexer:
        if ENDS_COMMAND.fullmatch(word):
            if call is not None:
                yield call
            call = None
        elif call is not None:
            call.append(word)
        elif word == "ostler":
            call = []
    if call is not None:
        yield call


def parse(words: list[str], *, whole: bool) -> None:
    """Parse a command line without running it; `whole`: arguments and their values are checked too.

    Raises `click.UsageError`.
    """
    command: click.Command = program()
    context = click.Context(command, info_name="ostler")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no verb {words[0]}")
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    if whole and not isinstance(command, click.Group):
        command.make_context(command.name, list(words))
    else:
        command.make_parser(context).parse_args(list(words))


def test_the_pages_were_found() -> None:
    """The tests below look at something: pages, links, commands and examples."""
    assert {"README.md", "docs/index.md", "docs/tutorial.md"} <= {name_of(page) for page in PAGES}
    assert sum(1 for page in PAGES for _ in links(page)) > 20
    assert sum(1 for page in PAGES for line in command_lines(page) for _ in calls(line)) > 50


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the repository, and its anchor a heading of that page."""
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_page_can_be_reached_from_the_start_page() -> None:
    """Who begins at `docs/index.md` finds every page."""
    seen, todo = set[Path](), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if not link.startswith("#")]

    assert {name_of(page) for page in DOCS.rglob("*.md")} - {name_of(page) for page in seen} == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page.is_relative_to(DOCS)], ids=name_of)
def test_every_page_has_a_title_and_an_example(page: Path) -> None:
    """A page begins with its one title and shows at least one example."""
    text = text_of(page)

    assert text.startswith("# ")
    assert len(re.findall(r"^# ", prose(text), flags=re.MULTILINE)) == 1
    assert FENCE.search(text) is not None or "events.md" in page.name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_block_is_one(page: Path) -> None:
    """A command line that a reader would copy names verbs, options, values and arguments that exist."""
    for line in command_lines(page):
        for call in calls(line):
            if call and call[0] in {"--help", "-h", "--version"}:
                continue
            try:
                parse(call, whole=True)
            except click.UsageError as error:
                pytest.fail(f"{line!r}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_sentence_is_one(page: Path) -> None:
    """A command line within a sentence names verbs and options that exist, though it may leave arguments out."""
    for span in SPAN.findall(prose(text_of(page))):
        # `a|b` stands for either; one of them is looked up, the reference's own tests cover the rest.
        for call in calls(re.sub(r"(\w+)(\|[\w-]+)+", r"\1", span)):
            if call[:1] == ["--version"]:
                continue
            try:
                parse(call, whole=False)
            except click.UsageError as error:
                pytest.fail(f"{span!r}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    [
        "ostler sumbit hello",
        "echo x | ostler submit --teir a b",
        "ostler tasks lst",
        "x=1 ostler submit hi --priority hihg &",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    """A misspelt verb, option or value does not slip through."""
    (call,) = calls(line)

    with pytest.raises(click.UsageError):
        parse(call, whole=True)


@pytest.mark.parametrize("page", OWN_EXAMPLES, ids=name_of)
def test_every_yaml_example_is_accepted(page: Path, tmp_path: Path) -> None:
    """A YAML block is a task file, a simulated machine or a profile, and right as it stands."""
    from ruamel.yaml import YAML

    bodies = [*blocks(page, "yaml"), *re.findall(r"<<'EOF'\n(.*?)^EOF$", text_of(page), re.MULTILINE | re.DOTALL)]
    for body in bodies:
        sections = YAML(typ="safe", pure=True).load(body)
        if "tasks" in sections:
            parse_task_file(body, name_of(page))
        elif "memory_gib" in sections:
            spec_from(sections, SimulatedHostSpec, where=name_of(page))
        else:
            source = Source(path=tmp_path / "ostler.yaml", label=name_of(page), name="example")
            load_text(body, source, {"HOME": str(tmp_path)}, tmp_path)


def test_every_make_target_that_is_named_exists() -> None:
    """The README names no target that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    text = text_of(ROOT / "README.md")
    named = {*re.findall(r"`make ([a-z-]+)", text)}
    named |= {
        target for body in FENCE.findall(text) for target in re.findall(r"^make ([a-z-]+)", body[1], re.MULTILINE)
    }

    assert {"run", "test"} <= named
    assert named - targets == set()


def test_the_changelog_tells_of_this_version() -> None:
    """The newest entry of the changelog is for the version of the code."""
    newest = re.search(r"^## \[([^\]]+)\]", text_of(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)

    assert newest is not None
    assert newest[1] == __version__
