"""Names and texts that others choose stay names and texts: no path, option, header, line, markup or escape sequence.

What is shown elsewhere is named there: git's arguments and branches in `tests/workers/agents/test_workspace.py`, the
folders that commands may work in in `tests/workers/test_rules.py`, files of results in `tests/workers/test_results.py`.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ostler.app import logs
from ostler.app.working_set import WorkingSet
from ostler.cli.render import clean, line
from ostler.client.http1 import NotHttpError, Site, request_text
from ostler.client.transport import Transport
from ostler.config.agent_files import read_agents
from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import TaskSpec
from ostler.domain.work import Finished
from ostler.hub.accept import check_batch
from ostler.hub.gateway_views import KeyWish
from ostler.hub.tokens import NAME_LENGTH_MAX
from ostler.server.head import header_lines
from ostler.workers.results import file_name, variable
from ostler.workers.spool import JOURNAL, Spool
from tests.config.support import problems
from tests.hub.house import house
from tests.web.asking import ask
from tests.web.recording_hub import ServedHub, served_hub

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m"
HOSTILE = (
    *("../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b", "-rf", "--upload-pack=touch /tmp/x", "a\nb", "a\0b"),
    *("a\rb", ESCAPES, "\u202egpj.exe", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}"),
    *("=cmd|' /C calc'!A0", "%2e%2e%2f", "CON", "a" * 5_000, "$(reboot)", "`reboot`", "${HOME}", "'; DROP TABLE x; --"),
)
IN_ADDRESSES = [name for name in HOSTILE if name.isascii() and name.isprintable() and len(name) < 200]
TAGS = ("!!python/object/apply:os.system [id]", "!!python/name:os.system x", "!include /etc/passwd", "!!binary aGk=")
ELSEWHERE = ("/static/../../../etc/passwd", "/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/static/..", "/static/")
ADDRESSES = ("file:///etc/passwd", "gopher://127.0.0.1/", "http://", "ftp://x/y", "http://me:pw@h/", "127.0.0.1")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))


@given(names)
def test_the_file_of_a_result_lies_in_its_folder(name: str) -> None:
    """Whatever the id: one file of its own, never a folder, and a variable that a shell can name."""
    made = file_name(name)

    assert made not in ("", ".", "..")
    assert not set(made) & {"/", "\0", "\n"}
    assert re.fullmatch(r"[A-Z0-9_]+", variable(name))


@given(names, st.integers(1, 10))
def test_the_file_of_an_end_is_in_its_folder(tmp_path_factory: pytest.TempPathFactory, name: str, number: int) -> None:
    """The worker's own disk is written by names of tasks that others chose."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder / "ends")
    spool.put(Finished(task_id=name, generation=number, at_ms=1, ok=True))

    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "ends" / JOURNAL]
    assert [end.task_id for end in Spool(folder / "ends").load()] == [name]


@pytest.mark.parametrize("data", [b'{"task_id":"\xff"}', b"[" * 100_000, b'{"x":' * 100_000, b"", b"null"])
def test_an_end_that_cannot_be_read_is_taken_away(tmp_path: Path, data: bytes) -> None:
    """A daemon starts with whatever lies there."""
    spool = Spool(tmp_path)
    (tmp_path / "broken.json").write_bytes(data)

    assert spool.load() == []
    assert not (tmp_path / "broken.json").exists()


@pytest.mark.parametrize("name", [*HOSTILE[:5], "a\0b"])
def test_a_working_set_is_not_kept_elsewhere_by_its_name(tmp_path: Path, name: str) -> None:
    """What is no name is refused."""
    with pytest.raises(InvalidInputError, match="no name"):
        WorkingSet.of(name, tmp_path)


@pytest.mark.parametrize("name", ["a b", "", "a\nb", "a\0b", ESCAPES, "\u202ea", "a" * 129, "a\u2028b"])
def test_an_id_that_would_break_a_line_is_refused(name: str) -> None:
    """Ids stand in logs, lists and addresses: one printable word of at most 128 characters."""
    with pytest.raises(InvalidInputError, match="no task id"):
        check_batch([TaskSpec(id=name, prompt="x")], {})


@pytest.mark.parametrize("name", ["", "a\nb", ESCAPES, "a" * (NAME_LENGTH_MAX + 1)])
async def test_names_of_tokens_and_keys_are_printable_and_short(name: str) -> None:
    """They are shown in lists and errors."""
    async with house() as built:
        with pytest.raises(InvalidInputError, match="needs a name"):
            await built.hub.tokens.make(name, "worker")
        with pytest.raises(InvalidInputError, match="needs a name"):
            await built.hub.gateway.make_key(KeyWish(name=name))


@given(st.text(max_size=60))
def test_nothing_that_is_shown_steers_the_terminal(text: str) -> None:
    """Neither escape sequences nor characters that show text in another order than it is in."""
    assert not CONTROL.search(clean(text + ESCAPES + "\u202e"))
    assert "\n" not in line(text)


