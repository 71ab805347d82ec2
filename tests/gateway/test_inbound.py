"""Heads and bodies of requests: keys found, foreign pages kept out, sizes bounded."""

import pytest

from ostler.config.settings import GatewaySettings
from ostler.domain.errors import InvalidInputError, NotAllowedError, OstlerError
from ostler.gateway.inbound import BodyTooLargeError, BodyTooSlowError, Door, Head, own_flag, own_number, read_body
from ostler.server.request import BadBodyError, SlowBodyError, TooLargeError
from tests.gateway.support import Client


def head_of(headers: dict[str, str], door: Door | None = None) -> Head:
    return (door or Door()).head(Client(b"", headers=headers).line)


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


async def body_of(client: Client, length: int | None = None) -> bytes:
    head = Head(method="POST", path="/", length=length)
    return await read_body(client.line, head, GatewaySettings(max_body_bytes=10, body_ms=1_500))


async def test_a_body_is_read_to_its_end() -> None:
    """As it came."""
    assert await body_of(Client(b"abc")) == b"abc"


@pytest.mark.parametrize(("body", "length"), [(b"x" * 11, None), (b"", 11)])
async def test_a_body_above_the_limit_is_refused_as_soon_as_it_shows(body: bytes, length: int | None) -> None:
    """By its announced length before a byte is read, else when the limit is passed."""
    with pytest.raises(BodyTooLargeError, match="larger than 10B") as caught:
        await body_of(Client(body), length)
    assert caught.value.http_status == 413


@pytest.mark.parametrize(
    ("flaw", "refused", "status", "said"),
    [
        (SlowBodyError(), BodyTooSlowError, 408, "not come whole after 1.5 s"),
        (BadBodyError("?"), InvalidInputError, 400, "framing is broken"),
        (TooLargeError(), BodyTooLargeError, 413, "gateway.max_body"),
    ],
)
async def test_a_body_that_does_not_come_whole_is_told(
    flaw: Exception, refused: type[OstlerError], status: int, said: str
) -> None:
    """Each in words that say what to do."""
    client = Client(b"")
    client.line.flaw = flaw
    with pytest.raises(refused, match=said) as caught:
        await body_of(client)
    assert (caught.value.http_status, bool(caught.value.remedy)) == (status, True)


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
