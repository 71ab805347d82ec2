"""What a worker says of itself: names of its machine, slots it can really fill, an identity nobody else has."""

import platform
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.app import logs, remote_worker
from ostler.app.options import WorkerOptions
from ostler.app.worker_parts import LOOPBACK_NAMES, agent_limits, host_names, identity_of, judge_at, offer
from ostler.client.transport import Transport
from ostler.config.settings import AgentLimits, WorkerSettings, WorkerSlots
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.tasks import TaskKind
from ostler.version import __version__
from ostler.workers.runners.agents import versions
from ostler.workers.runners.agents.contract import Adapter
from ostler.workers.runners.agents.watch import Limits

EVERYTHING = WorkerSettings(allow=tuple(TaskKind), slots=WorkerSlots(command=3, chat=5, agent=7))


def is_loopback(name: str) -> bool:
    return name in LOOPBACK_NAMES or name.startswith(("127.", "localhost"))


class Machine:
    """What the system would say of this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.has_agents()
        self.known("studio", "studio.lan", "127.0.1.1", "192.168.1.7", "::1", "fd00::7", "192.168.1.7")

    def has_agents(self, *names: str) -> None:
        """These agent command lines are on the PATH, no others."""

        def found(adapter: Adapter, environ: object) -> str | None:
            return f"/bin/{adapter.name}" if adapter.name in names else None

        self._monkeypatch.setattr(versions, "found", found)

    def known(self, node: str, full: str, *addresses: str) -> None:
        def getaddrinfo(name: str, port: object) -> list[tuple[object, ...]]:
            if not addresses:
                raise socket.gaierror(-2, "Name or service not known")
            return [(None, None, None, "", (address, 0)) for address in addresses]

        self._monkeypatch.setattr(platform, "node", lambda: node)
        self._monkeypatch.setattr(socket, "getfqdn", lambda: full)
        self._monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine named studio."""
    return Machine(monkeypatch)


def test_a_machine_goes_by_its_name_its_full_name_and_its_addresses(machine: Machine) -> None:
    """Each once, the name first, no loopback."""
    assert host_names() == ("studio", "studio.lan", "192.168.1.7", "fd00::7")


@pytest.mark.parametrize(
    ("node", "full", "addresses"),
    [
        ("localhost", "localhost", ("127.0.0.1", "::1", "10.0.0.9")),
        ("localhost", "localhost.localdomain", ("127.0.0.1",)),
        ("", "localhost", ()),
        ("localhost.localdomain", "localhost", ("127.0.0.1",)),
    ],
)
def test_a_machine_without_a_name_of_its_own_never_goes_by_a_loopback_name(
    machine: Machine, node: str, full: str, addresses: tuple[str, ...]
) -> None:
    """To the hub "localhost" is the hub's machine: work for its engines would be sent to a machine without them."""
    machine.known(node, full, *addresses)
    names = host_names()

    assert names
    assert all(name and not is_loopback(name) for name in names)
    assert names == host_names(), "the same after a restart"
    remote, inside = offer(EVERYTHING), offer(EVERYTHING, builtin=True)
    assert not any(is_loopback(name) for name in (remote.host, *remote.host_aliases))
    assert set(LOOPBACK_NAMES) <= {inside.host, *inside.host_aliases}


def test_the_worker_inside_the_hub_is_on_its_localhost_and_no_other_is(machine: Machine) -> None:
    """Endpoints of the profile at localhost are on the hub's machine."""
    remote, inside = offer(EVERYTHING), offer(EVERYTHING, builtin=True)

    assert remote.host_aliases == ("studio.lan", "192.168.1.7", "fd00::7")
    assert inside.host_aliases == (*remote.host_aliases, *LOOPBACK_NAMES)
    assert (remote.builtin, inside.builtin) == (False, True)


def test_a_machine_whose_address_is_unknown_still_has_a_name(machine: Machine) -> None:
    """No network yet."""
    machine.known("studio", "studio")

    assert host_names() == ("studio",)


def test_a_host_that_was_named_is_the_only_name(machine: Machine) -> None:
    """Who says what the machine is called knows which endpoints are on it."""
    told = offer(EVERYTHING, host="rack-7")

    assert (told.host, told.host_aliases, told.name) == ("rack-7", (), "rack-7")


@pytest.mark.parametrize(
    ("told", "configured", "expected"), [(None, None, "studio"), (None, "conf", "conf"), ("cli", "conf", "cli")]
)
def test_the_name_is_what_was_said_last(
    machine: Machine, told: str | None, configured: str | None, expected: str
) -> None:
    """Command line over profile over machine."""
    assert offer(msgspec.structs.replace(EVERYTHING, name=configured), name=told).name == expected


@pytest.mark.parametrize(
    ("allow", "slots"),
    [
        ((TaskKind.CHAT,), {TaskKind.CHAT: 5}),
        ((TaskKind.COMMAND,), {TaskKind.COMMAND: 3}),
        ((TaskKind.AGENT,), {}),
        (tuple(TaskKind), {TaskKind.COMMAND: 3, TaskKind.CHAT: 5}),
        ((), {}),
    ],
)
def test_slots_are_offered_for_allowed_kinds_that_can_run_here(
    machine: Machine, allow: tuple[TaskKind, ...], slots: dict[TaskKind, int]
) -> None:
    """Nothing is assigned that nobody here could run."""
    found = offer(msgspec.structs.replace(EVERYTHING, allow=allow))

    assert dict(found.slots) == slots


