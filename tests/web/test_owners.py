"""One worker cannot act for another one: a session belongs to the token that opened it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import NotAllowedError
from ostler.web.owners import IDLE_S, OWNERS_MAX, SessionOwners
from tests.web.asking import ask
from tests.web.recording_hub import ServedHub

JOIN = b'{"name":"w","host":"h","instance":"one","version":"1","slots":{"chat":1}}'
NAMELESS = b'{"name":"w","host":"h","slots":{"chat":1}}'


def test_another_token_is_refused_while_the_first_is_in_use() -> None:
    """Until it has been silent for a minute; then the session, or what is left of it, is that one's."""
    now_s = 0.0
    owners = SessionOwners(lambda: now_s)
    owners.check("s-1", "mine")
    now_s = IDLE_S - 1
    owners.check("s-1", "mine")
    now_s += IDLE_S - 1
    with pytest.raises(NotAllowedError, match="opened with another token"):
        owners.check("s-1", "other")
    now_s += 1.5
    owners.check("s-1", "other")

    with pytest.raises(NotAllowedError):
        owners.check("s-1", "mine")
    owners.forget("s-1")
    owners.check("s-1", "mine")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(0, 90, allow_nan=False))))
def test_two_tokens_never_share_a_session_within_a_minute(asks: list[tuple[str, str, float]]) -> None:
    """Whatever the order: between two accepted calls of different tokens lies a minute of silence."""
    now_s = 0.0
    owners = SessionOwners(lambda: now_s)
    last: dict[str, tuple[str, float]] = {}
    for session, token, gap_s in asks:
        now_s += gap_s
        try:
            owners.check(session, token)
        except NotAllowedError:
            continue
        if session in last and last[session][0] != token:
            assert now_s - last[session][1] >= IDLE_S, "a session changed hands while it was in use"
        last[session] = token, now_s


def test_what_is_remembered_is_bounded() -> None:
    """Sessions that are made up cost a bounded memory."""
    owners = SessionOwners(lambda: 0.0)
    for number in range(OWNERS_MAX + 10):
        owners.check(f"s-{number}", "mine")

    owners.check("s-0", "other")
    with pytest.raises(NotAllowedError):
        owners.check(f"s-{OWNERS_MAX}", "other")


@pytest.mark.parametrize("verb", ["heartbeat", "poll", "reports", "leave"])
def test_no_verb_of_a_session_is_another_tokens(served: ServedHub, verb: str) -> None:
    """Over HTTP: refused with 403 before the hub is asked."""
    bodies = {"heartbeat": b"null", "poll": b'{"wait_ms":0}', "reports": b"[]"}
    session = f"/hub/workers/s-{verb}"
    assert ask(served, "POST", f"{session}/heartbeat", b"null", token="worker-token").status == 200
    before = len(served.hub.calls)
    got = ask(served, "POST", f"{session}/{verb}", bodies.get(verb), token="admin-token")

    assert (got.status, got.error["code"]) == (403, "not_allowed")
    assert len(served.hub.calls) == before


def test_a_join_with_the_instance_of_another_worker_is_refused(served: ServedHub) -> None:
    """It would be given that one's session, and its work with it."""
    first = ask(served, "POST", "/hub/workers/join", JOIN, token="worker-token")
    second = ask(served, "POST", "/hub/workers/join", JOIN, token="admin-token")

    assert (first.status, second.status) == (200, 403)


def test_workers_without_an_instance_are_nobody_in_particular(served: ServedHub) -> None:
    """Each gets a session of its own, so none can be taken for another."""
    answers = [ask(served, "POST", "/hub/workers/join", NAMELESS, token=t) for t in ("worker-token", "admin-token")]

    assert [answer.status for answer in answers] == [200, 200]
