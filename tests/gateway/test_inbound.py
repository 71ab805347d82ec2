"""Heads and bodies of requests: keys found, foreign pages kept out, sizes bounded."""

import pytest

from ostler.domain.errors import InvalidInputError, NotAllowedError
from ostler.gateway.inbound import ClientGoneError, Door, Head, Message, TooLargeError, own_flag, own_number, read_body
from tests.gateway.support import Client


def head_of(headers: dict[str, str], door: Door | None = None) -> Head:
    return (door or Door()).head(Client(b"", headers=headers).scope)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer ost-a"}, "ost-a"),
        ({"authorization": "bearer  ost-a "}, "ost-a"),
        ({"x-api-key": "ost-b"}, "ost-b"),
        ({"x-api-key": "ost-b", "authorization": "Bearer ost-a"}, "ost-a"),
        ({"authorization": "Bearer ost-a", "x-api-key": "ost-b"}, "ost-a"),
        ({"authorization": "Basic b3N0LWE="}, ""),
        ({}, ""),
    ],
)
def test_a_key_is_found_where_each_kind_of_client_puts_it(headers: dict[str, str], key: str) -> None:
    """OpenAI's clients send a bearer token, Anthropic's a header of its own; some send both."""
    assert head_of(headers).key == key


def test_our_own_headers_and_those_for_the_endpoint_are_kept_apart() -> None:
    """What begins with our name is ours; only known ones go on; cookies and the rest go nowhere."""
    head = head_of(
        {"x-ostler-priority": "low", "anthropic-beta": "a,b", "anthropic-version": "2023-06-01", "cookie": "secret"}
    )
    assert head.own == {"priority": "low"}
    assert head.passed == {"anthropic-beta": "a,b", "anthropic-version": "2023-06-01"}


@pytest.mark.parametrize("host", ["127.0.0.1:7433", "localhost", "[::1]:9", "hub.lan:7433"])
def test_names_of_this_hub_are_answered(host: str) -> None:
    """Loopback by any name, and the names it was started with."""
    assert head_of({"host": host}, Door(["hub.lan"])).method == "POST"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:7433"},
        {"host": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
    ],
)
def test_pages_of_other_sites_are_kept_out(headers: dict[str, str]) -> None:
    """A rebound name and a foreign origin: what a browser cannot hide. Asking twice changes nothing."""
    door = Door()
    for _ in range(2):
        with pytest.raises(NotAllowedError) as caught:
            head_of(headers, door)
        assert caught.value.http_status == 403
        assert caught.value.remedy


def test_the_hubs_own_pages_may_call() -> None:
    """An origin that is the very site that was asked."""
    assert head_of({"host": "127.0.0.1:7433", "origin": "http://127.0.0.1:7433"}).key == ""


def test_with_keys_any_name_is_answered() -> None:
    """No browser attaches a key on its own, so the name does not matter then."""
    assert head_of({"host": "gateway.example"}, Door(None)).method == "POST"


async def body_of(messages: list[Message], limit: int = 10, length: int | None = None) -> bytes:
    async def receive() -> Message:
        return messages.pop(0)

    return await read_body(receive, Head(method="POST", path="/", length=length), limit)


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_read_to_its_end() -> None:
    """In one piece or in many."""
    assert await body_of([part(b"abc", more=False)]) == b"abc"
    assert await body_of([part(b"ab", more=True), part(b"", more=True), part(b"c", more=False)]) == b"abc"


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([part(b"x" * 11, more=False)], None),
        ([part(b"x" * 6, more=True), part(b"x" * 6, more=True), part(b"", more=False)], None),
        ([], 11),
    ],
)
async def test_a_body_above_the_limit_is_refused_as_soon_as_it_shows(
    messages: list[Message], length: int | None
) -> None:
    """By its announced length before a byte is read, else when the limit is passed."""
    with pytest.raises(TooLargeError) as caught:
        await body_of(messages, length=length)
    assert caught.value.http_status == 413


@pytest.mark.parametrize("messages", [[], [part(b"ab", more=True)]])
async def test_a_client_that_leaves_with_half_a_body_is_gone(messages: list[Message]) -> None:
    """Half a request is none."""
    with pytest.raises(ClientGoneError):
        await body_of([*messages, {"type": "http.disconnect"}])


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "1e10", ""])
def test_a_number_in_a_header_of_ours_is_checked(text: str) -> None:
    """What is no number above 0 is told with the header's name."""
    head = Head(method="POST", path="/", own={"deadline": text})
    with pytest.raises(InvalidInputError) as caught:
        own_number(head, "deadline")
    assert caught.value.where == "x-ostler-deadline header"


def test_numbers_and_flags_of_our_headers() -> None:
    """Absent, present, and neither yes nor no."""
    head = Head(method="POST", path="/", own={"deadline": "2.5", "whole": "true", "local-only": "maybe"})
    assert own_number(head, "deadline") == 2.5
    assert own_number(head, "queue") is None
    assert own_flag(head, "whole")
    assert not own_flag(head, "other")
    with pytest.raises(InvalidInputError, match="maybe"):
        own_flag(head, "local-only")
