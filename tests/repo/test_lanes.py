"""Files of tests are handed out so that those that wait run beside those that compute."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.lanes import WAITING, is_lane, next_file, rank

ROOT = Path(__file__).resolve().parents[2]
FILES = ("tests/wire/test_a.py", "tests/e2e/test_b.py", "tests/hub/test_c.py", "tests/crash/test_crashes_d.py")


def handed_out(workers: list[str], files: list[str]) -> dict[str, list[str]]:
    """Who gets which files when they ask in turn."""
    left, got = list(files), {worker: list[str]() for worker in workers}
    while left:
        for worker in workers[: len(left)]:
            file = next_file(left, lane=is_lane(worker))
            left.remove(file)
            got[worker].append(file)
    return got


def test_a_lane_takes_what_waits_and_the_others_what_computes() -> None:
    """In the order of the folders; the others in the order in which they come."""
    assert handed_out(["gw0", "gw1"], list(FILES)) == {
        "gw0": ["tests/crash/test_crashes_d.py", "tests/e2e/test_b.py"],
        "gw1": ["tests/wire/test_a.py", "tests/hub/test_c.py"],
    }


def test_who_has_nothing_of_its_own_kind_helps_out() -> None:
    """Nobody rests while there is work."""
    assert handed_out(["gw0"], list(FILES[::2])) == {"gw0": [FILES[0], FILES[2]]}
    assert handed_out(["gw1"], list(FILES[1::2])) == {"gw1": [FILES[1], FILES[3]]}


@given(
    st.lists(st.sampled_from([*(f"{start}x" for start in WAITING), "tests/x", "tests/y"]), unique=True),
    st.integers(1, 7),
)
def test_every_file_is_handed_out_once(files: list[str], workers: int) -> None:
    """Whatever there is, to however many."""
    got = handed_out([f"gw{number}" for number in range(workers)], files)

    assert sorted(file for some in got.values() for file in some) == sorted(files)


def test_every_kind_that_waits_is_there() -> None:
    """A folder that moves takes its place with it."""
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")]

    assert {rank(file) for file in files} == {None, *range(len(WAITING))}
