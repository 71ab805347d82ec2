"""Requests over real sockets: every way an answer can end, break or be no answer."""

import json
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.client.http1 import Site
from ostler.client.hub_client import HubClient
from ostler.client.transport import NoHubError, Transport, UnavailableError
from ostler.domain.errors import (
    ConflictError,
    ExitCode,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
    OstlerError,
    UnreachableError,
)
from ostler.domain.tasks import TaskSpec
from tests.cli.conftest import NOWHERE, Ostler
from tests.cli.scripted import Script, answers, hangs_up, resets, scripted, sends
from tests.web.recording_hub import PATIENCE_S, ServedHub, eventually, served_hub

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"

GOOD: list[tuple[str, Script]] = [
    ("by its length", answers(b'{"a":1}')),
    ("by chunks", sends(CHUNKED, b'3\r\n{"a\r\n', b'4;x=y\r\n":1}\r\n', b"0\r\nTrailer: x\r\n\r\n")),
    ("with the connection", sends(b'HTTP/1.0 200 OK\r\n\r\n{"a"', b":1}")),
    (
        "after a hint",
        sends(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b'HTTP/1.1 200 OK\r\nContent-Length:7\r\n\r\n{"a":1}'),
    ),
    ("with plain line ends", sends(b'HTTP/1.1 200 OK\nContent-Length: 7\n\n{"a":1}')),
]


@pytest.mark.parametrize("script", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_body_ends_as_its_header_says(script: Script) -> None:
    """By length, by chunks, or with the connection: the whole body and nothing more."""
    with scripted(script) as server:
        assert Transport(server.url).ask("GET", "/x") == b'{"a":1}'


BROKEN: list[tuple[str, Script, str]] = [
    ("short body", sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "broke off"),
    ("cut in a chunk", sends(CHUNKED, b"9\r\n{"), "broke off"),
    ("no last chunk", sends(CHUNKED, b"1\r\n{\r\n"), "broke off"),
    ("cut headers", sends(b"HTTP/1.1 200 OK\r\nContent-"), "broke off"),
    ("bad chunk size", sends(CHUNKED, b"zz\r\n"), "no valid length"),
    ("negative length", sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "no valid length"),
    ("another protocol", sends(b"SSH-2.0-OpenSSH_9.2\r\n"), "no web server"),
    (
        "too many headers",
        sends(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(300)) + b"\r\n"),
        "too many",
    ),
    ("nothing", hangs_up, "without an answer"),
    ("a reset", resets, "no hub answers"),
]


