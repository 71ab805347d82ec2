"""How each agent is started: on our gateway, with the key in a variable alone, whatever the prompt is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError, NotAllowedError
from ostler.domain.states import Question
from ostler.domain.tasks import AGENT_NAMES, TaskKind, TaskSpec
from ostler.workers.runners.agents.contract import Job
from ostler.workers.runners.agents.prompting import ASKS, parted, prompt_of, question_of
from ostler.workers.runners.agents.shelf import ADAPTERS, DEFAULT, adapter_named

KEY = "ost-secret"
JOB = Job(
    prompt="Write a note.",
    model="small-horse",
    gateway="http://hub:7433",
    key=KEY,
    home="/place/home",
    tree="/place/tree",
    context_tokens=64_000,
    output_tokens=4_096,
)
NAMES = sorted(ADAPTERS)


def test_every_agent_that_a_profile_may_list_has_an_adapter() -> None:
    """And each adapter goes by its own name; the default is one of them."""
    assert set(ADAPTERS) == set(AGENT_NAMES)
    assert all(adapter.name == name for name, adapter in ADAPTERS.items())
    assert DEFAULT in ADAPTERS
    with pytest.raises(InvalidInputError, match=r"no agent 'opencod'.*did you mean 'opencode'"):
        adapter_named("opencod")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt", ["Write a note.", "--help", "-m x", "a 'b' \"c\"\n--model=other", "--"])
def test_a_prompt_is_never_an_option(name: str, prompt: str) -> None:
    """It stands behind `--`, as the value of its option, or in the file that is read; all else is the adapter's own."""
    start = ADAPTERS[name].start(replace(JOB, prompt=prompt))

    if start.stdin is not None:
        assert start.files[start.stdin] == prompt
        assert start.argv == ADAPTERS[name].start(JOB).argv
        return
    assert start.argv[-1] == f"--message={prompt}" or start.argv[-2:] == ("--", prompt)
    assert start.argv[:-1] == ADAPTERS[name].start(JOB).argv[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_the_key_is_in_a_variable_and_nowhere_else(name: str) -> None:
    """Arguments can be read by everyone on the machine, files by whoever finds the folder."""
    start = ADAPTERS[name].start(JOB)

    assert KEY in start.env.values()
    assert KEY not in " ".join(start.argv)
    assert KEY not in "".join(start.files.values())
    assert sum(KEY in value for value in start.env.values()) == 1
    assert KEY not in f"{start!r}{JOB!r}"


@pytest.mark.parametrize("name", NAMES)
def test_the_only_address_and_model_are_those_of_the_run(name: str) -> None:
    """The gateway's, and the model that was decided."""
    start = ADAPTERS[name].start(JOB)
    said = " ".join((*start.argv, *start.env.values()))

    assert "http://hub:7433" in said
    assert "small-horse" in said
    assert said.count("http") == said.count("http://hub:7433") + said.count("https://opencode.ai/config.json")


@pytest.mark.parametrize("name", NAMES)
def test_files_stay_in_the_home(name: str) -> None:
    """By relative paths that lead nowhere else."""
    for path in ADAPTERS[name].start(JOB).files:
        assert not path.startswith("/")
        assert ".." not in path


@pytest.mark.parametrize("name", NAMES)
def test_what_an_adapter_sets_is_its_own(name: str) -> None:
    """Each variable matches a pattern that hides left-overs and refuses a task's own."""
    from fnmatch import fnmatchcase

    adapter = ADAPTERS[name]

    for variable in adapter.start(JOB).env:
        assert any(fnmatchcase(variable, pattern) for pattern in adapter.owns), variable


@pytest.mark.parametrize(
    ("name", "tools", "told"),
    [
        ("opencode", ("read", "write"), '"permission":{"*":"deny","edit":"allow","list":"allow","read":"allow"}'),
        ("claude", ("read", "edit"), "--tools=Read,Edit,MultiEdit,NotebookEdit"),
        ("codex", ("read", "bash"), "--sandbox=read-only"),
        ("codex", ("write", "bash"), "--sandbox=workspace-write"),
        ("aider", ("edit", "write"), "--message=Write a note."),
    ],
)
def test_an_agent_is_held_to_the_tools_of_its_job(name: str, tools: tuple[str, ...], told: str) -> None:
    """In the way of each program; none named = all that it has."""
    start = ADAPTERS[name].start(replace(JOB, tools=tools))

    assert told in " ".join((*start.argv, *start.env.values()))


@pytest.mark.parametrize(("name", "tools"), [("codex", ("read", "write")), ("aider", ("read", "edit"))])
def test_a_program_that_cannot_be_held_to_its_tools_is_not_started(name: str, tools: tuple[str, ...]) -> None:
    """It is refused with what would be taken, not run with more than it may."""
    with pytest.raises(NotAllowedError, match=r"tools: .*(add|use another runner)"):
        ADAPTERS[name].start(replace(JOB, tools=tools))


@given(st.text(min_size=1), st.lists(st.text(min_size=1), max_size=3), st.lists(st.text(min_size=1), max_size=3))
def test_a_prompt_holds_all_that_was_asked(prompt: str, criteria: list[str], notes: list[str]) -> None:
    """The task's own words first, then what must hold and what came of earlier attempts."""
    spec = TaskSpec(id="t", kind=TaskKind.AGENT, prompt=prompt, success_criteria=tuple(criteria), repo="barn")

    told = prompt_of(spec, notes)

    assert told.startswith(prompt)
    assert all(f"- {text}" in told for text in (*criteria, *notes))
    assert "Nobody answers while you work" in told


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("NEEDS_HUMAN: Which one?", "Which one?"),
        ("Two ways are open.\n\n**NEEDS_HUMAN:** `Which one?` [a | b]\n", "Which one? [a | b]"),
        ("NEEDS_HUMAN: Which one?\nI went on all the same.", None),
        ("I would write NEEDS_HUMAN: if I had to ask.", None),
        ("NEEDS_HUMAN:", None),
        ("", None),
    ],
)
def test_a_question_is_the_last_line_and_begins_as_the_prompt_says(text: str, question: str | None) -> None:
    """Anything else is no question, or one that the agent answered itself."""
    assert question_of(text) == question
    assert ASKS in prompt_of(TaskSpec(id="t", kind=TaskKind.AGENT, prompt="x"), ())


