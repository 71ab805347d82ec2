"""Facts that are remembered are those that would be found anew; what may change from call to call is not remembered."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.catalog import Capability, Catalog, ModelSpec, TierSpec
from ostler.domain.errors import NotFoundError
from ostler.domain.fleet import EndpointView, Health
from ostler.domain.live import GatewayKey
from ostler.domain.policy import Policy
from ostler.gateway import facts as remembered
from ostler.gateway.facts import Facts
from ostler.routing.facts import CallWish, describe_call
from tests.gateway.stage import spec

CATALOG = Catalog(
    tiers=(
        TierSpec(name="direct", rank=0),
        TierSpec(name="small", rank=1, models=("m",)),
        TierSpec(name="large", rank=2, models=("big",)),
    ),
    models={"m": ModelSpec(name="m", context_tokens=8_192), "big": ModelSpec(name="big")},
    model_aliases={"gpt-4": "m"},
)
POLICY = Policy(catalog=CATALOG)
VIEWS = {"a": EndpointView(spec=spec("a"), health=Health.UP, models=frozenset({"m", "listed"}))}
KEYS = (
    None,
    GatewayKey(name="any", key_hash="h", created_ms=0),
    GatewayKey(name="small", key_hash="i", created_ms=0, models=("m",), tiers=("small",)),
)
WISHES = st.builds(
    CallWish,
    model=st.sampled_from(["m", "big", "gpt-4", "tier:small", "large", "listed", "auto"]),
    prompt_tokens=st.integers(0, 200),
    max_output_tokens=st.none() | st.sampled_from([1, 256, 9_000]),
    context_tokens=st.none() | st.sampled_from([2_048, 65_536]),
    capabilities=st.sampled_from([frozenset(), frozenset({Capability.TOOLS})]),
    text=st.sampled_from(["", "Explain quickly.", "Design the architecture of a distributed store."]),
)


@given(st.lists(st.tuples(WISHES, st.sampled_from(KEYS), st.booleans()), min_size=1, max_size=20))
def test_remembered_facts_are_those_that_would_be_found(asked: list[tuple[CallWish, GatewayKey | None, bool]]) -> None:
    """Whatever was asked before: every call has the facts of its own wish, its own key, its own terms."""
    facts = Facts()
    for wish, key, local_only in asked:
        whole = msgspec.structs.replace(
            wish,
            local_only=local_only,
            only_models=frozenset(key.models if key else ()),
            only_tiers=frozenset(key.tiers if key else ()),
        )

        assert facts.of(wish, key, POLICY, VIEWS, local_only=local_only) == describe_call(whole, POLICY, VIEWS)


def test_equal_calls_share_their_facts() -> None:
    """Lengths of one step are equal: the very same record, so that the next look-up is an easy one."""
    facts = Facts()
    one = facts.of(CallWish(model="m", prompt_tokens=1_001), None, POLICY, VIEWS, local_only=False)
    other = facts.of(CallWish(model="m", prompt_tokens=1_002), None, POLICY, VIEWS, local_only=False)

    assert one is other


def test_other_rules_are_other_facts() -> None:
    """What was remembered under the old ones is forgotten with them."""
    facts, wish = Facts(), CallWish(model="gpt-4")
    assert facts.of(wish, None, POLICY, VIEWS, local_only=False).model == "m"
    changed = Policy(catalog=msgspec.structs.replace(CATALOG, model_aliases={"gpt-4": "big"}))

    assert facts.of(wish, None, changed, VIEWS, local_only=False).model == "big"


def test_a_name_that_only_an_endpoint_knows_is_not_remembered() -> None:
    """When it lists it no more, the name is unknown again."""
    facts, wish = Facts(), CallWish(model="listed")
    assert facts.of(wish, None, POLICY, VIEWS, local_only=False).model == "listed"

    with pytest.raises(NotFoundError, match="listed"):
        facts.of(wish, None, POLICY, {}, local_only=False)


def test_a_call_whose_words_were_looked_at_is_not_remembered() -> None:
    """The next one says something else."""
    facts = Facts()
    found = {
        facts.of(CallWish(model="auto", text=text), None, POLICY, VIEWS, local_only=False).classification.complexity
        for text in ("hi", "Design the architecture of a distributed store with consensus.")
    }

    assert not facts._kept
    assert found


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up lengths do not fill the memory."""
    monkeypatch.setattr(remembered, "MAX_KEPT", 8)
    facts = Facts()
    for exponent in range(30):
        facts.of(CallWish(model="m", prompt_tokens=2**exponent), None, POLICY, VIEWS, local_only=False)
        assert len(facts._kept) <= 8
