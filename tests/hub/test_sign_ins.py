"""Guessing tokens ends after some guesses; whoever works already is not locked out by one who guesses beside them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.hub.sign_ins import KNOWN_MAX, SignIns, TooOftenError, client_of, no_limit


class Stage:
    """Sign-ins with a clock that is moved by hand, and one token that is valid."""

    def __init__(self, per_min: int = 5) -> None:
        self.now_s = 0.0
        self.refusals: Counter[str] = Counter()
        self.looked_up = 0
        self.sign_ins = SignIns(per_min, lambda: self.now_s, lambda reason: self.refusals.update([reason]))

    def ask(self, token: str, address: str = "10.0.0.1") -> int:
        """What a door that uses them answers."""
        try:
            self.sign_ins.check(address, token)
        except TooOftenError as error:
            return error.http_status
        self.looked_up += 1
        if token == "right":
            self.sign_ins.passed(address, token)
            return 200
        self.sign_ins.failed(address, token)
        return 401


def test_after_some_guesses_nothing_is_looked_up_any_more() -> None:
    """A thousand guesses at once: five are looked at, each other one is told to come back."""
    stage = Stage()
    answers = Counter(stage.ask(f"guess {n}") for n in range(1_000))

    assert answers == {401: 5, 429: 995}
    assert stage.looked_up == 5
    assert stage.refusals == {"sign_in": 995}


@given(st.lists(st.floats(0, 30, allow_nan=False), max_size=60))
def test_guesses_flow_at_the_rate_of_the_setting(gaps_s: list[float]) -> None:
    """However they are spread: no more than the burst and so many a minute."""
    stage = Stage()
    for number, gap_s in enumerate(gaps_s):
        stage.now_s += gap_s
        stage.ask(f"guess {number}")
        assert stage.looked_up <= 5 + stage.now_s * 5 / 60 + 1, "more guesses were looked up than may be"


def test_a_token_that_was_valid_there_passes_beside_one_who_guesses() -> None:
    """A proxy's address is everybody's: one that guesses locks out only those who never signed in there."""
    stage = Stage()
    assert stage.ask("right") == 200
    for number in range(50):
        stage.ask(f"guess {number}")

    assert stage.ask("right") == 200
    assert stage.ask("right", "10.0.0.2") == 200
    assert stage.ask("wrong", "10.0.0.2") == 401


def test_a_right_token_that_is_new_there_waits() -> None:
    """Else the one guess that is right would pass."""
    stage = Stage()
    for number in range(50):
        stage.ask(f"guess {number}")
    assert stage.ask("right") == 429
    stage.now_s += 12

    assert stage.ask("right") == 200


def test_a_token_that_is_revoked_is_known_no_more() -> None:
    """Once it has failed, it is a guess like any other."""
    stage = Stage()
    stage.sign_ins.passed("10.0.0.1", "old")
    assert stage.sign_ins.knows("10.0.0.1", "old")
    stage.ask("old")

    assert not stage.sign_ins.knows("10.0.0.1", "old")


def test_the_refusal_says_when_to_come_back() -> None:
    """In whole seconds, with the setting that decides it, and without the token."""
    stage = Stage()
    for number in range(5):
        stage.ask(f"guess {number}")
    with pytest.raises(TooOftenError) as caught:
        stage.sign_ins.check("10.0.0.1", "a-secret")

    assert caught.value.retry_after_ms == 12_000
    assert "hub.sign_in_failures_per_minute" in caught.value.remedy
    assert "a-secret" not in str(caught.value)


def test_a_network_of_ipv6_is_one_client() -> None:
    """Its owner has 2^64 addresses to guess from."""
    stage = Stage()
    answers = Counter(stage.ask("guess", f"2001:db8::{n:x}") for n in range(1, 100))

    assert answers == {401: 5, 429: 94}
    assert stage.ask("guess", "2001:db8:0:1::1") == 401


@given(st.text(max_size=40))
def test_any_text_is_an_address(text: str) -> None:
    """What is no address counts as itself."""
    assert client_of(client_of(text)) == client_of(text)


def test_an_address_of_ipv4_in_ipv6_is_that_of_ipv4() -> None:
    """A socket for both shows them so."""
    assert client_of("::ffff:10.0.0.7") == "10.0.0.7"


def test_what_is_remembered_is_bounded() -> None:
    """Of valid tokens too: the one that was not used for longest gives way."""
    sign_ins = no_limit()
    for number in range(KNOWN_MAX + 1):
        sign_ins.passed("a", str(number))

    assert not sign_ins.knows("a", "0")
    assert sign_ins.knows("a", "1")
