"""Moves after failures, money, and what a request may ask for: the tables of the gateway."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.config.settings import GatewaySettings
from ostler.domain.catalog import EndpointKind, EndpointSpec, ModelSpec
from ostler.domain.errors import InvalidInputError
from ostler.domain.limits import Subscription
from ostler.domain.live import GatewayKey
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Priority
from ostler.gateway.dialects import format_for, path_of
from ostler.gateway.inbound import Head
from ostler.gateway.money import cost_of
from ostler.gateway.moves import Move, excluded_by, next_move
from ostler.gateway.question import terms_of
from ostler.gateway.records import spent
from ostler.wire.codec import Format
from ostler.wire.talk import Tokens

NEVER_AROUND = [FailureClass.AUTH, FailureClass.REFUSAL, FailureClass.POLICY]
SETTINGS = GatewaySettings()


def endpoint(
    kind: EndpointKind = EndpointKind.OPENAI, url: str = "http://gpu:1", *, local: bool = True
) -> EndpointSpec:
    return EndpointSpec(name="e", kind=kind, url=url, provider="p", host="h", local=local)


@pytest.mark.parametrize("kind", NEVER_AROUND)
@pytest.mark.parametrize("stand_in", [False, True])
def test_refusals_and_bad_keys_are_never_routed_around(kind: FailureClass, stand_in: bool) -> None:
    """Another model is not asked what one has refused, and a key of ours that is bad needs a person."""
    assert next_move(kind, stand_in=stand_in) is Move.TELL


@pytest.mark.parametrize("kind", [FailureClass.CONTEXT_TOO_LONG, FailureClass.CAPABILITY])
def test_what_a_stand_in_cannot_take_is_skipped(kind: FailureClass) -> None:
    """The first choice tells its caller what is wrong with the request; a stand-in is merely passed over."""
    assert next_move(kind, stand_in=False) is Move.TELL
    assert next_move(kind, stand_in=True) is Move.ELSEWHERE


@given(st.sampled_from(FailureClass), st.booleans())
def test_every_class_of_failure_has_a_move(kind: FailureClass, stand_in: bool) -> None:
    """The table is total: what it does not name is told."""
    assert next_move(kind, stand_in=stand_in) in Move


def test_what_is_left_out_is_as_small_as_the_failure() -> None:
    """A model that is missing concerns that model; a rate limit or a dead host all of the endpoint."""
    assert excluded_by(FailureClass.MODEL_MISSING, "gpu", "m") == "gpu/m"
    assert excluded_by(FailureClass.RATE_LIMIT, "gpu", "m") == "gpu"
    assert excluded_by(FailureClass.NETWORK, "gpu", "m") == "gpu"


@pytest.mark.parametrize(
    ("asked", "kind", "url", "spoken"),
    [
        (Format.OPENAI_CHAT, EndpointKind.OPENAI, "http://gpu:1", Format.OPENAI_CHAT),
        (Format.OPENAI_CHAT, EndpointKind.OLLAMA, "http://gpu:1", Format.OLLAMA_CHAT),
        (Format.OPENAI_CHAT, EndpointKind.ANTHROPIC, "https://api.anthropic.com", Format.ANTHROPIC),
        (Format.ANTHROPIC, EndpointKind.OPENAI, "http://gpu:1", Format.OPENAI_CHAT),
        (Format.OLLAMA_GENERATE, EndpointKind.OLLAMA, "http://gpu:1", Format.OLLAMA_GENERATE),
        (Format.OLLAMA_GENERATE, EndpointKind.OPENAI, "http://gpu:1", Format.OPENAI_CHAT),
        (Format.OPENAI_RESPONSES, EndpointKind.OPENAI, "http://gpu:1", Format.OPENAI_CHAT),
        (Format.OPENAI_RESPONSES, EndpointKind.OPENAI, "https://api.openai.com/v1", Format.OPENAI_RESPONSES),
    ],
)
def test_an_endpoint_is_spoken_to_as_near_to_the_callers_format_as_it_understands(
    asked: Format, kind: EndpointKind, url: str, spoken: Format
) -> None:
    """The same format where there is one, the endpoint's main one elsewhere."""
    assert format_for(asked, endpoint(kind, url)) is spoken


def test_a_query_goes_on_in_anthropics_format_alone() -> None:
    """`beta=true` means something there and nothing elsewhere."""
    assert path_of(Format.ANTHROPIC, "beta=true") == "/v1/messages?beta=true"
    assert path_of(Format.OPENAI_CHAT, "beta=true") == "/chat/completions"


PRICED = ModelSpec(name="m", input_usd_per_mtok=2.0, output_usd_per_mtok=10.0)
TOKENS = Tokens(input_tokens=1_000, output_tokens=100)


