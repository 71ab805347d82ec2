"""Results in a prompt: which are handed, where they stand, and what happens when they are too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.domain.states import TaskState
from ostler.domain.tasks import ResultsRule, TaskKind, TaskSpec
from ostler.domain.work import NeedResult
from ostler.routing.facts import describe
from ostler.routing.handing import check_names, common_length, cut, handed_needs, with_results
from tests.routing.fleets import THREE_TIERS


def spec(prompt: str = "sum up", needs: tuple[str, ...] = ("r.a", "r.b"), **fields: object) -> TaskSpec:
    return TaskSpec(id="r.t", prompt=prompt, needs=needs, batch="r", **fields)  # type: ignore[arg-type]


def result(name: str, output: str | None, state: TaskState = TaskState.SUCCEEDED) -> NeedResult:
    return NeedResult(name=name, task_id=f"r.{name}", state=state, output=output)


def test_a_prompt_that_names_no_result_gets_all_in_the_order_of_its_needs() -> None:
    """The task's own words come first, then each result between two lines that name it."""
    rendered = with_results(spec(), [result("a", "first"), result("b", "second")], None)
    prompt = rendered.spec.prompt
    assert prompt.startswith("sum up\n\nResults of the tasks")
    assert "--- result of a ---\nfirst\n--- end of a ---" in prompt
    assert prompt.index("first") < prompt.index("second")
    assert rendered.trimmed == {}


def test_named_results_stand_where_they_are_named_and_nowhere_else() -> None:
    """In the prompt and in the system prompt, with or without the id of the run; no block is added."""
    named = spec("compare {{ results.a }} with {{results.r.b}}", system="you know {{ results.a }}")
    rendered = with_results(named, [result("a", "A"), result("b", "B")], None).spec
    assert (rendered.prompt, rendered.system) == ("compare A with B", "you know A")


def test_a_result_is_never_searched_for_names() -> None:
    """What a model wrote cannot pull in another result."""
    rendered = with_results(spec("{{ results.a }}"), [result("a", "{{ results.b }}"), result("b", "secret")], None)
    assert rendered.spec.prompt == "{{ results.b }}"


@pytest.mark.parametrize(
    ("task", "handed"),
    [
        (spec(), ("r.a", "r.b")),
        (spec("only {{ results.b }}"), ("r.b",)),
        (spec(results=ResultsRule.NONE), ()),
        (spec("{{ results.b }}", results=ResultsRule.NONE), ()),
        (TaskSpec(id="c", kind=TaskKind.COMMAND, argv=("x", "{{ results.a }}"), needs=("a",)), ("a",)),
        (spec(needs=()), ()),
    ],
)
def test_what_is_handed(task: TaskSpec, handed: tuple[str, ...]) -> None:
    """Those that are named, else all that are needed; none where the task says so; a command gets all."""
    assert handed_needs(task) == handed


def test_a_name_that_is_no_need_is_refused_with_the_nearest_one() -> None:
    """A misspelt name must not go to a model as it stands."""
    with pytest.raises(InvalidInputError, match="does not need") as caught:
        describe(spec("use {{ results.bb }}", needs=("r.build", "r.b")), THREE_TIERS)
    assert "did you mean 'b'" in str(caught.value)


def test_a_task_without_needs_may_write_about_names() -> None:
    """Only what needs something has anything to name: a text about this notation is no mistake."""
    check_names(spec("explain {{ results.x }}", needs=()))
    assert with_results(spec("{{ results.x }}", needs=()), [], None).spec.prompt == "{{ results.x }}"


@pytest.mark.parametrize("prompt", ["sum up", "use {{ results.b }}"])
def test_a_missing_result_is_named_as_missing(prompt: str) -> None:
    """An optional task that failed leaves a note, never its half-done output."""
    text = with_results(spec(prompt), [result("b", None, TaskState.FAILED)], None).spec.prompt
    assert "[no result: b is optional and ended as failed]" in text


def test_the_longest_is_cut_first_and_says_so() -> None:
    """A short result stays whole beside a long one."""
    rendered = with_results(spec(), [result("a", "x" * 50), result("b", "y" * 5_000)], 1_200)
    assert "x" * 50 in rendered.spec.prompt
    assert set(rendered.trimmed) == {"b"}
    assert f"[... {rendered.trimmed['b']} characters left out ...]" in rendered.spec.prompt


texts = st.lists(st.text(alphabet="ab\n", max_size=400), min_size=1, max_size=5)


@given(texts, st.integers(0, 1_000))
def test_results_never_take_more_than_their_room(outputs: list[str], room: int) -> None:
    """The texts of all results together, notes of cuts included; nothing is cut that would have fitted."""
    results = [result(f"n{index}", output) for index, output in enumerate(outputs)]
    names = tuple(f"r.n{index}" for index in range(len(outputs)))
    prompt = "|".join(f"{{{{ results.n{index} }}}}" for index in range(len(outputs)))
    rendered = with_results(spec(prompt, needs=names), results, room)
    separators = len(outputs) - 1
    assert len(rendered.spec.prompt) - separators == rendered.given_characters
    assert rendered.given_characters <= max(room, 0)
    assert bool(rendered.trimmed) == (sum(map(len, outputs)) > room)


@given(texts, st.integers(300, 2_000))
def test_a_block_of_results_takes_no_more_than_its_room(outputs: list[str], room: int) -> None:
    """With all that stands around them."""
    results = [result(f"n{index}", output) for index, output in enumerate(outputs)]
    task = spec(needs=tuple(f"r.n{index}" for index in range(len(outputs))))
    prompt = with_results(task, results, room).spec.prompt
    assert len(prompt) - len(task.prompt) <= room
    assert all(f"--- result of n{index} ---" in prompt for index in range(len(outputs)))


@given(st.lists(st.integers(0, 500), max_size=8), st.integers(0, 2_000))
def test_the_common_length_is_as_large_as_it_can_be(lengths: list[int], room: int) -> None:
    """Cut to it, all fit; one character more for each that is cut, and they do not."""
    longest = common_length(lengths, room)
    if longest is None:
        assert sum(lengths) <= room
        return
    assert sum(min(length, longest) for length in lengths) <= room
    assert sum(min(length, longest + 1) for length in lengths) > room


@given(st.text(max_size=300), st.integers(0, 300))
def test_a_cut_text_keeps_its_ends_and_counts_what_is_missing(text: str, length: int) -> None:
    """Never longer than asked; head and tail are those of the whole."""
    if len(text) <= length:
        return
    short, missing = cut(text, length)
    assert len(short) <= length
    assert 0 < missing <= len(text)
    if "\n[... " in short and missing < len(text):
        head, _, rest = short.partition("\n[... ")
        tail = rest.partition("...]\n")[2]
        assert text.startswith(head)
        assert text.endswith(tail)


def test_facts_know_which_results_become_part_of_the_prompt() -> None:
    """Of a command none do; a stated window is meant for everything."""
    facts = describe(spec("only {{ results.b }}", context_tokens=9_000), THREE_TIERS)
    assert (facts.takes, facts.window_stated) == (("r.b",), True)
    command = TaskSpec(id="c", kind=TaskKind.COMMAND, argv=("x",), needs=("a",))
    assert describe(command, THREE_TIERS).takes == ()
