"""From flags to a task: every option, and every mistake in them."""

import io
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.cli.spec import ID, MAX_INPUT_BYTES, new_id
from ostler.cli.submit import submit
from ostler.domain.catalog import Capability
from ostler.domain.errors import ExitCode
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Complexity, Priority, ResultsRule, TaskKind, TaskSpec
from tests.cli.conftest import Ostler
from tests.cli.terminal import ending
from tests.web import samples
from tests.web.recording_hub import PATIENCE_S, ServedHub, eventually

FLAGS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--title", "a title"), {"title": "a title"}),
    (("--system", "be brief"), {"system": "be brief"}),
    (("--kind", "agent"), {"kind": TaskKind.AGENT}),
    (("--tier", "standard"), {"tier": "standard"}),
    (("--model", "qwen"), {"model": "qwen"}),
    (("--endpoint", "stable"), {"endpoint": "stable"}),
    (("--fallback", "m1", "--fallback", "m2"), {"fallback_models": ("m1", "m2")}),
    (("--results", "none"), {"results": ResultsRule.NONE}),
    (("--complexity", "complex"), {"complexity": Complexity.COMPLEX}),
    (("--type", "code"), {"task_type": "code"}),
    (("--local-only",), {"local_only": True}),
    (
        ("--capability", "tools", "--capability", "vision"),
        {"capabilities": frozenset({Capability.TOOLS, Capability.VISION})},
    ),
    (("--context", "4096"), {"context_tokens": 4096}),
    (("--max-output", "100"), {"max_output_tokens": 100}),
    (("--temperature", "0"), {"temperature": 0.0}),
    (("--priority", "urgent"), {"priority": Priority.URGENT}),
    (("--critical",), {"critical": True}),
    (("--needs", "t-a", "--needs", "t-b"), {"needs": ("t-a", "t-b")}),
    (("--requires", "gpu"), {"requires": frozenset({"gpu"})}),
    (("--worker", "box"), {"worker": "box"}),
    (("--runner", "claude"), {"runner": "claude"}),
    (("--repo", "web", "--branch", "main"), {"repo": "web", "branch": "main"}),
    (("--touches", "a.py", "--touches", "b.py"), {"file_hints": ("a.py", "b.py")}),
    (
        ("--verify", "make test", "--verify", "grep -q 'a b' x"),
        {"verify": (("make", "test"), ("grep", "-q", "a b", "x"))},
    ),
    (("--timeout", "1.5m"), {"timeout_s": 90.0}),
    (("--ttl", "10m"), {"ttl_ms": 600_000}),
    (("--max-attempts", "1"), {"max_attempts": 1}),
    (("--owner", "ada"), {"owner": "ada"}),
    (("--answer-within", "4h"), {"answer_within_ms": 14_400_000}),
    (("--session", "s"), {"session": "s"}),
    (("--tick", "7"), {"tick": "7"}),
    (("--agent", "reviewer"), {"agent": "reviewer", "kind": TaskKind.AGENT}),
    (("--agent", "reviewer", "--kind", "chat"), {"agent": "reviewer", "kind": TaskKind.CHAT}),
    (("--label", "team=web", "--label", "why=a=b"), {"metadata": {"team": "web", "why": "a=b"}}),
]


@pytest.mark.parametrize(("flags", "fields"), FLAGS, ids=[row[0][0] for row in FLAGS])
def test_each_flag_becomes_its_field(
    ostler: Ostler, served: ServedHub, flags: tuple[str, ...], fields: dict[str, Any]
) -> None:
    """The task that is handed in has the field and nothing else beside the prompt."""
    assert ostler("submit", "do it", "--id", "t-1", *flags).code == 0
    assert served.asked("submit") == [((TaskSpec(id="t-1", prompt="do it", **fields),),)]


def test_every_flag_of_a_task_is_tested() -> None:
    """A new option without a row above is a gap."""
    options = {name for parameter in submit.params for name in parameter.opts if name.startswith("--")}
    tested_below = {"--command", "--branch", "--cwd", "--env"}
    not_of_the_task = {"--id", "--file", "--wait", "--json", "--hub", "--token-file"}

    assert options - {row[0][0] for row in FLAGS} == tested_below | not_of_the_task


def test_a_command_is_a_vector_and_keeps_its_own_flags(ostler: Ostler, served: ServedHub) -> None:
    """What follows `--` belongs to the command, also what looks like one of our flags."""
    words = ("--command", "--cwd", "/src", "--env", "CI=1", "--", "make", "--json", "-j", "two words")

    ostler("submit", "--id", "t-1", *words)

    spec = TaskSpec(
        id="t-1", kind=TaskKind.COMMAND, argv=("make", "--json", "-j", "two words"), cwd="/src", env={"CI": "1"}
    )
    assert served.asked("submit") == [((spec,),)]


def test_several_words_are_one_prompt(ostler: Ostler, served: ServedHub) -> None:
    """Quotes may be forgotten."""
    ostler("submit", "name", "three", "horses", "--id", "t-1")

    assert served.asked("submit") == [((TaskSpec(id="t-1", prompt="name three horses"),),)]