def test_own_machines_cost_nothing_and_prices_are_applied() -> None:
    """1,000 tokens at 2 dollars a million and 100 at 10 are 3,000 micro-dollars."""
    assert cost_of(TOKENS, PRICED, endpoint()) == (0, "local")
    assert cost_of(TOKENS, PRICED, endpoint(local=False)) == (3_000, "priced")
    covered = Subscription(provider=endpoint().provider)
    assert cost_of(TOKENS, None, endpoint(local=False), (covered,)) == (0, "subscription")


def test_each_kind_of_token_has_its_price() -> None:
    """The totals of the wire hold what was cached: it is charged once, at the price of a cache."""
    cached = msgspec.structs.replace(PRICED, cache_read_usd_per_mtok=0.2, cache_write_usd_per_mtok=2.5)
    tokens = Tokens(input_tokens=1_000, cache_read_tokens=600, cache_write_tokens=100, output_tokens=100)

    assert cost_of(tokens, cached, endpoint(local=False)) == (300 * 2 + 120 + 250 + 1_000, "priced")
    assert cost_of(tokens, PRICED, endpoint(local=False)) == (3_000, "priced"), "without such a price, as input"


def test_counts_that_contradict_each_other_are_no_negative_cost() -> None:
    """An endpoint that counts what was cached apart from the input is charged for both."""
    tokens = Tokens(input_tokens=100, cache_read_tokens=600, output_tokens=0)

    assert cost_of(tokens, PRICED, endpoint(local=False)) == (1_200, "priced")


@pytest.mark.parametrize("model", [None, ModelSpec(name="m"), ModelSpec(name="m", input_usd_per_mtok=2.0)])
def test_an_unknown_price_is_never_nothing(model: ModelSpec | None) -> None:
    """Half a price is no price."""
    assert cost_of(TOKENS, model, endpoint(local=False)) == (None, "unknown")


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_cost_is_a_whole_number_and_never_told_as_less(sent: int, got: int) -> None:
    """Rounding is upward."""
    cost, _ = cost_of(Tokens(input_tokens=sent, output_tokens=got), PRICED, endpoint(local=False))
    assert isinstance(cost, int)
    assert cost >= sent * 2 + got * 10 - 1e-6


def test_counts_that_are_missing_are_estimated_and_said_to_be() -> None:
    """What the endpoint counted stays as it is."""
    assert not spent(TOKENS, prompt_tokens=5, output_tokens=5).estimated
    half = spent(Tokens(input_tokens=7), prompt_tokens=5, output_tokens=9)
    assert (half.tokens.input_tokens, half.tokens.output_tokens, half.estimated) == (7, 9, True)


def key(**fields: object) -> GatewayKey:
    return GatewayKey(name="k", key_hash="h", created_ms=0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "allowed", "given_priority"),
    [
        (None, Priority.HIGH, Priority.HIGH),
        ("low", Priority.HIGH, Priority.LOW),
        ("urgent", Priority.HIGH, Priority.HIGH),
        ("urgent", Priority.URGENT, Priority.URGENT),
        ("high", Priority.LOW, Priority.LOW),
    ],
)
def test_a_caller_may_be_more_modest_than_its_key_but_not_less(
    asked: str | None, allowed: Priority, given_priority: Priority
) -> None:
    """The key's priority is the highest it gets."""
    own = {"priority": asked} if asked is not None else {}
    head = Head(method="POST", path="/", own=own)
    assert terms_of(head, key(priority=allowed), SETTINGS).priority is given_priority


def test_a_caller_may_ask_for_shorter_limits_but_not_for_longer_ones() -> None:
    """And the wait in line is never longer than the whole."""
    short = terms_of(Head(method="POST", path="/", own={"deadline": "5"}), None, SETTINGS)
    assert (short.deadline_s, short.queue_s) == (5, 5)
    long = terms_of(Head(method="POST", path="/", own={"deadline": "99999", "queue": "99999"}), None, SETTINGS)
    assert (long.deadline_s, long.queue_s) == (600, 120)


def test_an_unknown_priority_is_refused_with_the_nearest() -> None:
    """`hihg` was meant to be `high`."""
    with pytest.raises(InvalidInputError) as caught:
        terms_of(Head(method="POST", path="/", own={"priority": "hihg"}), None, SETTINGS)
    assert "high" in caught.value.remedy


def test_locality_comes_from_the_key_or_from_the_call() -> None:
    """Either one is enough, and neither can take the other's away."""
    local = {"local-only": "true"}
    assert terms_of(Head(method="POST", path="/", own=local), None, SETTINGS).local_only
    never = Head(method="POST", path="/", own={"local-only": "false"})
    assert terms_of(never, key(local_only=True), SETTINGS).local_only
    assert not terms_of(never, None, SETTINGS).local_only
