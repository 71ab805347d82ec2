"""The program as a process: start-up, exit codes, and errors that are text."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ostler.cli import status
from ostler.cli.main import run
from ostler.domain.errors import ExitCode, NotFoundError
from ostler.domain.event import Event
from ostler.version import __version__
from tests.cli.conftest import NOWHERE, Ostler
from tests.cli.terminal import ending
from tests.web.recording_hub import PATIENCE_S, ServedHub, eventually

HEAVY = ("aiohttp", "alembic", "asyncio", "rich", "ruamel", "sqlalchemy", "starlette", "structlog", "uvicorn")
PROGRAM = (sys.executable, "-m", "ostler.cli.main")


def loaded_by(*arguments: str, hub: str = NOWHERE) -> set[str]:
    """Names of the modules that a command line has loaded when it ends, in a process of its own."""
    code = (
        "import sys; from ostler.cli.main import run; run(sys.argv[1:]); "
        "print('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "OSTLER_HUB": hub},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("run", "--help"), ("tasks", "list", "--help")])
def test_help_and_version_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """A person who asks for help does not wait for a web server or a database to be imported."""
    assert loaded_by(*arguments) & set(HEAVY) == set()


def test_the_version_is_told_without_loading_click() -> None:
    """The fastest answer needs neither options nor data types."""
    assert loaded_by("--version") & {"click", "msgspec"} == set()


SHORT = [
    ("status",),
    ("tasks", "list"),
    ("submit", "hello"),
    ("events", "--json"),
    ("why", "t-one"),
    ("hubs",),
    ("workers", "list"),
]


@pytest.mark.parametrize("arguments", SHORT, ids=" ".join)
def test_a_short_verb_loads_nothing_heavy(served: ServedHub, arguments: tuple[str, ...]) -> None:
    """Short verbs answer in about a tenth of a second: neither a web stack nor a drawing library nor e-mail headers."""
    assert loaded_by(*arguments, hub=served.url) & {*HEAVY, "email", "ssl"} == set()


@pytest.mark.parametrize("flag", ["--version"])
def test_the_version_is_printed(ostler: Ostler, flag: str) -> None:
    """`ostler --version` says name and version."""
    assert ostler(flag) == (0, f"ostler {__version__}\n", "")


def test_without_a_verb_the_help_is_shown(ostler: Ostler) -> None:
    """A person who only types the name learns what there is; a script sees that it was no use."""
    code, _, err = ostler()

    assert code == ExitCode.USAGE
    assert "submit" in err


BAD_USAGE = [
    (("stauts",), "No such command 'stauts'", "Did you mean 'status'?"),
    (("tasks", "lst"), "ostler tasks: No such command 'lst'", "Did you mean 'list'?"),
    (("status", "--jsn"), "ostler status: No such option '--jsn'", "Did you mean '--json'?"),
    (("tasks", "show"), "Missing argument 'TASK'", "see `ostler tasks show --help`"),
    (("tasks", "list", "--state", "runing"), "'runing' is not one of", "see `ostler tasks list --help`"),
    (("tasks", "list", "--limit", "0"), "0 is not in the range", "see `ostler tasks list --help`"),
    (("workers", "--json"), "", "did you mean `ostler workers list --json`? see `ostler workers --help`"),
    (("calls", "--failed"), "No such option '--failed'", "did you mean `ostler calls list --failed`?"),
    (("late", "--output"), "No such option '--output'", "see `ostler late --help`"),
    (("cancel", "t1"), "No such command 'cancel'", "did you mean `ostler tasks cancel`? see `ostler --help`"),
    (("restore", "x.db"), "No such command 'restore'", "did you mean `ostler db restore`?"),
    (("list",), "No such command 'list'", "see `ostler --help`"),
    (("submit", "x", "--priority", "hgh"), "'hgh' is not one of", "see `ostler submit --help`"),
]


@pytest.mark.parametrize(("arguments", "what", "remedy"), BAD_USAGE, ids=[" ".join(row[0]) for row in BAD_USAGE])
def test_bad_usage_is_one_line_with_a_remedy(
    ostler: Ostler, arguments: tuple[str, ...], what: str, remedy: str
) -> None:
    """A mistyped command line is answered by what, where and what to do, with exit code 2."""
    code, out, err = ostler(*arguments)

    assert (code, out) == (ExitCode.USAGE, "")
    assert len(err.splitlines()) == 1
    assert what in err
    assert remedy in err


def test_an_error_is_json_when_json_was_asked_for(ostler: Ostler) -> None:
    """A program gets the same four parts as over HTTP, on standard error."""
    code, out, err = ostler("status", "--json", "--hub", NOWHERE)

    assert (code, out) == (ExitCode.UNREACHABLE, "")
    error = json.loads(err)["error"]
    assert error["code"] == "unreachable"
    assert NOWHERE in error["message"]
    assert "ostler up" in error["remedy"]


def test_json_after_the_end_of_options_is_not_ours(ostler: Ostler) -> None:
    """A `--json` that belongs to the command of a task does not change how errors are told."""
    _, _, err = ostler("submit", "--hub", NOWHERE, "--command", "--", "tool", "--json")

    assert err.startswith("ostler: no hub answers")


def test_no_hub_says_how_to_start_one(ostler: Ostler, no_hub: str) -> None:
    """The most frequent mistake gets the most helpful line."""
    code, _, err = ostler("status")

    assert code == ExitCode.UNREACHABLE
    assert err == (
        f"ostler: no hub answers at {no_hub}: Connection refused "
        "(start one with `ostler up`, or name another with --hub or OSTLER_HUB)\n"
    )


@pytest.mark.parametrize(
    ("error", "code"), [(NotFoundError("no task 't-x'"), ExitCode.REFUSED), (RuntimeError("bug"), ExitCode.FAILED)]
)
def test_what_the_hub_refuses_is_told(ostler: Ostler, served: ServedHub, error: Exception, code: ExitCode) -> None:
    """A refusal of the hub becomes its text and the exit code of its class."""
    served.fails_with(error)

    result = ostler("tasks", "show", "t-x")

    assert result.code == code
    assert result.err.startswith("ostler: ")


def test_a_mistake_of_ours_is_one_line(ostler: Ostler, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception shows no traceback, and says how to get it."""
    monkeypatch.setattr(status.status, "callback", _broken)

    code, out, err = ostler("status", "--hub", NOWHERE)

    assert (code, out) == (ExitCode.FAILED, "")
    assert err == "ostler: unexpected ZeroDivisionError: half (a mistake of ours; OSTLER_DEBUG=1 shows where)\n"


