"""What every driver promises, run against a fake server of each wire format."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest
from msgspec.structs import replace

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import ProbeStatus
from ostler.domain.ports import EndpointDriver
from ostler.domain.states import FailureClass
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from tests.fleet.conftest import PLENTY
from tests.fleet.fakes import CALL, KEY, KEY_ENV, FakeServer, Script, WallClock, Wire

BOUND_S = 3.0
HURRY = msgspec.structs.replace(PLENTY, first_token_timeout_ms=400)
RESTLESS = msgspec.structs.replace(PLENTY, idle_timeout_ms=150)
"""Each has one short limit, so that no other one is met where the machine is busy."""


async def collect(driver: EndpointDriver, spec: EndpointSpec, call: ModelCall = CALL) -> tuple[list[Delta], Completion]:
    """A whole answer; there must be exactly one completion, at the end."""
    async with asyncio.timeout(BOUND_S):
        items = [item async for item in driver.chat(spec, call)]
    deltas, last = items[:-1], items[-1]
    assert isinstance(last, Completion)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return [delta for delta in deltas if isinstance(delta, Delta)], last


async def failure(driver: EndpointDriver, spec: EndpointSpec, call: ModelCall = CALL) -> CallError:
    """The error of a call that must fail."""
    with pytest.raises(CallError) as caught:
        await collect(driver, spec, call)
    return caught.value


def hurried(limits: DriverSettings = HURRY) -> DriverSet:
    """Drivers that lose patience at once."""
    return DriverSet({KEY_ENV: KEY}, WallClock(), limits)


async def test_a_good_answer(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Text comes in the order sent; the end says why and what it cost."""
    server.script = Script(wire.good("Good ", "morning, ", "horse."))

    deltas, completion = await collect(drivers, wire.spec(server))

    assert [delta.text for delta in deltas] == ["Good ", "morning, ", "horse."]
    assert completion.finish_reason == "stop"
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (12, 3)
    assert not completion.usage.estimated
    assert completion.usage.first_token_ms is not None


