"""Wrong input of the verbs that plan, simulate, replay and import: one message, its place, a remedy, nothing written.

Each row is something that a person might type. What it says is tested word for word where it is short, and always: the
exit code, that standard output stays empty, that it is one line which says where, and that no file appeared.
"""

import json
from pathlib import Path

import pytest

from ostler.domain.errors import ExitCode
from tests.cli.conftest import Ostler
from tests.cli.test_what_if import PROFILE, TASKS
from tests.config.test_import import CCPROXY, ORCHESTRA
from tests.web.recording_hub import ServedHub

NOT_FINITE = ("nan", "inf", "-inf", "NaN", "1e999")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    texts = {
        "tasks.yaml": TASKS,
        "ostler.yaml": PROFILE,
        "trace.csv": "t_s,in_tokens,out_tokens\n0,10,5\n5,10,5\n",
        "broken.csv": "t_s,in_tokens,out_tokens\n0,10,5\nsoon,10,5\n",
        "columns.csv": "a,b\n1,2\n",
        "empty.csv": "",
        "empty.yaml": "",
        "syntax.yaml": "tasks: [",
        "ring.yaml": "tasks:\n  - {id: a, prompt: x, model: big, needs: [b]}\n  - {id: b, prompt: x, needs: [a]}\n",
        "stranger.yaml": "tasks:\n  - {id: a, prompt: x, model: bgi}\n",
        "orchestra-config.json": ORCHESTRA,
        "config.yaml": CCPROXY,
        "list.json": "[1, 2]",
        "unknown.json": "{}",
        "claims.yaml": "claims: [{name: a, strategy: optiml}]\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "latin.yaml").write_bytes(b"tasks: [{id: a, prompt: \xff}]")
    (tmp_path / "latin.csv").write_bytes(b"t_s,in_tokens,out_tokens\n\xff,1,1\n")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.csv").mkdir()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_relative_to(folder / "data")
    }


def refused(ostler: Ostler, tmp_path: Path, *words: str, code: int = ExitCode.USAGE) -> str:
    """The one line that is said of a wrong command line, `ostler: ` left off."""
    before = tree(tmp_path)
    result = ostler(*words)

    assert (result.code, result.out) == (code, ""), result
    lines = result.err.splitlines()
    assert len(lines) == 1, "one mistake, one line"
    assert lines[0].startswith("ostler: ")
    assert "a mistake of ours" not in lines[0], "it was foreseen"
    assert tree(tmp_path) == before, "nothing was written"
    return lines[0].removeprefix("ostler: ")


FILES = [
    ("nowhere.yaml", "nowhere.yaml: cannot be read: No such file or directory (check the path)"),
    ("folder.yaml", "folder.yaml: cannot be read: Is a directory (check the path)"),
    ("empty.yaml", "empty.yaml: the file is empty (write a list of `tasks:`)"),
    ("syntax.yaml", "syntax.yaml:1:9: not YAML: expected the node content"),
    ("latin.yaml", "latin.yaml:1: byte 0xff is not UTF-8 (save the file as UTF-8)"),
    ("ring.yaml", "ring.yaml:2 a.needs: tasks need each other in a ring: a -> b -> a (remove one of these needs)"),
]


@pytest.mark.parametrize(("file", "said"), FILES, ids=[file for file, _ in FILES])
@pytest.mark.parametrize("verb", ["plan", "simulate", "run"])
def test_a_file_of_tasks_that_is_none(ostler: Ostler, tmp_path: Path, verb: str, file: str, said: str) -> None:
    """The three verbs that read one say the same of it."""
    message = refused(ostler, tmp_path, verb, file)

    assert said in message
    assert message.startswith(file), "the file comes first"