def test_what_others_wrote_is_no_line_and_no_escape_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason with a line break looks like a reason, not like another entry."""
    before = structlog.get_config()
    try:
        logs.set_up("info")
        log = structlog.get_logger("x")
        log.info("told", reason="a\n12:00:00 [error    ] forged\r", name=ESCAPES, plain="fine")
        as_text = capsys.readouterr().err
        logs.set_up("info", json=True)
        log.info("told", reason="a\nforged", name=ESCAPES)
        as_json = capsys.readouterr().err
    finally:
        structlog.configure(**before)

    assert as_text.count("\n") == 1
    assert not CONTROL.search(as_text.rstrip("\n"))
    assert "plain=fine" in as_text
    assert as_json.count("\n") == 1
    assert msgspec.json.decode(as_json)["name"] == ESCAPES


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x=1", "a\nb", "a\0b"])
def test_an_answer_gets_no_header_from_a_value(value: str) -> None:
    """A line break in a value is refused or left out, never sent."""
    try:
        lines = header_lines([("x-ostler-model", value)])
    except ValueError:
        return

    assert lines.count(b"\r\n") == 1
    assert b"\0" not in lines


@pytest.mark.parametrize("path", ["/hub/tasks/a b\r\nHost: evil", "/hub/tasks/a\nb", "/hub/tasks/\u00e4"])
def test_the_command_line_asks_for_no_second_request(path: str) -> None:
    """Names are quoted before they stand in a path; one that is not is caught before it is sent."""
    try:
        text = request_text(Site("http://127.0.0.1:1"), "GET", path, {}, None)
    except (UnicodeEncodeError, NotHttpError):
        return
    assert text.count(b"\r\nHost:") == 1
    assert b"\nb" not in text


@pytest.mark.parametrize("token", ["a\r\nX-Admin: 1", "a\nb", "a b"])
def test_a_token_is_no_header(token: str, tmp_path: Path) -> None:
    """Where the command line takes one from a file, it must be one word."""
    from ostler.cli.address import token as read_token

    (tmp_path / "token").write_text(token, encoding="utf-8")
    with pytest.raises(InvalidInputError, match="no token"):
        read_token(str(tmp_path / "token"))
    assert Transport("http://127.0.0.1:1").url == "http://127.0.0.1:1"


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_show_hostile_text_as_text(name: str) -> None:
    """Titles, prompts, outputs: what is markup in them is shown, not done; and no script may run that is not ours."""
    from tests.web import samples

    with served_hub() as served:
        served.hub.tasks_by_id["t-x"] = samples.task("t-x", title=name[:80], batch=None)
        got = ask(served, "GET", "/tasks", raw_text=True)
        assert got.status == 200
        assert "<script>alert" not in got.body
        assert "onerror=alert(1)>" not in got.body.replace("&#34;", '"').replace("&gt;", "&gt;")
        assert "script-src 'self'" in got.headers["content-security-policy"]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_files_of_the_dashboard_are_only_its_own(served_once: ServedHub, path: str) -> None:
    """No spelling of a path leads out of its folder."""
    got = ask(served_once, "GET", path, raw_text=True)

    assert got.status == 404
    assert "root:" not in got.body


@pytest.fixture(scope="module")
def served_once() -> Any:  # noqa: ANN401 -- a fixture that yields
    with served_hub() as served:
        yield served


@pytest.mark.parametrize("name", IN_ADDRESSES)
def test_a_hostile_name_in_an_address_is_a_name(served_once: ServedHub, name: str) -> None:
    """The hub is asked for exactly this name, or says that there is no such thing; never for a part of a path."""
    from urllib.parse import quote

    served_once.hub.reset()
    got = ask(served_once, "POST", f"/hub/tasks/{quote(name, safe='')}/cancel")

    assert got.status in (200, 404, 405)
    for call in served_once.hub.calls:
        assert call[:2] == ("cancel", name)


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_of_yaml_makes_nothing(tag: str) -> None:
    """A profile is plain values; a tag is a mistake with its place."""
    (problem, *_) = problems(f"name: {tag}\n")

    assert problem.where.startswith("ostler.yaml:1")


def test_a_bomb_of_aliases_costs_little() -> None:
    """Nine levels of ten are a billion values where each is copied; here each is there once."""
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    assert problems(text)


def test_a_link_among_agents_leads_nowhere_harmful(tmp_path: Path) -> None:
    """What a link points to is read as an agent's file or told; it is never run, and a ring of links ends."""
    (tmp_path / "secret").write_text("root:x:0:0", encoding="utf-8")
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "ring").symlink_to(folder)
    (folder / "a.md").symlink_to(tmp_path / "secret")
    (folder / "gone.md").symlink_to(tmp_path / "nowhere")
    shelf = read_agents([str(folder)])

    assert "root:x" not in repr(shelf.roles)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_endpoint_is_http_and_nothing_else(address: str) -> None:
    """Who may add endpoints decides where the hub asks; it asks by HTTP alone, and an address holds no password."""
    profile = f"routing: {{tiers: {{a: {{models: [m]}}}}}}\nproviders: {{p: {{kind: openai, base_url: '{address}'}}}}\n"

    assert problems(profile + "endpoints: {e: {provider: p, models: [m]}}\n")
