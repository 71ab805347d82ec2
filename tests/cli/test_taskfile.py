"""Task files: what is read, and every mistake with its place and remedy."""

import itertools
from collections.abc import Sized
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.cli.spec import ID
from ostler.cli.submit import submit
from ostler.cli.taskfields import FIELDS, MEANT, OWN
from ostler.cli.taskfile import BYTES_MAX, TaskFileError, load_task_file, parse_task_file
from ostler.domain.catalog import Capability
from ostler.domain.talk import Message
from ostler.domain.tasks import Complexity, Priority, ResultsRule, TaskKind, TaskSpec

GOOD = """\
name: release
defaults:
  tier: standard
  priority: high
  labels: {team: web}
tasks:
  - id: build
    command: make -j 2 "all targets"
    timeout: 10m
    tier: direct
  - id: notes
    prompt: |
      Write the release notes.
      Be brief.
    needs: build
    touches: CHANGELOG.md
  - id: announce
    kind: agent
    prompt: Announce it.
    needs: [notes, build]
    optional: true
"""


def test_a_file_becomes_tasks() -> None:
    """Defaults count where a task says nothing; kinds follow from what a task has."""
    file = parse_task_file(GOOD, "tasks.yaml")

    shared: dict[str, Any] = {"priority": Priority.HIGH, "metadata": {"team": "web"}}
    assert file.name == "release"
    assert file.specs == (
        TaskSpec(
            id="build",
            kind=TaskKind.COMMAND,
            argv=("make", "-j", "2", "all targets"),
            timeout_s=600.0,
            tier="direct",
            **shared,
        ),
        TaskSpec(
            id="notes",
            prompt="Write the release notes.\nBe brief.\n",
            needs=("build",),
            file_hints=("CHANGELOG.md",),
            tier="standard",
            **shared,
        ),
        TaskSpec(
            id="announce",
            kind=TaskKind.AGENT,
            prompt="Announce it.",
            needs=("notes", "build"),
            optional=True,
            tier="standard",
            **shared,
        ),
    )


def test_a_run_gives_the_tasks_ids_of_its_own() -> None:
    """Ids and needs are prefixed alike, so that the same file can run again beside itself."""
    first, second, _ = parse_task_file(GOOD, "tasks.yaml").for_run("r-1")

    assert (first.id, first.batch, first.title) == ("r-1.build", "r-1", "build")
    assert (second.id, second.needs) == ("r-1.notes", ("r-1.build",))


VALUES: list[tuple[str, str, str, object]] = [
    ("kind", "agent", "kind", TaskKind.AGENT),
    ("title", "a title", "title", "a title"),
    ("system", "'12'", "system", "12"),
    (
        "talk",
        "[user: Name a horse., assistant: Bucephalus.]",
        "talk",
        (Message(role="user", text="Name a horse."), Message(role="assistant", text="Bucephalus.")),
    ),
    ("cwd", "/src", "cwd", "/src"),
    ("env", "{CI: 'yes'}", "env", {"CI": "yes"}),
    ("timeout", "90s", "timeout_s", 90.0),
    ("repo", "web", "repo", "web"),
    ("branch", "main", "branch", "main"),
    ("touches", "[a.py, b.py]", "file_hints", ("a.py", "b.py")),
    ("success_criteria", "it builds", "success_criteria", ("it builds",)),
    ("verify", "[make test, [grep, -q, a b, x]]", "verify", (("make", "test"), ("grep", "-q", "a b", "x"))),
    ("verify", "make test", "verify", (("make", "test"),)),
    ("results", "none", "results", ResultsRule.NONE),
    ("requires", "[gpu]", "requires", frozenset({"gpu"})),
    ("worker", "box", "worker", "box"),
    ("runner", "claude", "runner", "claude"),
    ("priority", "low", "priority", Priority.LOW),
    ("critical", "true", "critical", True),
    ("optional", "true", "optional", True),
    ("complexity", "trivial", "complexity", Complexity.TRIVIAL),
    ("type", "code", "task_type", "code"),
    ("tier", "standard", "tier", "standard"),
    ("model", "qwen", "model", "qwen"),
    ("endpoint", "stable", "endpoint", "stable"),
    ("local_only", "true", "local_only", True),
    ("capabilities", "[tools, vision]", "capabilities", frozenset({Capability.TOOLS, Capability.VISION})),
    ("capabilities", "tools", "capabilities", frozenset({Capability.TOOLS})),
    ("context", "32k", "context_tokens", 32_768),
    ("context", "4096", "context_tokens", 4096),
    ("max_output", "100", "max_output_tokens", 100),
    ("temperature", "0", "temperature", 0.0),
    ("recent_errors", "[one, two]", "recent_errors", ("one", "two")),
    ("max_attempts", "1", "max_attempts", 1),
    ("ttl", "1.5h", "ttl_ms", 5_400_000),
    ("owner", "ada", "owner", "ada"),
    ("answer_within", "4h", "answer_within_ms", 14_400_000),
    ("session", "s", "session", "s"),
    ("tick", "'7'", "tick", "7"),
    ("agent", "reviewer", "agent", "reviewer"),
    ("tools", "[read, bash]", "tools", ("read", "bash")),
    ("phase", "late", "phase", "late"),
    ("expected", "15m", "expected_ms", 900_000),
    ("labels", "{why: test}", "metadata", {"why": "test"}),
]