PLANS = [
    (("--profile", "nowhere"), "--profile: there is no profile 'nowhere'"),
    (("--profile", "tasks.yaml"), "tasks.yaml"),
    (("--hosts", "0"), "--hosts: 0 copies of the hosts (use 1 to 64)"),
    (("--hosts", "-1"), "--hosts: cannot read '-1' (write NAME=MEMORY, as in box=64GB,box2=32GB"),
    (("--hosts", "box=much"), "--hosts: "),
    (("--hosts", "box=24GB,box=24GB"), "--hosts: "),
    (("--what-if", "fast"), "what if: no question of kind 'fast' (valid: "),
    (("--what-if", "memory=bxo+8GB"), "(did you mean 'box'?)"),
    (("--what-if", "slots=big:none"), "what if: "),
    (("--strategy", "optiml"), "'optiml' is not one of"),
    (("--minute-price", "cheap"), "Invalid value for '--minute-price': 'cheap'"),
    (("--minute-price", "-0.1"), "Invalid value for '--minute-price': -0.1 is not in the range"),
    (("--seconds", "0"), "Invalid value for '--seconds': 0"),
    (("--claims", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    (("--claims", "claims.yaml"), "claims.yaml"),
    (("--svg", "no/folder/plan.svg"), "no/folder/plan.svg: cannot be written: No such file or directory"),
    (("--svg", "folder.yaml"), "folder.yaml: cannot be written: Is a directory"),
    (("more.yaml",), "Got unexpected extra argument (more.yaml)"),
    (("--rnu", "r"), "No such option '--rnu'"),
]


@pytest.mark.parametrize(("words", "said"), PLANS, ids=[" ".join(words) for words, _ in PLANS])
def test_a_wrong_word_to_plan(ostler: Ostler, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Said with the option or the file that it stands in."""
    assert said in refused(ostler, tmp_path, "plan", "tasks.yaml", *words)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize(
    ("verb", "option"),
    [("plan", "--minute-price"), ("plan", "--seconds"), ("simulate", "--load"), ("simulate", "--sigma")],
)
def test_what_python_takes_for_a_number_is_refused(
    ostler: Ostler, tmp_path: Path, verb: str, option: str, value: str
) -> None:
    """No plan is made for a minute worth `nan`, and no search goes on for ever."""
    message = refused(ostler, tmp_path, verb, "tasks.yaml", option, value)

    assert message.startswith(f"ostler {verb}: Invalid value for '{option}'")


SIMULATIONS = [
    (("nowhere.csv",), "nowhere.csv: cannot be read: No such file or directory (check the path)"),
    (("folder.csv",), "folder.csv: cannot be read: Is a directory (check the path)"),
    (("empty.csv",), "empty.csv:1: these are not the columns of a trace (give a trace with t_s"),
    (("columns.csv",), "columns.csv:1: these are not the columns of a trace (give a trace with t_s"),
    (("broken.csv",), "broken.csv:3"),
    (("latin.csv",), "latin.csv"),
    (("tasks.yaml", "--policy", "nowhere"), "--policy: there is no policy 'nowhere' (valid: "),
    (("tasks.yaml", "--policy", "dafault"), "--policy: there is no policy 'dafault' (did you mean 'default'?"),
    (("tasks.yaml", "--policy", "no/where.yaml"), "--policy: "),
    (("tasks.yaml", "--compare", "fifoo"), "--compare: there is no policy 'fifoo' (did you mean 'fifo'?"),
    (("tasks.yaml", "--compare", "where.yaml"), "--compare: "),
    (("tasks.yaml", "--fleet", "nowhere"), "--fleet: there is no profile 'nowhere'"),
    (("tasks.yaml", "--fleet", "fifo"), "--fleet: 'fifo' is a policy and has no machines (name a profile)"),
    (("tasks.yaml", "--ttl", "5"), "--ttl: '5' is no duration (write a number with its unit"),
    (("tasks.yaml", "--ttl", "-5s"), "--ttl: '-5s' is no duration"),
    (("tasks.yaml", "--outage", "box"), "--outage: 'box' is no outage (write HOST:FROM-UNTIL"),
    (("tasks.yaml", "--outage", "bxo:1m-2m"), "--outage: the fleet has no host 'bxo'"),
    (("tasks.yaml", "--outage", "box:5m-2m"), "--outage: 'box:5m-2m' is no outage"),
    (("tasks.yaml", "--plan", "hybird"), "--plan: no strategy 'hybird' (did you mean 'hybrid'?)"),
    (("trace.csv", "--plan", "hybrid"), "--plan: only the scheduler follows plans"),
    (("tasks.yaml", "--policy", "fifo", "--plan", "hybrid"), "--plan: only the scheduler follows plans"),
    (("tasks.yaml", "--tasks", "0"), "Invalid value for '--tasks': 0"),
    (("tasks.yaml", "--seed", "dice"), "Invalid value for '--seed': 'dice'"),
    ((), "Missing argument 'WORKLOAD'"),
]


@pytest.mark.parametrize(("words", "said"), SIMULATIONS, ids=[" ".join(words) for words, _ in SIMULATIONS])
def test_a_wrong_word_to_simulate(ostler: Ostler, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Before anything is simulated, with the flag or the line that it stands in."""
    assert said in refused(ostler, tmp_path, "simulate", *words)


IMPORTS = [
    ((), "Missing argument 'FILE...'"),
    (("nowhere.json",), "nowhere.json: cannot be read: No such file or directory (check the path)"),
    (("folder.yaml",), "folder.yaml: cannot be read: Is a directory (check the path)"),
    (("unknown.json",), "unknown.json: this is no configuration that can be imported (known are "),
    (("list.json",), "list.json:1: a file is a mapping of sections"),
    (("latin.yaml",), "latin.yaml: the file is not UTF-8 (save it as UTF-8)"),
    (("syntax.yaml",), "syntax.yaml:1"),
    (("config.yaml", "--out", "."), "ostler.yaml: the file is there already; nothing was written (move it away"),
    (("config.yaml", "--out", "tasks.yaml"), "tasks.yaml"),
    (("config.yaml", "--out", "tasks.yaml/deeper"), "tasks.yaml/deeper"),
]


@pytest.mark.parametrize(("words", "said"), IMPORTS, ids=[" ".join(words) for words, _ in IMPORTS])
def test_a_wrong_word_to_import(ostler: Ostler, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Nothing is written, not even one of two files."""
    assert said in refused(ostler, tmp_path, "config", "import", *words)


def test_an_import_that_fails_in_the_middle_leaves_nothing(
    ostler: Ostler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the second file is written: the first one is taken away again."""
    opened = Path.open

    def full(path: Path, *args: str, **kwargs: str) -> object:
        if path.name == "pipeline.yaml":
            raise OSError(28, "No space left on device")
        return opened(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)

    message = refused(ostler, tmp_path, "config", "import", "orchestra-config.json", "config.yaml", "--out", "new")
    assert message == "new: cannot be written: No space left on device"


RUNS = [
    (("run", "tasks.yaml", "--resume", "no/slash"), "--resume"),
    (("run", "tasks.yaml", "--run-id", "a.b"), "--run-id: 'a.b' cannot be the id of a run (use at most 40"),
    (("run", "tasks.yaml", "--run-id", "x" * 41), "cannot be the id of a run"),
    (("run", "tasks.yaml", "--resume", "a", "--run-id", "b"), "--resume: --resume and --run-id name two runs"),
    (("tasks", "results"), "Missing argument 'RUN'"),
    (("tasks", "results", "a", "b"), "Got unexpected extra argument (b)"),
    (("replay",), "Missing option '--policy'"),
    (("replay", "--policy", "fifo", "--since", "1"), "--since: '1' is no duration (write a number with its unit"),
    (("replay", "--policy", "fifo", "--since", "-1h"), "--since: '-1h' is no duration"),
    (("plan", "tasks.yaml", "--now", "--preloaded"), "--now and --preloaded exclude each other (use one)"),
]


@pytest.mark.parametrize(("words", "said"), RUNS, ids=[" ".join(words)[:60] for words, _ in RUNS])
def test_a_wrong_word_to_verbs_that_ask_the_hub(
    ostler: Ostler, served: ServedHub, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """The hub is not bothered with it, or at most asked what it has: nothing is handed in."""
    assert said in refused(ostler, tmp_path, *words)
    assert "submit" not in {call[0] for call in served.hub.calls}


@pytest.mark.parametrize(
    "words",
    [
        ("run", "tasks.yaml"),
        ("run", "tasks.yaml", "--resume", "r-1"),
        ("tasks", "results", "r-1"),
        ("replay", "--policy", "fifo"),
        ("plan", "tasks.yaml", "--now"),
    ],
    ids=" ".join,
)
def test_without_a_hub_it_is_said_where_one_was_looked_for(
    ostler: Ostler, no_hub: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Exit code 3, the address, and how to start one."""
    message = refused(ostler, tmp_path, *words, code=ExitCode.UNREACHABLE)

    assert message.startswith(f"no hub answers at {no_hub}: ")
    assert "(start one with `ostler up`" in message


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "nowhere.yaml"),
        ("plan", "tasks.yaml", "--seconds", "nan"),
        ("plan", "tasks.yaml", "--what-if", "fast"),
        ("simulate", "columns.csv"),
        ("simulate", "tasks.yaml", "--compare", "fifoo"),
        ("config", "import", "unknown.json", "--out", "x"),
    ],
    ids=" ".join,
)
def test_a_program_gets_the_mistake_as_json(ostler: Ostler, tmp_path: Path, words: tuple[str, ...]) -> None:
    """What, where and the remedy apart, with the same exit code; on standard error, so that a pipe stays clean."""
    before = tree(tmp_path)
    code, out, err = ostler(*words, "--json")
    error = json.loads(err)["error"]

    assert (code, out) == (ExitCode.USAGE, "")
    assert error["message"]
    assert error["where"]
    assert error["remedy"]
    assert tree(tmp_path) == before


def test_a_plan_is_not_drawn_when_it_cannot_be_made(ostler: Ostler, tmp_path: Path) -> None:
    """A file to draw into stays as it was."""
    (tmp_path / "plan.svg").write_text("mine", encoding="utf-8")

    refused(ostler, tmp_path, "plan", "stranger.yaml", "--svg", "plan.svg")
    assert (tmp_path / "plan.svg").read_text(encoding="utf-8") == "mine"
