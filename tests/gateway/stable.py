"""A hub with a gateway before simulated upstreams of every format, for tests that only ask.

For each format there are three upstreams: `first` and `second` serve one model together, and take their plays from one
script, so that a fault strikes whichever is asked first; `lone` serves a model that is nowhere else.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ostler.domain.live import CallRecord
from ostler.domain.ports import CallQuery
from ostler.hub.gateway_views import KeyWish
from tests.e2e.process import HubProcess, until
from tests.gateway.dialects import AnswerDialect, Anthropic, Ollama, OpenAI
from tests.gateway.plays import answers
from tests.gateway.upstream import Call, Play, Upstream

FORMATS: dict[str, type[AnswerDialect]] = {"openai": OpenAI, "anthropic": Anthropic, "ollama": Ollama}
FIRST_TOKEN_MS = 1_000
STALL_MS = 500
DEADLINE_MS = 8_000
SLOTS = 4
CAPABILITIES = "tools, vision, thinking, embedding"
UPSTREAM_KEY = "sk-of-the-hub"
LIMITS = f"""\
gateway:
  first_token: {FIRST_TOKEN_MS}ms
  stall: {STALL_MS}ms
  whole: {FIRST_TOKEN_MS}ms
  deadline: {DEADLINE_MS}ms
  queue: 2s
scheduler:
  breaker_failures: 1000
  probe_interval: 60s
"""


@dataclass(frozen=True)
class Stall:
    """The upstreams of one format."""

    first: Upstream
    second: Upstream
    lone: Upstream

    @property
    def all(self) -> tuple[Upstream, ...]:
        """All of them."""
        return self.first, self.second, self.lone

    @property
    def pair_calls(self) -> list[Call]:
        """What the two that serve one model were sent, in order."""
        return sorted([*self.first.calls, *self.second.calls], key=lambda call: call.begun_s)

    def script_pair(self, *plays: Play, then: Play | None = None) -> None:
        """Play these to the coming requests, whichever of the two they go to."""
        self.first.script(*plays, then=then)
        self.second.share_script(self.first)


@dataclass(frozen=True)
class Stable:
    """A running hub and the upstreams behind it."""

    hub: HubProcess
    stalls: dict[str, Stall]
    known: set[str] = field(default_factory=set)
    """Ids of the calls of earlier tests, as far as they were recorded when this one began."""

    @property
    def url(self) -> str:
        """Address of the hub, without a path."""
        return self.hub.url

    def fresh(self) -> None:
        """Forget what earlier tests did: scripts, records, and what the hub learned of its endpoints."""
        for upstream in (upstream for stall in self.stalls.values() for upstream in stall.all):
            upstream.forget()
        for name in self.endpoint_names():
            self.hub.client.reset_endpoint(name)
        self.known.update(row.id for row in self.hub.client.calls(CallQuery()).calls)

    def key(self, name: str) -> str:
        """A new key of the gateway."""
        return self.hub.client.make_key(KeyWish(name=name)).key

    def calls(self, key_name: str) -> tuple[CallRecord, ...]:
        """What the hub recorded of the calls with a key, newest first."""
        return self.hub.client.calls(CallQuery(key=key_name)).calls

    def last_call(self, model: str) -> CallRecord:
        """The record of the newest call for a model since `fresh`; it is written a moment after the call has ended."""
        query = CallQuery(model=model, limit=1)
        found: list[CallRecord] = []

        def is_recorded() -> bool:
            found[:] = [row for row in self.hub.client.calls(query).calls if row.id not in self.known]
            return bool(found)

        until(is_recorded, "the call is recorded")
        return found[0]

    def is_idle(self) -> bool:
        """Whether no slot of any endpoint is taken."""
        return all(row.in_flight == 0 for row in self.hub.client.endpoints().endpoints)

    def endpoint_names(self) -> list[str]:
        """Names of all endpoints."""
        return [f"{format_}-{place}" for format_ in self.stalls for place in ("first", "second", "lone")]


def pair(format_: str) -> str:
    """The model that two upstreams of a format serve."""
    return f"{format_}-pair"


def lone(format_: str) -> str:
    """The model that one upstream of a format serves."""
    return f"{format_}-lone"


@contextmanager
def open_stable(folder: Path, more: str = LIMITS) -> Iterator[Stable]:
    """Start upstreams and hub; `more` is added to the profile."""
    with ExitStack() as stack:
        stalls = {}
        for name, dialect in FORMATS.items():
            places = [stack.enter_context(Upstream(dialect((pair(name),)), answers())) for _ in range(2)]
            places.append(stack.enter_context(Upstream(dialect((lone(name),)), answers())))
            stalls[name] = Stall(*places)
        hub = stack.enter_context(
            HubProcess(folder, "--no-worker", profile=profile(stalls) + more, env={"STABLE_KEY": UPSTREAM_KEY})
        )
        stable = Stable(hub, stalls)
        until(lambda: all(row.view.health == "up" for row in hub.client.endpoints().endpoints), "all endpoints are up")
        yield stable


def profile(stalls: dict[str, Stall]) -> str:
    """The profile of a hub before these upstreams."""
    rows = ["routing:", "  tiers:", "    standard:"]
    rows.append(f"      models: [{', '.join(f'{pair(name)}, {lone(name)}' for name in stalls)}]")
    rows.append("providers:")
    rows += [f"  {name}-stable: {{kind: {name}, api_key_env: STABLE_KEY, local: true}}" for name in stalls]
    rows.append("endpoints:")
    for name, stall in stalls.items():
        for place, upstream in zip(("first", "second", "lone"), stall.all, strict=True):
            suffix = "/v1" if name == "openai" else ""
            model = lone(name) if place == "lone" else pair(name)
            rows += [f"  {name}-{place}:", f"    provider: {name}-stable"]
            rows += [f"    url: {upstream.url}{suffix}", f"    models: [{model}]", f"    slots: {SLOTS}"]
    rows.append("models:")
    for name in stalls:
        for model in (pair(name), lone(name)):
            rows.append(f"  {model}: {{provider: {name}-stable, context: 200000, capabilities: [{CAPABILITIES}]}}")
    return "\n".join([*rows, "hub:", "  port: 0", ""])