@pytest.mark.parametrize(("script", "reason"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_answer_is_never_taken_for_a_whole_one(script: Script, reason: str) -> None:
    """What was not said completely is an error with its reason, whatever had arrived."""
    with scripted(script) as server, pytest.raises(UnreachableError, match=reason) as caught:
        Transport(server.url).ask("POST", "/x", b"{}")

    assert "ostler up" in caught.value.remedy


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_chunks_are_put_together(chunks: list[bytes]) -> None:
    """However a body is cut into chunks, the same bytes arrive."""
    parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    with scripted(sends(CHUNKED, *parts, b"0\r\n\r\n")) as server:
        assert Transport(server.url).ask("GET", "/x") == b"".join(chunks)


STATUSES: list[tuple[str, type[OstlerError]]] = [
    ("400 Bad Request", InvalidInputError),
    ("401 Unauthorized", NotAllowedError),
    ("403 Forbidden", NotAllowedError),
    ("404 Not Found", NotFoundError),
    ("405 Method Not Allowed", InvalidInputError),
    ("409 Conflict", ConflictError),
    ("413 Content Too Large", InvalidInputError),
    ("500 Internal Server Error", OstlerError),
    ("502 Bad Gateway", UnreachableError),
    ("503 Service Unavailable", UnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES, ids=[row[0] for row in STATUSES])
def test_an_error_of_the_hub_becomes_the_same_error_here(status: str, kind: type[OstlerError]) -> None:
    """Class by status, the four parts unchanged: exit codes and texts are the hub's."""
    body = {"error": {"code": "some_code", "message": "m", "where": "w", "remedy": "r"}}
    with scripted(answers(json.dumps(body).encode(), status)) as server, pytest.raises(kind) as caught:
        Transport(server.url).ask("GET", "/x")

    error = caught.value
    assert type(error) is kind
    assert (error.code, error.what, error.where, error.remedy) == ("some_code", "m", "w", "r")


def test_a_hub_that_stands_by_says_why_nobody_leads() -> None:
    """It answers, so the message does not say that no hub does; the exit code is that of a hub that is not there."""
    error = {"code": "no_leader", "message": "this hub does not reach its database", "remedy": "see to it"}
    body = json.dumps({"error": error}).encode()
    with scripted(answers(body, "503 Service Unavailable")) as server, pytest.raises(NoHubError) as caught:
        Transport(server.url).ask("GET", "/x")

    assert str(caught.value) == f"{server.url}: this hub does not reach its database (see to it)"
    assert caught.value.exit_code == ExitCode.UNREACHABLE


def test_a_hub_whose_database_is_away_has_failed_and_is_not_absent() -> None:
    """Who waits takes it for one that is away for a while; whoever asked once hears that it failed."""
    assert issubclass(UnavailableError, UnreachableError)
    assert (UnavailableError.exit_code, UnreachableError.exit_code) == (ExitCode.FAILED, ExitCode.UNREACHABLE)


def test_an_error_page_of_something_else_is_no_hub() -> None:
    """Another program on the port is told apart from a hub that refuses."""
    page = answers(b"<html>no</html>", "404 Not Found")
    sign = "is not a hub of this version: it answered with status 404"
    with scripted(page) as server, pytest.raises(UnreachableError, match=sign):
        Transport(server.url).ask("GET", "/x")


def test_a_silent_server_is_given_up() -> None:
    """Each wait is bounded, and the text says how long it was."""
    done = threading.Event()

    def waits(_connection: socket.socket) -> None:
        done.wait(PATIENCE_S)

    with scripted(waits) as server:
        with pytest.raises(UnreachableError, match=r"gave no answer for 0\.05 s"):
            Transport(server.url, timeout_s=0.05).ask("GET", "/x")
        done.set()


def test_an_answer_that_was_asked_to_take_longer_may() -> None:
    """The time for a search comes on top of the usual patience."""

    def slowly(connection: socket.socket) -> None:
        threading.Event().wait(0.15)
        answers(b"{}")(connection)

    with scripted(slowly) as server:
        assert Transport(server.url, timeout_s=0.05).ask("GET", "/x", more_s=PATIENCE_S) == b"{}"


def test_a_submit_whose_answer_is_lost_is_sent_again() -> None:
    """The ids make it safe: the very same bytes go out twice, once."""
    answer = b'{"tasks":[{"id":"t-1","state":"queued","duplicate":true}]}'
    with scripted(hangs_up, answers(answer, "201 Created")) as server:
        client = HubClient(Transport(server.url))
        (task,) = client.submit([TaskSpec(id="t-1", prompt="x")]).tasks

    assert task.duplicate
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


def test_a_submit_is_sent_at_most_twice() -> None:
    """When the second answer is lost too, a person decides."""
    with scripted(hangs_up, resets, answers(b"{}")) as server, pytest.raises(UnreachableError):
        HubClient(Transport(server.url)).submit([TaskSpec(id="t-1", prompt="x")])

    assert len(server.requests) == 2


def test_what_may_have_been_done_is_not_sent_again() -> None:
    """A cancel whose answer is lost is not repeated behind the person's back."""
    with scripted(hangs_up, answers(b"{}")) as server, pytest.raises(UnreachableError):
        HubClient(Transport(server.url)).cancel("t-1")

    assert len(server.requests) == 1


def test_a_request_says_all_that_is_needed() -> None:
    """Host, type, length and token are there; the connection is not kept."""
    with scripted(answers(b"{}")) as server:
        Transport(server.url + "/prefix/", token="secret").ask("POST", "/x?y=1", b"{}")

    head, _, body = server.requests[0].partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "POST /prefix/x?y=1 HTTP/1.1"
    assert set(lines[1:]) == {
        f"Host: 127.0.0.1:{server.port}",
        "Connection: close",
        "Accept: application/json",
        "Authorization: Bearer secret",
        "Content-Type: application/json",
        "Content-Length: 2",
    }
    assert body == "{}"


def test_names_are_quoted_in_paths() -> None:
    """A name with a slash or a question mark asks about that name, not about another path."""
    with scripted(answers(b"{}", "404 Not Found")) as server, pytest.raises(UnreachableError):
        HubClient(Transport(server.url)).task("a/b?c")

    assert server.requests[0].startswith("GET /hub/tasks/a%2Fb%3Fc HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("url", "host", "port", "name", "prefix", "secure"),
    [
        ("http://box", "box", 80, "box", "", False),
        ("https://box/a/", "box", 443, "box", "/a", True),
        ("http://[::1]:7433", "::1", 7433, "[::1]:7433", "", False),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, name: str, prefix: str, secure: bool) -> None:
    """Host, port, header name and prefix of a base address."""
    site = Site(url)

    assert (site.host, site.port, site.name, site.prefix, site.secure) == (host, port, name, prefix, secure)


def test_an_address_without_a_valid_port_is_bad_input(ostler: Ostler) -> None:
    """It is the person's mistake, not the hub's."""
    code, _, err = ostler("status", "--hub", "http://box:port")

    assert code == 2
    assert "has no valid port" in err


def test_a_plain_server_behind_https_is_unreachable() -> None:
    """A failed handshake is told as what it is, without a traceback."""
    with scripted(hangs_up) as server, pytest.raises(UnreachableError, match="no hub answers"):
        Transport(server.url.replace("http", "https"), timeout_s=0.5).ask("GET", "/x")


def test_the_token_opens_a_guarded_hub(ostler: Ostler, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the variable; without it the refusal says how to make one."""
    with served_hub(require_token=True) as guarded:
        refused = ostler("status", "--hub", guarded.url)
        monkeypatch.setenv("OSTLER_TOKEN", "admin-token")
        allowed = ostler("status", "--hub", guarded.url)

    assert (refused.code, allowed.code) == (4, 0)
    assert "tokens create" in refused.err


def test_the_real_server_closes_nothing_early(ostler: Ostler, served: ServedHub) -> None:
    """A large body over the real server arrives whole."""
    prompt = "x" * 3_000_000

    assert ostler("submit", prompt, "--id", "t-1").code == 0
    assert served.asked("submit")[0][0][0].prompt == prompt


def test_nothing_listens(ostler: Ostler) -> None:
    """The reason is the system's own."""
    assert "Connection refused" in ostler("status", "--hub", NOWHERE).err


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=6), st.integers(1, 9))
def test_lines_of_a_stream_do_not_depend_on_its_pieces(lines: list[bytes], size: int) -> None:
    """However the network cuts a stream, the same lines come; a last line that was cut is left out."""
    text = b"".join(line + b"\n" for line in lines) + b"cut"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    server_sends = sends(b"HTTP/1.1 200 OK\r\n\r\n", *pieces)
    with scripted(server_sends) as server, Transport(server.url).listen("/x", {}, 5.0) as found:
        assert list(found) == lines


def test_a_line_without_end_is_given_up() -> None:
    """A server that sends for ever without a line break does not fill the memory."""
    flood = sends(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (2 * 1024 * 1024))
    with (
        scripted(flood) as server,
        Transport(server.url).listen("/x", {}, 5.0) as lines,
        pytest.raises(OSError, match="a line without end"),
    ):
        list(lines)


def test_hanging_up_ends_the_listening() -> None:
    """Another thread can end a wait that would last for ever."""
    done = threading.Event()

    def waits(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nretry: 1\n")
        done.wait(PATIENCE_S)

    with scripted(waits) as server:
        transport = Transport(server.url)
        with transport.listen("/x", {}, PATIENCE_S) as lines:
            assert next(lines) == b"retry: 1"
            threading.Timer(0.01, transport.hang_up).start()
            assert list(lines) == []
        done.set()
        transport.hang_up()


def test_who_hung_up_while_the_connection_was_made_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that would listen later: a thread that is left alone in the middle does nothing more."""
    with scripted(resets, resets) as server:
        transport = Transport(server.url)
        connect = Site.connect

        def hung_up_meanwhile(site: Site, timeout_s: float) -> socket.socket:
            connection = connect(site, timeout_s)
            transport.hang_up()
            return connection

        monkeypatch.setattr(Site, "connect", hung_up_meanwhile)
        for _ in range(2):
            with pytest.raises(OSError, match="hung up"), transport.listen("/x", {}, PATIENCE_S):
                pass
            monkeypatch.setattr(Site, "connect", connect)
        eventually(lambda: server.requests == ["", ""], "two connections without a question")