@pytest.mark.parametrize(
    ("asked", "words", "choices", "default"),
    [
        ("Which one? [left | right]", "Which one?", ("left", "right"), None),
        ("Which one? [left | right] (default: right)", "Which one?", ("left", "right"), "right"),
        ("Which one? [Left|Right] default: LEFT", "Which one?", ("Left", "Right"), "Left"),
        ("Which one? [ a | a | b | ] (Default:  b )", "Which one?", ("a", "b"), "b"),
        ("Which name? (default: shop)", "Which name?", (), "shop"),
        ("Which of [left | right] first?", "Which of [left | right] first?", (), None),
        ("What is in [this]?", "What is in [this]?", (), None),
        ("What of [this]", "What of [this]", (), None),
        ("Which one? [left | right] (default: up)", "Which one? [left | right] (default: up)", ("left", "right"), None),
        ("[left | right]", "[left | right]", (), None),
        ("(default: x)", "(default: x)", (), None),
        ("Keep the default: yes or no?", "Keep the default: yes or no?", (), None),
    ],
)
def test_choices_and_default_stand_behind_the_question(
    asked: str, words: str, choices: tuple[str, ...], default: str | None
) -> None:
    """As the prompt says. What is not understood stays in the words, where a person reads it."""
    question = Question(choices=choices, default=default) if choices or default else None
    assert parted(asked) == (words, question)


@given(st.text(alphabet="ab [|](:) default", max_size=60))
def test_no_question_loses_its_words(asked: str) -> None:
    """Whatever an agent writes: there are words to show, and a default is one of the choices."""
    words, question = parted(asked)

    assert bool(words) == bool(asked.strip()), "words were lost"
    if question is not None and question.choices:
        assert len(question.choices) > 1, "one is no choice"
        assert question.default in (None, *question.choices), "a default that is no choice"


def test_earlier_attempts_in_the_same_folder_are_told_as_such() -> None:
    """Without a repository nothing is begun anew: what they did is still there."""
    spec = TaskSpec(id="t", kind=TaskKind.AGENT, prompt="x", cwd="/work")

    assert "in this very folder" in prompt_of(spec, ["Attempt 1 failed."])
    assert "from the same beginning" in prompt_of(replace(spec, cwd=None), ["Attempt 1 failed."])
