"""Complexity and type of a task, by the documented rules."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind, TaskSpec
from ostler.learning.kinds import learn_kinds
from ostler.routing.aim import types_of
from ostler.routing.classify import classify
from ostler.routing.keywords import Keywords, TypeWords

TRIVIAL, STANDARD, COMPLEX, UNKNOWN = Complexity.TRIVIAL, Complexity.STANDARD, Complexity.COMPLEX, Complexity.UNKNOWN


def classified(prompt: str = "", *, files: int = 0, checks: int = 0, **spec: str | Complexity | None) -> Classification:
    hints = tuple(f"file{number}" for number in range(files))
    verify = tuple(("true",) for _ in range(checks))
    complexity = spec.get("complexity")
    task_type = spec.get("task_type")
    assert complexity is None or isinstance(complexity, Complexity)
    return classify(
        TaskSpec(
            id="t",
            prompt=prompt,
            title=spec.get("title") or "",
            file_hints=hints,
            verify=verify,
            complexity=complexity,
            task_type=task_type,
        )
    )


def words(count: int) -> str:
    return " ".join(["thing"] * count)


def test_nothing_to_go_by_is_unknown() -> None:
    """Without words, files and checks the answer is unknown with confidence 0."""
    found = classified()
    assert (found.complexity, found.confidence, found.source) == (UNKNOWN, 0.0, "none")
    assert found.reason == "none:standard type=general"


@pytest.mark.parametrize(
    ("prompt", "files", "checks", "confidence"),
    [
        ("refactor it", 0, 0, 0.7),
        ("refactor it", 4, 0, 0.8),
        ("refactor it", 3, 3, 0.7),
        ("security", 4, 4, 0.9),
        (f"redesign {words(50)}", 4, 4, 1.0),
        (f"redesign {words(49)}", 0, 0, 0.7),
        ("rename it during the migration", 0, 0, 0.7),
    ],
)
def test_a_complex_word_makes_it_complex(prompt: str, files: int, checks: int, confidence: float) -> None:
    """A word of hard work is enough, even beside a trivial one; counts above the limits add 0.1 each."""
    found = classified(prompt, files=files, checks=checks)
    assert (found.complexity, found.confidence) == (COMPLEX, confidence)


@pytest.mark.parametrize(
    ("prompt", "files", "checks", "complexity", "confidence"),
    [
        ("fix typo", 0, 0, TRIVIAL, 0.9),
        (f"fix typo {words(7)}", 0, 0, TRIVIAL, 0.9),
        (f"fix typo {words(8)}", 0, 0, TRIVIAL, 0.75),
        ("fix typo", 3, 3, TRIVIAL, 0.9),
        ("fix typo", 4, 0, TRIVIAL, 0.67),
        ("fix typo", 4, 4, COMPLEX, 0.67),
        ("fix typo", 4, 2, STANDARD, 0.33),
    ],
)
def test_a_trivial_word_needs_few_files_and_checks(
    prompt: str, files: int, checks: int, complexity: Complexity, confidence: float
) -> None:
    """A trivial word decides up to 3 files and 3 checks; beyond that the counts vote, and may still say trivial."""
    found = classified(prompt, files=files, checks=checks)
    assert (found.complexity, found.confidence) == (complexity, confidence)


@pytest.mark.parametrize(
    ("count", "files", "checks", "complexity", "confidence"),
    [
        (9, 0, 0, STANDARD, 1.0),  # three votes for trivial, raised
        (10, 0, 0, STANDARD, 0.67),  # two votes for trivial, raised
        (10, 1, 0, STANDARD, 0.67),
        (10, 3, 3, STANDARD, 1.0),
        (50, 1, 1, STANDARD, 1.0),
        (51, 4, 4, COMPLEX, 1.0),
        (51, 4, 0, COMPLEX, 0.67),
        (51, 1, 0, STANDARD, 0.33),  # a three-way tie goes to standard
        (9, 1, 4, STANDARD, 0.33),
        (0, 1, 0, STANDARD, 0.67),
    ],
)
def test_the_counts_vote(count: int, files: int, checks: int, complexity: Complexity, confidence: float) -> None:
    """Words below 10, 10 to 50 and above, files and checks 0, 1 to 3 and more: the majority decides."""
    found = classified(words(count), files=files, checks=checks)
    assert (found.complexity, found.confidence) == (complexity, confidence)


@given(st.text(), st.integers(0, 10), st.integers(0, 10))
def test_shortness_alone_is_never_trivial(prompt: str, files: int, checks: int) -> None:
    """Nothing is trivial without a word that says so."""
    found = classified(prompt, files=files, checks=checks)
    assert found.complexity is not TRIVIAL or any(signal.startswith("trivial words") for signal in found.signals)
    assert 0.0 <= found.confidence <= 1.0
    assert (found.complexity is UNKNOWN) == (found.confidence == 0.0)


def test_a_stated_complexity_wins_and_the_heuristic_runs_all_the_same() -> None:
    """A contradiction is visible with the heuristic's answer and confidence, and changes nothing."""
    found = classified("refactor the scheduler", complexity=TRIVIAL)
    assert (found.complexity, found.source) == (TRIVIAL, "explicit")
    assert (found.inferred_complexity, found.confidence) == (COMPLEX, 0.7)
    assert found.disagrees
    assert not classified("refactor the scheduler", complexity=COMPLEX).disagrees


def test_a_stated_unknown_is_no_statement() -> None:
    """`unknown` leaves the answer to the heuristic."""
    assert classified("fix typo", complexity=UNKNOWN).source == "heuristic"


