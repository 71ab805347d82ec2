"""The profiles and machines of the demo agree with each other."""

from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from ostler.demo.llama import _SHAPES, LlamaSite
from ostler.demo.llama_machine import MEASURED, Measured
from ostler.demo.simulated import _SPEEDS, FILES, SimulatedSite
from ostler.domain.catalog import EndpointKind
from ostler.domain.policy import Policy
from ostler.simulate.spec import SimulatedCloudSpec, SimulatedHostSpec, SimulatedModelSpec, spec_from
from tests.demo import recorded

SIZES = {"32b-instruct-128k": "32b", "32b-instruct": "32b", "7b-instruct": "7b", "llama3.2:3b": "3b"}


def document(name: str) -> object:
    return YAML(typ="safe", pure=True).load((FILES / f"{name}.yaml").read_text(encoding="utf-8"))


def host_spec(name: str) -> SimulatedHostSpec:
    return spec_from(document(name), SimulatedHostSpec, where=name)


def llama_policy() -> Policy:
    """The profile of the real engine, with what two machines might have measured."""
    log = {
        name: MEASURED
        + msgspec.json.encode({alias: Measured(load_s=0.25, decode_tokens_per_s=90) for alias in shapes}).decode()
        for name, shapes in _SHAPES.items()
    }
    urls = {"llama-alpha": "http://127.0.0.1:1", "llama-beta": "http://127.0.0.1:2", "sim-cloud": "http://127.0.0.1:3"}
    return recorded.policy_of(LlamaSite(Path("/tmp"), 10.0).profile(urls, log))


def resident(model: SimulatedModelSpec) -> int:
    return model.resident_bytes(model.num_ctx or 0)


def test_the_large_models_do_not_fit_together_and_the_small_ones_do() -> None:
    """The one machine swaps, the other has all it needs."""
    alpha, beta = host_spec("sim-alpha"), host_spec("sim-beta")

    assert all(resident(model) <= alpha.capacity_bytes for model in alpha.models)
    assert sum(map(resident, alpha.models)) > alpha.capacity_bytes
    assert sum(map(resident, beta.models)) < beta.capacity_bytes * beta.fit_percent / 100


@pytest.mark.parametrize("name", ["sim-alpha", "sim-beta"])
def test_the_profile_describes_the_simulated_machines(name: str) -> None:
    """Names, memory and windows of the profile are those of the machine, so that the hub reckons rightly."""
    catalog, spec = recorded.catalog(), host_spec(name)

    assert set(catalog.endpoints[name].models) == {model.key for model in spec.models}
    for model in spec.models:
        known = catalog.models[model.key]
        assert known.context_tokens is not None
        assert known.memory_bytes is not None
        assert known.context_tokens == model.num_ctx
        assert resident(model) <= known.memory_bytes <= spec.capacity_bytes


def test_the_profile_has_the_speeds_of_the_machines_in_real_seconds() -> None:
    """Faster simulated time means shorter loads for the hub: estimates are what will be seen."""
    for factor in (1.0, 40.0):
        models = recorded.simulated_policy(factor).catalog.models
        for spec in (*host_spec("sim-alpha").models, *host_spec("sim-beta").models):
            speeds = models[spec.key].speeds
            assert speeds.load_s == pytest.approx(spec.load_s / factor)
            assert speeds.unload_s == pytest.approx(spec.unload_s / factor)
            assert speeds.prefill_tokens_per_s == pytest.approx(spec.prefill_tokens_per_s * factor)
            assert speeds.decode_tokens_per_s == pytest.approx(spec.decode_tokens_per_s * factor)
    assert set(SIZES.values()) == _SPEEDS.keys()


@pytest.mark.parametrize("policy", [recorded.simulated_policy(), llama_policy()], ids=["simulated", "llama"])
def test_the_profile_has_the_models_and_prices_of_the_cloud(policy: Policy) -> None:
    """Both protocols, each with its own models; the prices that are reckoned with are those of the cloud's spec."""
    cloud = spec_from(document("sim-cloud"), SimulatedCloudSpec, where="sim-cloud")
    kinds = {"openai": EndpointKind.OPENAI, "anthropic": EndpointKind.ANTHROPIC}

    for name, kind in kinds.items():
        endpoint = policy.catalog.endpoints[f"sim-{name}"]
        assert endpoint.kind is kind
        assert not endpoint.local
        assert set(endpoint.models) == {model.name for model in cloud.models if model.api == name}
    for model in cloud.models:
        known = policy.catalog.models[model.name]
        assert (known.input_usd_per_mtok, known.output_usd_per_mtok) == (
            model.input_usd_per_mtok,
            model.output_usd_per_mtok,
        )
        assert known.context_tokens == model.context_length


def test_both_profiles_route_alike() -> None:
    """With a real engine the same work meets the same ladder and the same rules."""
    simulated, llama = recorded.simulated_policy(), llama_policy()
    expected = llama.routing.default_output_tokens

    assert msgspec.structs.replace(simulated.routing, default_output_tokens=expected) == llama.routing
    assert [tier.name for tier in simulated.catalog.tiers] == [tier.name for tier in llama.catalog.tiers]
    assert {"latest", "quality", "fast"} <= llama.catalog.model_aliases.keys()


def test_measured_speeds_reach_the_profile() -> None:
    """What the machines print on their start is what the hub reckons with."""
    speeds = llama_policy().catalog.models["tiny-latest"].speeds

    assert (speeds.load_s, speeds.decode_tokens_per_s) == (0.25, 90)


def test_a_folder_with_odd_characters_is_written_safely() -> None:
    """Quotes and colons in a path are no mistake in the profile."""
    text = SimulatedSite(10.0, Path("/tmp/a 'b': \"c\"/work")).profile(recorded.URLS, {})

    assert recorded.policy_of(text).catalog.endpoints
