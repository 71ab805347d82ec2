"""Equal errors have equal signatures, whatever changes from one try to the next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.routing.signature import HEAD, LONGEST, signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeout after 5.2 s", "timeout after 11 s"),
        ("segfault at 0x7ffe12", "segfault at 0x55aa00ff"),
        ("request 1f2e3d4c5b6a failed", "request 99aabbccdd11 failed"),
        (
            "job 123e4567-e89b-12d3-a456-426614174000 lost",
            "job 00000000-0000-4000-8000-00000000beef lost",
        ),
        ("cannot open /tmp/run-1/a.txt", "cannot open /var/lib/x.log"),
        ("cannot open C:\\work\\a.txt", "cannot open D:\\b.txt"),
        ("no module named 'foo'", 'no module named "bar"'),
        ("GET http://10.0.0.7:11434/api/tags refused", "GET http://10.0.0.8:11434/api/ps refused"),
        ("connect to 10.0.0.7:11434 refused", "connect to 10.0.0.8:8080 refused"),
        ("mail to a@example.org bounced", "mail to b.c@example.com bounced"),
        ("  Two   spaces\n and a line", "two spaces and a line"),
    ],
)
def test_passing_details_do_not_matter(one: str, other: str) -> None:
    """Numbers, ids, addresses, paths, quoted text, case and white space are left out."""
    assert signature(one) == signature(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("connection refused", "connection reset"),
        ("can't read it, don't know why", "can't write it, don't know why"),
        ("x" * 300 + " disk full", "x" * 300 + " out of memory"),
        ("deadbeef is a word", "facade is a word"),
    ],
)
def test_different_errors_stay_different(one: str, other: str) -> None:
    """The whole message counts: also what stands behind the first hundred characters, and between apostrophes."""
    assert signature(one) != signature(other)


@given(st.text(max_size=400))
def test_a_signature_is_its_own_signature(message: str) -> None:
    """Normalising twice changes nothing, so a stored signature may be given back as an error."""
    once = signature(message)
    assert signature(once) == once


@given(st.text("ab'\"`/\\0x.:@- \n", max_size=400))
def test_a_signature_is_its_own_signature_for_awkward_marks(message: str) -> None:
    """The same for texts full of quotes, slashes and digits."""
    once = signature(message)
    assert signature(once) == once


@given(st.text("abc", min_size=LONGEST + 1, max_size=2_000))
def test_long_messages_are_cut_but_told_apart(message: str) -> None:
    """A long signature is short, keeps a readable head, and differs when only the end of the message differs."""
    cut = signature(message)
    assert len(cut) <= LONGEST
    assert cut.startswith(message[:HEAD])
    assert signature(message + "c") != cut