def test_with_debug_the_exception_itself_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the details gets them."""
    monkeypatch.setattr(status.status, "callback", _broken)
    monkeypatch.setenv("OSTLER_DEBUG", "1")

    with pytest.raises(ZeroDivisionError):
        run(["status"])


def _broken(**_options: object) -> None:
    raise ZeroDivisionError("half")


def test_a_reader_that_has_enough_ends_the_verb_silently(served: ServedHub) -> None:
    """`ostler events --follow | head -1` ends without a complaint and with 0."""
    process = subprocess.Popen(
        [*PROGRAM, "events", "--follow", "--after", "0", "--hub", served.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ending(process):
        assert process.stdout is not None
        assert process.stderr is not None
        assert "task.submitted" in process.stdout.readline()
        process.stdout.close()
        for seq in range(3, 2000):
            served.hub.emit(_event(seq))
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE_S) == 0


def test_an_interrupt_ends_with_130(served: ServedHub) -> None:
    """Ctrl-C is no failure and no traceback: exit code 130."""
    process = subprocess.Popen(
        [*PROGRAM, "events", "--follow", "--hub", served.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with ending(process):
        eventually(lambda: served.hub.followers == 1, "the events are followed")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == ExitCode.INTERRUPTED
    assert err.strip() == ""


def _event(seq: int) -> Event:
    return Event(name="task.started", at_ms=seq, task_id="t-one", seq=seq, metadata={"text": "x" * 100})


def test_the_program_can_be_installed(tmp_path: Path) -> None:
    """The entry point that the package declares is the function that exists."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["scripts"]["ostler"] == "ostler.cli.main:main"