@pytest.mark.parametrize(("field", "text", "attribute", "value"), VALUES, ids=[f"{row[0]}: {row[1]}" for row in VALUES])
def test_each_field_becomes_what_it_means(field: str, text: str, attribute: str, value: object) -> None:
    """A field as a person writes it, and as the hub gets it."""
    (spec,) = parse_task_file(f"tasks: [{{id: a, prompt: x, {field}: {text}}}]", "f").specs

    assert getattr(spec, attribute) == value


def test_every_field_is_tested_and_leads_to_a_task() -> None:
    """A new field without a row above is a gap; each names a field that a task has."""
    elsewhere = {"id", "needs", "prompt", "command", "role", "fallback"}
    assert {row[0] for row in VALUES} | elsewhere == set(FIELDS)
    assert {field.attribute for field in FIELDS.values()} <= set(TaskSpec.__struct_fields__)


def test_a_task_file_can_say_all_that_the_flags_can() -> None:
    """What `ostler submit` takes for a task, a file takes too, under the same name."""
    flags = {name.removeprefix("--").replace("-", "_") for parameter in submit.params for name in parameter.opts}
    only_flags = {"words", "file", "wait", "json", "hub", "token_file"}
    plural = {"capability": "capabilities", "label": "labels"}

    assert {plural.get(name, name) for name in flags - only_flags} <= set(FIELDS)


def test_words_of_other_tools_are_not_fields() -> None:
    """Each translation leads from a name that is not taken to one that is."""
    assert set(MEANT) & set(FIELDS) == set()
    assert set(MEANT.values()) <= set(FIELDS)


HEAD = "tasks:\n"
A = "  - {id: a, prompt: x}\n"