def test_a_dash_reads_the_prompt(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt comes through a pipe, line breaks kept."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"first\nsecond\n")))

    ostler("submit", "-", "--id", "t-1")

    assert served.asked("submit") == [((TaskSpec(id="t-1", prompt="first\nsecond\n"),),)]


@pytest.mark.parametrize(
    ("piped", "what"), [(b"\xff\xfe", "not UTF-8 text"), (b"a" * (MAX_INPUT_BYTES + 1), "more than 8388608 bytes")]
)
def test_what_is_piped_in_must_be_text_that_a_hub_takes(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch, piped: bytes, what: str
) -> None:
    """Said before anything is sent."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))

    code, _, said = ostler("submit", "-")

    assert code == ExitCode.USAGE
    assert what in said
    assert "standard input" in said
    assert served.asked("submit") == []


BAD: list[tuple[tuple[str, ...], str, str, str]] = [
    ((), "no prompt is given", "PROMPT", "write it as an argument"),
    (("  ",), "no prompt is given", "PROMPT", "write it as an argument"),
    (("--command",), "no command is given", "--command", "`--command -- make`"),
    (("x", "--id", "a/b"), "'a/b' cannot be an id", "--id", "letters, digits"),
    (("x", "--id", "-"), "'-' cannot be an id", "--id", "letters, digits"),
    (("x", "--kind", "command"), "a command is told by --command", "--kind", "leave --kind out"),
    (("--kind", "chat", "--command", "--", "make"), "a command is told by --command", "--kind", "leave --kind out"),
    (("x", "--timeout", "90"), "'90' is no duration", "--timeout", "90s"),
    (("x", "--ttl", "soon"), "'soon' is no duration", "--ttl", "90s"),
    (("x", "--verify", "grep 'a"), "is no command", "--verify", "close the quote"),
    (("x", "--verify", " "), "the command is empty", "--verify", "a program"),
    (("x", "--env", "CI"), "'CI' is no pair", "--env", "NAME=VALUE"),
    (("x", "--label", "=v"), "'=v' is no pair", "--label", "NAME=VALUE"),
    (("x", "--file", "t.yaml"), "a file names its own tasks", "--file", "leave prompt and --id out"),
]


@pytest.mark.parametrize(("words", "what", "where", "remedy"), BAD, ids=[" ".join(row[0]) or "nothing" for row in BAD])
def test_a_bad_flag_is_refused_before_the_hub_is_asked(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], what: str, where: str, remedy: str
) -> None:
    """One line: which flag, what is wrong with it, and what to write; exit code 2."""
    code, out, err = ostler("submit", *words)

    assert (code, out, served.hub.calls) == (ExitCode.USAGE, "", [])
    assert err.startswith(f"ostler: {where}: ")
    assert what in err
    assert remedy in err


@given(st.integers(1, 50))
def test_new_ids_are_ids_and_differ(count: int) -> None:
    """Ids made here are accepted by the hub, and 50 random bits do not collide in practice."""
    ids = {new_id() for _ in range(count)}

    assert len(ids) == count
    assert all(ID.fullmatch(task_id) and len(task_id) == 12 for task_id in ids)


def test_waiting_prints_the_output(ostler: Ostler, served: ServedHub) -> None:
    """The output alone goes to standard output; how it went is told beside it."""
    served.hub.on_submit = lambda spec: samples.task(spec.id, TaskState.SUCCEEDED, finished_ms=5, started_ms=1)

    code, out, err = ostler("submit", "x", "--id", "t-1", "--wait")

    assert (code, out) == (0, "done: 42\n")
    assert err.startswith("succeeded")


def test_waiting_for_a_failure_fails(ostler: Ostler, served: ServedHub) -> None:
    """Exit code 1, and the reason in words."""
    failure = Failure(kind=FailureClass.COMMAND, message="exit code 2", at_ms=5)
    served.hub.on_submit = lambda spec: samples.task(spec.id, TaskState.FAILED, finished_ms=5, failure=failure)

    code, _, err = ostler("submit", "x", "--wait")

    assert code == ExitCode.FAILED
    assert "command: exit code 2" in err


def test_waiting_ends_when_a_person_is_needed(ostler: Ostler, served: ServedHub) -> None:
    """A script does not hang until somebody looks."""
    served.hub.on_submit = lambda spec: samples.task(spec.id, TaskState.NEEDS_HUMAN)

    assert ostler("submit", "x", "--wait").code == ExitCode.FAILED


def test_waiting_as_json_prints_everything_at_the_end(ostler: Ostler, served: ServedHub) -> None:
    """One document, nothing beside it."""
    served.hub.on_submit = lambda spec: samples.task(spec.id, TaskState.SUCCEEDED, finished_ms=5)

    code, out, err = ostler("submit", "x", "--id", "t-1", "--wait", "--json")

    assert (code, err, len(out.splitlines())) == (0, "", 1)
    assert '"output":"done: 42"' in out


def test_an_interrupt_leaves_the_task_to_the_hub(served: ServedHub) -> None:
    """Ctrl-C while waiting: 130, nothing is cancelled, and it is said how to look."""
    served.hub.on_submit = lambda spec: samples.task(spec.id, TaskState.RUNNING)
    process = subprocess.Popen(
        [sys.executable, "-m", "ostler.cli.main", "submit", "x", "--id", "t-1", "--wait", "--hub", served.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ending(process):
        eventually(lambda: served.hub.followers == 1, "it waits")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out) == (ExitCode.INTERRUPTED, "")
    assert "t-1 goes on; see `ostler tasks show t-1`" in err
    assert served.asked("cancel") == []