@pytest.mark.parametrize(
    ("prompt", "task_type"),
    [
        ("Remember what we said", "memory_ops"),
        ("reflect on today", "reflection"),
        ("tl;dr please", "summarization"),
        ("hello there", "general"),
        ("a strategy for the launch", "planning"),
        ("debug this", "coding"),
        ("deployment to production", "high_stakes"),
        ("ship it", "final_polish"),
        ("do a final review", "final_polish"),
        ("plan a strategy for the code", "planning"),  # two against one
        ("code, code and code: plan a strategy", "planning"),  # a keyword counts once
        ("debug the plan", "coding"),  # one each: the higher minimum
        ("debug production", "coding"),  # one each, the same minimum: by name
        ("recall the journal", "memory_ops"),
        ("code and release", "final_polish"),
    ],
)
def test_the_type_with_most_keywords_wins(prompt: str, task_type: str) -> None:
    """Distinct keywords are counted; ties go to the higher minimum tier, then by name."""
    assert classified(prompt).task_type == task_type


def test_the_policys_minimums_settle_ties() -> None:
    """Where the profile orders types otherwise, ties follow the profile."""
    spec = TaskSpec(id="t", prompt="debug the plan")
    assert classify(spec, type_ranks={"planning": 3, "coding": 1}).task_type == "planning"
    assert classify(spec, type_ranks={"coding": 1}).task_type == "coding"


def test_a_stated_type_wins() -> None:
    """An explicit type is taken as it is."""
    found = classified("debug this", task_type="docs")
    assert (found.task_type, found.type_source) == ("docs", "explicit")


def test_the_title_counts_unless_the_prompt_repeats_it() -> None:
    """Words of the title are read; a title that is part of the prompt is not counted twice."""
    assert classified("please", title="Fix typo").complexity is TRIVIAL
    assert classified("Fix typo now", title="Fix typo").word_count == 3


def test_a_profile_may_bring_its_own_words() -> None:
    """The tables are data: others can be given."""
    tables = Keywords(
        complex=("gnarly",),
        trivial=("easy",),
        types=(TypeWords(name="garden", floor=0, words=("water",)),),
        default_type="other",
    )
    found = classify(TaskSpec(id="t", prompt="a gnarly refactor: watering"), keywords=tables)
    assert (found.complexity, found.task_type) == (COMPLEX, "garden")
    assert classify(TaskSpec(id="t", prompt="debug"), keywords=tables).task_type == "other"


def test_signals_say_what_decided() -> None:
    """The record names the words and counts behind both answers."""
    signals = classified("plan it", files=1).signals
    assert signals == (
        "2 words: trivial",
        "1 files: standard",
        "0 checks: trivial",
        "raised from trivial: shortness alone is no sign",
        "planning words: plan",
    )


READER = learn_kinds(
    [
        ("docs", "write the manual of the editor"),
        ("docs", "describe all settings in the manual"),
        ("bugfix", "the editor crashes, fix the crash"),
        ("bugfix", "repair the wrong totals"),
    ]
).reader()


def test_texts_of_known_types_tell_the_type() -> None:
    """Where they are sure; what was stated goes before, and without a reader nothing changes."""
    spec = TaskSpec(id="t", prompt="describe all settings of the editor in the manual")
    found = classify(spec, reader=READER)
    assert (found.task_type, found.type_source, found.named_type) == ("docs", "learned", "")
    assert found.type_confidence > 0.6
    stated = classify(msgspec.structs.replace(spec, task_type="own"), reader=READER)
    assert (stated.task_type, stated.type_source, stated.type_confidence) == ("own", "explicit", 0.0)
    assert classify(spec).type_source == "none"


def test_keywords_are_remembered_beside_what_was_learned() -> None:
    """The profile's rules hold for what the words name."""
    found = classify(TaskSpec(id="t", prompt="describe all settings of the release in the manual"), reader=READER)
    assert (found.task_type, found.named_type) == ("docs", "final_polish")


def test_too_little_to_go_by_is_left_to_the_keywords() -> None:
    """Then to nobody: the default type, with what came nearest among the signals."""
    words = classify(TaskSpec(id="t", prompt="deploy the purple umbrellas tomorrow"), reader=READER)
    assert (words.task_type, words.type_source) == ("high_stakes", "heuristic")
    nothing = classify(TaskSpec(id="t", prompt="purple umbrellas tomorrow"), reader=READER)
    assert (nothing.task_type, nothing.type_source) == ("general", "none")
    assert any("too little to go by" in signal for signal in nothing.signals)


def test_a_keyword_makes_its_type_more_likely() -> None:
    """The tables are a prior: the same text is told with more confidence where one of its words is in the table."""
    reader = learn_kinds([("planning", "order the tasks"), ("docs", "write the manual")]).reader()
    spec = TaskSpec(id="t", prompt="order the tasks of the manual by a strategy")
    without = classify(spec, reader=reader, keywords=Keywords(complex=(), trivial=(), types=(), default_type="general"))
    assert classify(spec, reader=reader).type_confidence > without.type_confidence


def test_what_was_learned_of_texts_raises_nothing_by_rule() -> None:
    """A minimum or an override of the profile needs a word of the tables, or that the task says its type."""
    spec = TaskSpec(id="t", prompt="describe all settings of the editor in the manual")
    learned = classify(spec, reader=READER)
    assert types_of(TaskFacts(id="t", kind=TaskKind.CHAT, classification=learned)) == ()
    named = msgspec.structs.replace(learned, named_type="coding")
    assert types_of(TaskFacts(id="t", kind=TaskKind.CHAT, classification=named)) == ("coding",)
    stated = classify(msgspec.structs.replace(spec, task_type="docs"), reader=READER)
    assert types_of(TaskFacts(id="t", kind=TaskKind.CHAT, classification=stated)) == ("docs",)