BAD: list[tuple[str, str, list[str]]] = [
    ("an empty file", "", ["f: the file is empty (write a list of `tasks:`)"]),
    ("only comments", "# nothing\n", ["f: the task file is empty"]),
    ("a list", "- a\n", ["f:1: a task file is a mapping of sections (start it with `tasks:`)"]),
    ("broken YAML", "tasks: [\n", ["f:2:1: not YAML"]),
    (
        "a second document",
        HEAD + A + "---\n" + HEAD,
        ["f:3: a second document starts here (a task file is one document"],
    ),
    ("no tasks", "name: x\n", ["f tasks: there are no tasks (write a list of `tasks:`)"]),
    ("an empty list", "tasks: []\n", ["f:1 tasks: expected a list of tasks, got a list (begin each task with"]),
    ("a mapping of tasks", "tasks: {a: {prompt: x}}\n", ["f:1 tasks: expected a list of tasks, got names with values"]),
    ("an unknown section", "task:\n" + HEAD + A, ["f:1 task: unknown section 'task' (did you mean 'tasks'?)"]),
    ("a task that is text", HEAD + "  - build\n", ["f:2 tasks[0]: expected the fields of a task, got 'build'"]),
    ("no id", HEAD + "  - prompt: x\n", ["f:2 tasks[0]: the task has no id (give it one: `id: NAME`)"]),
    ("an id that is none", HEAD + "  - {id: a/b, prompt: x}\n", ["f:2 tasks[0]: 'a/b' cannot be an id (use 1 to 128"]),
    (
        "an id that is a number",
        HEAD + "  - {id: 7, prompt: x}\n",
        ["f:2 tasks[0].id: expected a text, got 7 (put it in quotes)"],
    ),
    ("a long id", HEAD + f"  - {{id: {'a' * 81}, prompt: x}}\n", ["80 at most"]),
    ("an id twice", HEAD + A + A, ["f:3 tasks[1]: the id 'a' is given twice (first in line 2) (give each task"]),
    (
        "a key twice",
        HEAD + "  - id: a\n    prompt: x\n    prompt: y\n",
        ["f:4: 'prompt' is given twice (first in line 3)"],
    ),
    ("nothing to do", HEAD + "  - id: a\n", ["f:2 a: it has neither a prompt nor a command (add `prompt:`"]),
    (
        "a command without one",
        HEAD + "  - {id: a, kind: command, prompt: x}\n",
        ["f:2 a: it runs a command and has none"],
    ),
    (
        "an unknown field",
        HEAD + "  - id: a\n    promt: x\n",
        ["f:3 tasks[0]: unknown field 'promt' (did you mean 'prompt'?)"],
    ),
    ("a field of another tool", HEAD + "  - id: a\n    prompt: x\n    depends_on: b\n", ["(did you mean 'needs'?)"]),
    ("a field of the API", HEAD + "  - {id: a, prompt: x, timeout_s: 5}\n", ["'timeout_s' (did you mean 'timeout'?)"]),
    (
        "a need that is not there",
        HEAD + A + "  - {id: b, prompt: x, needs: aa}\n",
        ["f:3 b.needs: no task 'aa' in this file (did you mean 'a'?)"],
    ),
    (
        "a need of itself",
        HEAD + "  - {id: a, prompt: x, needs: a}\n",
        ["f:2 a.needs: tasks need each other in a ring: a -> a"],
    ),
    (
        "a ring",
        HEAD
        + "".join(
            f"  - {{id: {one}, prompt: x, needs: {other}}}\n" for one, other in [("a", "b"), ("b", "c"), ("c", "a")]
        ),
        ["f:2 a.needs: tasks need each other in a ring: a -> b -> c -> a (remove one of these needs)"],
    ),
    (
        "a wrong choice",
        HEAD + "  - {id: a, prompt: x, priority: hihg}\n",
        ["f:2 a.priority: 'hihg' is no valid choice (did you mean 'high'?)"],
    ),
    (
        "a talk that is a text",
        "tasks:\n  - {id: a, prompt: x, talk: hello}\n",
        ["f:2 a.talk: 'hello' is no talk (write a list of '- user: ...' and '- assistant: ...')"],
    ),
    (
        "a message without a role",
        "tasks:\n  - {id: a, prompt: x, talk: [hello]}\n",
        ["f:2 a.talk: 'hello' is no message (write '- user: ...' or '- assistant: ...')"],
    ),
    (
        "a wrong role",
        "tasks:\n  - {id: a, prompt: x, talk: [usr: hello]}\n",
        ["f:2 a.talk: 'usr' is no role (did you mean 'user'?)"],
    ),
    (
        "a wrong capability",
        HEAD + "  - {id: a, prompt: x, capabilities: [tool]}\n",
        ["f:2 a.capabilities: 'tool' is no valid choice (did you mean 'tools'?)"],
    ),
    (
        "a duration without a unit",
        HEAD + "  - {id: a, prompt: x, timeout: 5}\n",
        ["f:2 a.timeout: expected a duration, got 5 (write a unit too"],
    ),
    (
        "a flag in words",
        HEAD + "  - {id: a, prompt: x, optional: yes}\n",
        ["f:2 a.optional: expected true or false, got 'yes'"],
    ),
    (
        "a number in words",
        HEAD + "  - {id: a, prompt: x, max_attempts: two}\n",
        ["f:2 a.max_attempts: expected a whole number from 1 up"],
    ),
    (
        "no attempts",
        HEAD + "  - {id: a, prompt: x, max_attempts: 0}\n",
        ["f:2 a.max_attempts: expected a whole number from 1 up, got 0"],
    ),
    (
        "too hot",
        HEAD + "  - {id: a, prompt: x, temperature: 3}\n",
        ["f:2 a.temperature: expected a number from 0 to 2, got 3"],
    ),
    (
        "tokens in words",
        HEAD + "  - {id: a, prompt: x, context: many}\n",
        ["f:2 a.context: expected a number of tokens, got 'many'"],
    ),
    (
        "an open quote",
        HEAD + '  - {id: a, command: "grep \'a"}\n',
        ["f:2 a.command: this is no command", "(close the quote)"],
    ),
    ("an empty command", HEAD + "  - {id: a, command: ''}\n", ["f:2 a.command: the command is empty"]),
    ("a text that is a list", HEAD + "  - {id: a, prompt: [x]}\n", ["f:2 a.prompt: expected a text, got a list"]),
    (
        "pairs that are none",
        HEAD + "  - {id: a, prompt: x, env: CI}\n",
        ["f:2 a.env: expected names with values, got 'CI'"],
    ),
    (
        "nothing after the colon",
        HEAD + "  - {id: a, prompt: x, tier: }\n",
        ["f:2 a.tier: expected a text, got nothing"],
    ),
    (
        "a mistake in the defaults",
        "defaults: {tire: x}\n" + HEAD + A,
        ["f:1 defaults: unknown field 'tire' (did you mean 'tier'?)"],
    ),
    (
        "a default that is a task's own",
        "defaults: {needs: [a]}\n" + HEAD + A,
        ["f:1 defaults.needs: it is a task's own (say it in each task)"],
    ),
    (
        "defaults that are a list",
        "defaults: [x]\n" + HEAD + A,
        ["f:1 defaults: expected the fields of a task, got a list"],
    ),
    ("a name that is a list", "name: [x]\n" + HEAD + A, ["f:1 name: expected a text, got a list"]),
]


