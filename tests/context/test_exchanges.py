"""The one rule of what may be parted from what, over rows of turns alone."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.context.exchanges import Role, Turned, left_out, newest_exchanges

turns = st.lists(st.builds(Turned, st.sampled_from(list(Role)), st.integers(0, 50)), max_size=30)


def kept(row: list[Turned], gone: list[int]) -> list[Turned]:
    return [turn for index, turn in enumerate(row) if index not in gone]


def row(letters: str, tokens: int = 10) -> list[Turned]:
    """S, U, A and R for system, user, assistant, results."""
    roles = {"S": Role.SYSTEM, "U": Role.USER, "A": Role.ASSISTANT, "R": Role.RESULTS}
    return [Turned(roles[letter], tokens) for letter in letters]


def left(letters: str, tokens: int, turns_max: int | None = None) -> str:
    """The letters that stay."""
    gone = left_out(row(letters), tokens=tokens, turns_max=turns_max)
    return "".join(letter for index, letter in enumerate(letters) if index not in gone)


def test_whole_exchanges_go_then_rounds_of_the_newest() -> None:
    """Case by case, each turn ten tokens."""
    assert left("UAUAUA", 60) == "UAUAUA"
    assert left("UAUAUA", 59) == "UAUA"
    assert left("UAUAUA", 0) == "UA"
    assert left("SUARARA", 40) == "SUARA"
    assert left("SUARARA", 0) == "SUA"
    assert left("UARARAR", 50) == "UARAR"
    assert left("ARUA", 20) == "UA"
    assert left("UAAR", 0) == "UAAR", "two turns of an assistant in a row are one round"
    assert left("SSS", 0) == "SSS"
    assert left("", 0) == ""


def test_a_number_of_turns_is_a_limit_like_any_other() -> None:
    """System turns do not count."""
    assert left("SUAUAUA", 10_000, 4) == "SUAUA"
    assert left("SUAUAUA", 10_000, 3) == "SUA"
    assert left("UARARAR", 10_000, 5) == "UARAR"


@given(turns, st.integers(-50, 600), st.one_of(st.none(), st.integers(1, 20)))
def test_what_goes_is_only_what_has_to(found: list[Turned], tokens: int, turns_max: int | None) -> None:
    """The limits hold, or nothing more may go; system turns stay; doing it again changes nothing."""
    gone = left_out(found, tokens=tokens, turns_max=turns_max)
    rest = kept(found, gone)
    assert gone == sorted(set(gone))
    assert not any(found[index].role is Role.SYSTEM for index in gone)
    assert left_out(rest, tokens=tokens, turns_max=turns_max) == []
    talk = [turn for turn in rest if turn.role is not Role.SYSTEM]
    fits = sum(turn.tokens for turn in talk) <= tokens and (turns_max is None or len(talk) <= turns_max)
    if not fits and talk:
        starts = [at for at in range(1, len(talk)) if talk[at].role is Role.USER]
        assert starts == [], "an older exchange could have gone"


@given(turns, st.integers(-50, 600))
def test_results_never_begin_what_is_left_of_an_exchange(found: list[Turned], tokens: int) -> None:
    """Where a talk begins properly, each row of results still has an assistant before it."""
    talk = [turn for turn in found if turn.role is not Role.SYSTEM]
    orphans = [
        at for at, turn in enumerate(talk) if turn.role is Role.RESULTS and (not at or talk[at - 1].role is Role.USER)
    ]
    if orphans:
        return
    rest = kept(talk, left_out(talk, tokens=tokens))
    assert not any(
        turn.role is Role.RESULTS and (not at or rest[at - 1].role is Role.USER) for at, turn in enumerate(rest)
    )


@given(turns, st.integers(1, 20))
def test_the_newest_exchanges_are_as_many_as_fit_and_at_least_one(found: list[Turned], turns_max: int) -> None:
    """What is before them may be summarised."""
    begin = newest_exchanges(found, turns_max)
    talk = [turn for turn in found[begin:] if turn.role is not Role.SYSTEM]
    users = sum(turn.role is Role.USER for turn in talk[1:])
    assert len(talk) <= turns_max or not users
    assert begin == len(found) or found[begin].role is not Role.SYSTEM