async def test_chunks_may_be_cut_anywhere(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """A network cuts in the middle of lines and letters."""
    stream = b"".join(wire.good("Grüße, ", "Pferd."))
    server.script = Script([stream[i : i + 7] for i in range(0, len(stream), 7)])

    deltas, _ = await collect(drivers, wire.spec(server))

    assert "".join(delta.text for delta in deltas) == "Grüße, Pferd."


async def test_thinking_is_kept_apart(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Hidden reasoning is no part of the answer."""
    frames = [*wire.begin(), wire.thinking("hm, "), wire.thinking("a horse"), wire.text("Neigh."), *wire.finish()]
    server.script = Script(frames)

    deltas, completion = await collect(drivers, wire.spec(server))

    assert "".join(delta.text for delta in deltas) == "Neigh."
    assert "".join(delta.reasoning for delta in deltas) == "hm, a horse"
    assert completion.usage.reasoning_tokens > 0


async def test_the_limit_is_said_as_length(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Every format has its own word for it."""
    server.script = Script([*wire.begin(), wire.text("Once"), *wire.finish("length")])

    _, completion = await collect(drivers, wire.spec(server))

    assert completion.finish_reason == "length"


async def test_an_answer_of_nothing_but_thinking_is_a_failure(
    wire: Wire, server: FakeServer, drivers: DriverSet
) -> None:
    """A thinking model that spends its limit before it says anything is not good enough for this call."""
    server.script = Script([*wire.begin(), wire.thinking("hm"), *wire.finish("length", tokens=(12, 64))])

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.CAPABILITY
    assert "64 output tokens" in error.message


@pytest.mark.parametrize("ending", ["close", "abort"])
async def test_a_stream_without_its_end_marker_was_cut(
    wire: Wire, server: FakeServer, drivers: DriverSet, ending: str
) -> None:
    """Whether the body ends properly or the connection dies: what came is not passed off as complete."""
    server.script = Script([*wire.begin(), wire.text("Good "), *wire.finish()[:-1]], ending=ending)

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.CUT
    assert error.emitted


async def test_a_frame_cut_in_the_middle_is_a_cut(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Half a frame at the end is not malformed, it is missing its other half."""
    server.script = Script([*wire.begin(), wire.text("Good "), wire.text("morning")[:-12]])

    assert (await failure(drivers, wire.spec(server))).kind is FailureClass.CUT


async def test_an_end_marker_without_its_line_end_counts(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Some servers close right after the last byte that matters."""
    server.script = Script([b"".join(wire.good("Hello")).rstrip(b"\n")])

    deltas, completion = await collect(drivers, wire.spec(server))

    assert [delta.text for delta in deltas] == ["Hello"]
    assert completion.finish_reason == "stop"


async def test_a_silent_stream_has_stalled(wire: Wire, server: FakeServer) -> None:
    """It had begun, then nothing comes: the connection is closed and the failure says so."""
    server.script = Script([*wire.begin(), wire.text("Good ")], ending="hang")
    drivers = hurried(RESTLESS)

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.STALLED
    assert error.emitted
    await asyncio.wait_for(server.gone.wait(), BOUND_S)
    await drivers.close()


@pytest.mark.parametrize("with_headers", [True, False])
async def test_the_first_token_can_be_too_late(wire: Wire, server: FakeServer, *, with_headers: bool) -> None:
    """Whether the server sends headers first or nothing at all."""
    server.script = Script(wire.begin() or [b"\n"] if with_headers else [], ending="hang")
    drivers = hurried()

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.TIMEOUT
    assert not error.emitted
    await asyncio.wait_for(server.gone.wait(), BOUND_S)
    await drivers.close()


async def test_keep_alives_do_not_put_off_the_first_token(wire: Wire, server: FakeServer) -> None:
    """A server that only says it is busy has not answered."""

    def pulse() -> list[bytes]:
        return [wire.keep_alive or b"\n"] * 3

    server.script = Script([*wire.begin(), *pulse()], ending="hang")
    drivers = hurried()

    assert (await failure(drivers, wire.spec(server))).kind is FailureClass.TIMEOUT
    await drivers.close()


async def test_nonsense_in_the_stream_is_malformed(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """The line shows the beginning of what could not be read."""
    server.script = Script([*wire.begin(), wire.text("Good "), wire.odd_frame, *wire.finish()])

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.MALFORMED
    assert error.emitted
    assert "oops" in error.message


async def test_a_web_page_is_no_stream(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """A login form answers everything with status 200."""
    server.script = Script([b"<html>sign in</html>"], content_type="text/html; charset=utf-8")

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.MALFORMED
    assert "HTML" in error.message


async def test_an_error_inside_the_stream_keeps_its_class(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """HTTP said success before the engine failed."""
    server.script = Script([*wire.begin(), wire.text("Good "), wire.error_frame()])

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.OVERLOADED
    assert error.emitted


async def test_a_rate_limit_says_how_long(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """The wait is handed on in milliseconds."""
    server.script = Script(status=429, headers={"Retry-After": "7"}, body=wire.error_body("slow down"))

    error = await failure(drivers, wire.spec(server))

    assert (error.kind, error.retry_after_ms, error.emitted) == (FailureClass.RATE_LIMIT, 7_000, False)
    assert "slow down" in error.message


async def test_a_refused_key_is_named_and_not_shown(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """The message names the variable, never its value, even when the server echoes it."""
    server.script = Script(status=401, body=wire.error_body(f"bad key {KEY}"))

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.AUTH
    assert KEY_ENV in error.message
    assert KEY not in f"{error} {error.message} {error.__cause__!r}"


async def test_a_key_echoed_inside_the_stream_is_not_shown(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Errors inside a stream are cleaned like any other."""
    server.script = Script([*wire.begin(), wire.odd_frame.replace(b"oops", KEY.encode())])

    assert KEY not in (await failure(drivers, wire.spec(server))).message


async def test_the_key_travels_in_a_header(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Where the protocol wants it, and nowhere else."""
    server.script = Script(wire.good("Hi"))

    await collect(drivers, wire.spec(server))

    seen = server.seen[-1]
    assert KEY in " ".join(seen.headers.values())
    assert KEY not in seen.path
    assert seen.headers["Accept-Encoding"] == "identity"


async def test_a_call_of_a_trace_says_so_in_a_header(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """As every protocol carries it; another call has none."""
    server.script = Script(wire.good("Hi"))
    driver, spec = drivers.of(wire.kind), wire.spec(server)
    for call in (replace(CALL, traceparent="00-a-b-01"), CALL):
        async for _ in driver.chat(spec, call):
            pass

    headers = [{name.lower(): value for name, value in seen.headers.items()} for seen in server.seen[-2:]]
    assert [seen.get("traceparent") for seen in headers] == ["00-a-b-01", None]


async def test_without_its_key_nothing_is_sent(wire: Wire, server: FakeServer) -> None:
    """Calls and probes name the variable that is missing."""
    drivers = DriverSet({KEY_ENV: "  "}, WallClock(), PLENTY)

    error = await failure(drivers, wire.spec(server))
    probe = await drivers.probe(wire.spec(server))

    assert error.kind is FailureClass.AUTH
    assert KEY_ENV in error.message
    assert probe.status is ProbeStatus.KEY_INVALID
    assert KEY_ENV in probe.message
    assert server.seen == []
    await drivers.close()


async def test_a_garbled_key_is_refused_before_it_travels(wire: Wire, server: FakeServer) -> None:
    """A key pasted with a line break would split the header."""
    drivers = DriverSet({KEY_ENV: "sk-1\nX-Evil: yes"}, WallClock(), PLENTY)

    error = await failure(drivers, wire.spec(server))

    assert error.kind is FailureClass.AUTH
    assert "Evil" not in error.message
    assert server.seen == []
    await drivers.close()


async def test_no_server_is_a_network_failure(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """With the address and a question that helps."""
    spec = wire.spec(server, url="http://127.0.0.1:1")

    error = await failure(drivers, spec)
    probe = await drivers.probe(spec)

    assert error.kind is FailureClass.NETWORK
    assert error.message == "cannot connect at 127.0.0.1:1 (connection refused): is the server running?"
    assert (probe.status, probe.message) == (ProbeStatus.UNAVAILABLE, error.message)


@pytest.mark.parametrize("url", ["http://", "nonsense", "http://127.0.0.1:99999", "ftp://127.0.0.1", "http://a..b:1"])
async def test_an_impossible_address_is_a_failure_like_any_other(
    wire: Wire, server: FakeServer, drivers: DriverSet, url: str
) -> None:
    """Nothing but `CallError` leaves a driver."""
    spec = wire.spec(server, url=url)

    assert (await failure(drivers, spec)).kind is FailureClass.NETWORK
    assert (await drivers.probe(spec)).status is ProbeStatus.UNAVAILABLE


async def test_redirects_are_not_followed(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """They would carry prompt and key to an address nobody configured."""
    server.script = Script(status=307, headers={"Location": f"{server.url}/elsewhere"})

    assert (await failure(drivers, wire.spec(server))).kind is FailureClass.MALFORMED
    assert [seen.path for seen in server.seen] == [wire.chat_path]


async def test_closing_the_iterator_stops_the_upstream(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """The endpoint sees the connection close while it still answers."""
    server.script = Script([*wire.begin(), wire.text("Good ")], ending="hang")
    answer = drivers.chat(wire.spec(server), CALL)
    async with aclosing(answer):
        assert isinstance(await anext(answer), Delta)
        assert not server.gone.is_set()

    await asyncio.wait_for(server.gone.wait(), BOUND_S)


@pytest.mark.parametrize("begun", [True, False])
async def test_cancelling_the_reader_stops_the_upstream(
    wire: Wire, server: FakeServer, drivers: DriverSet, *, begun: bool
) -> None:
    """Also before the first byte of an answer."""
    server.script = Script([*wire.begin(), wire.text("Good ")] if begun else [], ending="hang")
    task = asyncio.create_task(collect(drivers, wire.spec(server)))
    await asyncio.wait_for(server.answering.wait(), BOUND_S)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.gone.wait(), BOUND_S)


@pytest.mark.parametrize("ending", ["close", "late"])
async def test_a_connection_is_used_again_after_a_whole_answer(
    wire: Wire, server: FakeServer, drivers: DriverSet, ending: str
) -> None:
    """A finished stream is read to its end, so that the next call needs no new connection."""
    server.script = Script(wire.good("Hi"), ending=ending)
    for _ in range(3):
        await collect(drivers, wire.spec(server))

    assert len(server.connections) == 1


async def test_a_connection_is_not_used_again_after_a_failure(
    wire: Wire, server: FakeServer, drivers: DriverSet
) -> None:
    """A server that failed while it answered may drop the connection later, and with it the next call."""
    server.scripts = [Script([*wire.begin(), wire.text("Good ")])]
    server.script = Script(wire.good("Hi"))
    assert (await failure(drivers, wire.spec(server))).kind is FailureClass.CUT

    await collect(drivers, wire.spec(server))

    assert len(server.connections) == 2


async def test_a_slow_reader_loses_nothing(wire: Wire, server: FakeServer) -> None:
    """The time the consumer takes is not held against the endpoint."""
    server.script = Script(wire.good("a", "b", "c"))
    drivers = hurried(RESTLESS)
    texts = []
    async for item in drivers.chat(wire.spec(server), CALL):
        await asyncio.sleep(RESTLESS.idle_timeout_ms / 1_000 * 1.2)
        texts.append(item)

    assert isinstance(texts[-1], Completion)
    await drivers.close()


async def test_many_answers_at_once_share_one_session(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """There is no limit on connections here; the scheduler has one."""
    server.script = Script(wire.good("Hi"))

    answers = await asyncio.gather(*(collect(drivers, wire.spec(server)) for _ in range(40)))

    assert len(answers) == 40


@pytest.mark.parametrize("reused", [True, False])
async def test_what_may_not_be_sent_any_more_is_not(
    wire: Wire, server: FakeServer, drivers: DriverSet, reused: bool
) -> None:
    """It is asked when the connection is there: who was frozen while it connected has lost its right meanwhile. On a
    connection that was used before, too; the next call is served.
    """
    server.script = Script(wire.good("Hi"))
    if reused:
        await collect(drivers, wire.spec(server))
    before, asked = len(server.seen), list[int]()

    def may_send() -> bool:
        asked.append(len(server.seen))
        return False

    with pytest.raises(CallError) as caught:
        async for _ in drivers.chat(wire.spec(server), CALL, may_send):
            pass

    assert caught.value.kind is FailureClass.WORKER_LOST
    assert "nothing was sent" in caught.value.message
    assert asked == [before]
    await collect(drivers, wire.spec(server))
    assert len(server.seen) == before + 1


async def test_the_right_to_send_is_asked_for_once_for_each_request(
    wire: Wire, server: FakeServer, drivers: DriverSet
) -> None:
    """And it is that of the call, however many are under way."""
    server.script = Script(wire.good("Hi"))
    asked: list[int] = []

    async def one(number: int) -> FailureClass | None:
        def may_send() -> bool:
            asked.append(number)
            return number % 2 == 0

        try:
            async for _ in drivers.chat(wire.spec(server), CALL, may_send):
                pass
        except CallError as error:
            return error.kind
        return None

    ends = await asyncio.gather(*(one(number) for number in range(8)))
    assert sorted(asked) == list(range(8))
    assert ends == [None, FailureClass.WORKER_LOST] * 4
    assert len(server.seen) == 4


async def test_calls_after_close_fail_and_close_may_come_twice(
    wire: Wire, server: FakeServer, drivers: DriverSet
) -> None:
    """A late call during shutdown is a failed call, not a crash."""
    await drivers.close()
    await drivers.close()

    assert (await failure(drivers, wire.spec(server))).kind is FailureClass.NETWORK