@pytest.mark.parametrize(("text", "messages"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_mistake_is_told_with_place_and_remedy(text: str, messages: list[str]) -> None:
    """File, line, field, what is wrong, what to write: exactly one message for one mistake."""
    with pytest.raises(TaskFileError) as caught:
        parse_task_file(text, "f")

    (problem,) = caught.value.problems
    assert [message for message in messages if message not in str(problem)] == []


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    """A person mends a file in one go."""
    text = "nam: x\n" + HEAD + "  - {id: a, promt: x}\n  - {id: a, prompt: y, tier: 3}\n  - {prompt: z, needs: q}\n"

    with pytest.raises(TaskFileError) as caught:
        parse_task_file(text, "f")

    lines = [problem.where for problem in caught.value.problems]
    assert lines == ["f:1 nam", "f:3 tasks[0]", "f:4 tasks[1]", "f:4 a.tier", "f:5 tasks[2]"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not there, not text, too large: each with the path."""
    (tmp_path / "binary").write_bytes(b"tasks:\n\xff")
    (tmp_path / "large").write_bytes(b" " * (BYTES_MAX + 1))

    for name, what in [
        ("nowhere", "No such file"),
        ("binary", "binary:2: byte 0xff is not UTF-8"),
        ("large", "right file"),
    ]:
        with pytest.raises(TaskFileError, match=what) as caught:
            load_task_file(str(tmp_path / name))
        assert name in str(caught.value)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Tasks with needs, with or without rings."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 8)))]
    return {name: draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) for name in names}


@given(graphs())
def test_a_file_is_accepted_exactly_when_its_needs_have_no_ring(needs: dict[str, list[str]]) -> None:
    """Rings are refused and named truly; everything else is handed in with its needs, whatever the order."""
    rows = [f"  - {{id: {name}, prompt: x, needs: [{', '.join(needed)}]}}\n" for name, needed in needs.items()]
    text = HEAD + "".join(rows)
    try:
        file = parse_task_file(text, "f")
    except TaskFileError as error:
        ring = error.problems[0].what.partition(": ")[2].split(" -> ")
        assert ring[0] == ring[-1]
        assert all(after in needs[before] for before, after in itertools.pairwise(ring))
    else:
        assert {spec.id: list(spec.needs) for spec in file.specs} == needs
        assert _has_order(needs)


def _has_order(needs: dict[str, list[str]]) -> bool:
    left = dict(needs)
    while ready := [name for name, needed in left.items() if not set(needed) & set(left)]:
        for name in ready:
            del left[name]
    return not left


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No file, however odd, ends in anything but tasks or a list of mistakes."""
    try:
        found: Sized = parse_task_file(text, "f").specs
    except TaskFileError as error:
        found = error.problems

    assert len(found) > 0


def test_ids_of_a_run_are_ids() -> None:
    """The longest local id in the longest run is still one the hub takes."""
    (spec,) = parse_task_file(f"tasks: [{{id: {'a' * 80}, prompt: x}}]", "f").for_run("r" * 40)

    assert ID.fullmatch(spec.id)


def test_what_is_a_tasks_own_has_no_default() -> None:
    """The rule names fields that exist."""
    assert set(FIELDS) >= OWN