def test_agents_are_offered_where_they_are_allowed_and_installed(machine: Machine) -> None:
    """With the name of each as a capability, so that a task that names one goes to a worker that has it."""
    machine.has_agents("claude", "aider")
    section = msgspec.structs.replace(EVERYTHING, agents=("opencode", "claude"))

    found = offer(section)

    assert found.slots[TaskKind.AGENT] == 7
    assert found.capabilities == {"agent:claude"}
    assert offer(msgspec.structs.replace(section, allow=(TaskKind.CHAT,))).capabilities == frozenset()


def test_an_offer_carries_the_profiles_capabilities_and_repos(machine: Machine) -> None:
    """And the version, so that a hub can tell."""
    section = msgspec.structs.replace(EVERYTHING, capabilities=("gpu", "rust", "gpu"), repos=("a", "b=/srv/b"))
    found = offer(section)

    assert (found.capabilities, found.repos, found.version) == (frozenset({"gpu", "rust"}), ("a", "b"), __version__)


async def test_slots_for_agents_that_are_not_installed_are_refused(
    monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    """Before anything is started; a worker that took such work would fail all of it."""
    monkeypatch.setattr(logs, "set_up", lambda level: None)
    options = WorkerOptions(hub="http://127.0.0.1:9", token="t", slots={TaskKind.CHAT: 1, TaskKind.AGENT: 1})

    with pytest.raises(InvalidInputError, match="opencode") as caught:
        await remote_worker.serve_worker(options)
    assert caught.value.where == "--slots"


async def test_a_worker_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to make one."""
    monkeypatch.setattr(logs, "set_up", lambda level: None)

    with pytest.raises(InvalidInputError, match="needs a token") as caught:
        await remote_worker.serve_worker(WorkerOptions(hub="http://127.0.0.1:9"))
    assert "ostler tokens create" in caught.value.remedy


# Surrogates too: the name of a folder need not be text.
PARTS = st.text(st.characters(exclude_characters="\0"), max_size=8)


@given(PARTS, PARTS, PARTS, PARTS)
def test_an_identity_belongs_to_one_hub_and_one_name(scope: str, name: str, other_scope: str, other_name: str) -> None:
    """The same after a restart; another hub, another name, or the same letters split elsewhere is another."""
    same = (scope, name) == (other_scope, other_name)

    assert (identity_of(scope, name) == identity_of(other_scope, other_name)) is same
    assert len(identity_of(scope, name)) == 16
    assert identity_of(scope, name).isalnum()


def test_limits_of_agents_are_those_of_the_profile() -> None:
    """In seconds where a run is watched; what a profile leaves out is what a run has without one."""
    said = AgentLimits(first_event_ms=1_000, silent_ms=2_000, linger_ms=500, wall_ms=4_000, output_bytes=5)

    assert agent_limits(AgentLimits()) == Limits()
    assert agent_limits(said) == Limits(first_s=1, silent_s=2, linger_s=0.5, wall_s=4, output_bytes=5)
    assert agent_limits(AgentLimits(repeats=3, steps=9)) == Limits(repeats=3, steps=9)


@pytest.mark.parametrize("body", ['{"choices": []}', "{}", "<html>", '{"choices": [{"message": {"content": 7}}]}'])
async def test_an_answer_of_a_judge_that_cannot_be_read_is_no_opinion(
    monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """It is told as an error, which the run takes for no opinion; nothing else comes out of it."""
    monkeypatch.setattr(Transport, "ask", lambda *_args, **_more: body.encode())

    with pytest.raises(OstlerError, match="the judge's answer cannot be read"):
        await judge_at("http://hub:7433")("key", "tier:cheap", "Is it good?")


async def test_a_judge_is_asked_at_the_gateway_on_the_key_of_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a chat with a tier for its model; what it says comes back, nothing said is an empty text."""
    asked: list[tuple[str, str, bytes]] = []
    answers = iter(['{"choices": [{"message": {"content": "PASS"}}]}', '{"choices": [{"message": {"content": null}}]}'])

    def ask(transport: Transport, method: str, path: str, body: bytes) -> bytes:
        asked.append((transport.url, f"{method} {path}", body))
        return next(answers).encode()

    monkeypatch.setattr(Transport, "ask", ask)
    judge = judge_at("http://hub:7433")

    assert await judge("key", "tier:cheap", "Is it good?") == "PASS"
    assert await judge("key", "tier:cheap", "Is it good?") == ""
    url, route, body = asked[0]
    assert (url, route) == ("http://hub:7433", "POST /v1/chat/completions")
    sent = msgspec.json.decode(body)
    assert (sent["model"], sent["messages"]) == ("tier:cheap", [{"role": "user", "content": "Is it good?"}])
