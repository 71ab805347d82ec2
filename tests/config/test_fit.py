"""A ladder fitted to what was found: sensible with nothing, with one small model, with everything; and it says so."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.config.fit import DISCOVERED, Fitted, FoundEndpoint, profile_with_endpoints
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile, policy_version
from ostler.config.show import effective_settings
from ostler.config.sizes import FoundModel, size_billions
from ostler.domain.catalog import DIRECT
from tests.config.support import HOME, loaded

KEYS = ("ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY")
BASE = load_profile("default", {"HOME": HOME})


def ollama(*names: str, url: str = "http://localhost:11434") -> FoundEndpoint:
    return FoundEndpoint(provider="ollama", url=url, models=tuple(FoundModel(name=name) for name in names))


def fit(*found: FoundEndpoint, keys: tuple[str, ...] = (), base: LoadedProfile = BASE) -> Fitted:
    return profile_with_endpoints(base, found, keys)


def ladder(fitted: Fitted) -> dict[str, tuple[str, ...]]:
    """Models of the enabled tiers."""
    tiers = fitted.profile.policy.catalog.tiers
    return {tier.name: tier.models for tier in tiers if tier.enabled and tier.name != DIRECT}


def test_local_models_go_to_tiers_by_size_and_clouds_by_key() -> None:
    """A small and a strong model at home and one key make a ladder of five steps."""
    fitted = fit(ollama("qwen2.5:7b", "llama3:70b"), keys=("ANTHROPIC_API_KEY",))

    assert ladder(fitted) == {
        "local_cheap": ("qwen2.5:7b",),
        "local_strong": ("llama3:70b",),
        "cheap_cloud": ("claude-haiku-5-5",),
        "strong_cloud": ("claude-sonnet-5-5",),
        "expensive_cloud": ("claude-opus-5-5",),
    }
    assert sorted(fitted.profile.policy.catalog.endpoints) == ["anthropic@api.anthropic.com", "ollama@localhost:11434"]


def test_several_models_of_a_tier_stand_the_largest_first() -> None:
    """The most capable one that is there is preferred; a model on two hosts counts once."""
    fitted = fit(ollama("a:3b", "b:8b", "c:14b", "d:32b"), ollama("b:8b", "d:32b", url="http://box:11434"), keys=())

    assert ladder(fitted) == {"local_cheap": ("b:8b", "a:3b"), "local_strong": ("d:32b", "c:14b")}
    assert len(fitted.profile.policy.catalog.endpoints) == 2


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a:3b",), {"local_cheap": ("a:3b",), "local_strong": ("a:3b",)}),
        (("a:3b", "b:8b"), {"local_cheap": ("b:8b", "a:3b"), "local_strong": ("b:8b",)}),
        (("a:32b", "b:70b"), {"local_cheap": ("a:32b",), "local_strong": ("b:70b", "a:32b")}),
        (("mystery",), {"local_cheap": ("mystery",), "local_strong": ("mystery",)}),
    ],
)
def test_one_kind_of_model_stands_in_for_the_other(
    names: tuple[str, ...], expected: dict[str, tuple[str, ...]]
) -> None:
    """Every local tier works as soon as one model is there: the nearest in size takes the empty tier."""
    assert ladder(fit(ollama(*names))) == expected


def test_without_a_key_complex_work_stays_at_home_and_that_is_said() -> None:
    """Work for tiers that cannot run goes to the highest that can, in complexity and in minimums."""
    fitted = fit(ollama("qwen2.5:7b", "llama3:70b"))
    routing = fitted.profile.policy.routing

    assert routing.complexity_tiers == {"trivial": DIRECT, "standard": "local_strong", "complex": "local_strong"}
    assert routing.type_minimums["final_polish"] == routing.type_minimums["high_stakes"] == "local_strong"
    assert routing.type_minimums["general"] == "local_cheap"
    assert "complex, high_stakes, final_polish, architecture work goes to local_strong" in "\n".join(fitted.lines)


def test_with_a_key_alone_the_local_tiers_are_off() -> None:
    """Standard work keeps its tier: the ladder goes up from a disabled one."""
    fitted = fit(keys=("GEMINI_API_KEY",))

    assert list(ladder(fitted)) == ["cheap_cloud", "strong_cloud", "expensive_cloud"]
    assert fitted.profile.policy.routing == BASE.policy.routing


def test_with_nothing_found_it_says_what_to_do() -> None:
    """No model, no endpoint: commands still run, and the lines name the next step and every key."""
    fitted = fit()

    assert (ladder(fitted), fitted.profile.policy.catalog.endpoints) == ({}, {})
    text = "\n".join(fitted.lines)
    assert "start Ollama, or set the key of a cloud" in text
    assert "expensive_cloud is disabled: set ANTHROPIC_API_KEY or GEMINI_API_KEY to use it" in text


def test_what_cannot_chat_or_is_not_at_home_is_left_out() -> None:
    """Embedding models, forwarded cloud models and models at a public address are no local models."""
    fitted = fit(
        ollama("nomic-embed-text", "gpt-oss:120b-cloud", "qwen2.5:7b"),
        FoundEndpoint(provider="ollama", url="https://ollama.example.com", models=(FoundModel(name="far:7b"),)),
        FoundEndpoint(provider="vllm", url="http://localhost:8000/v1", models=(FoundModel(name="e", embedding=True),)),
    )

    assert ladder(fitted)["local_cheap"] == ("qwen2.5:7b",)
    left_out = [line.split(" is left out: ") for line in fitted.lines if "left out" in line]
    assert left_out == [
        ["nomic-embed-text", "it makes embeddings"],
        ["gpt-oss:120b-cloud", "it does not run on your machines"],
        ["far:7b", "it does not run on your machines"],
        ["e", "it makes embeddings"],
    ]


def test_what_a_listing_says_of_a_model_is_kept() -> None:
    """Window and size come from the listing unless the profile knows better."""
    listed = FoundModel(name="mine:latest", size_bytes=4_000_000_000, context_tokens=8192)
    known = FoundModel(name="qwen2.5:7b", size_bytes=1, context_tokens=1)

    models = fit(
        FoundEndpoint(provider="ollama", url="http://h:1", models=(listed, known))
    ).profile.policy.catalog.models

    assert (models["mine"].context_tokens, models["mine"].memory_bytes) == (8192, 4_000_000_000)
    assert (models["qwen2.5:7b"].context_tokens, models["qwen2.5:7b"].memory_bytes) == (32_768, 5_000_000_000)


def test_slots_and_machine_of_what_was_found_are_kept() -> None:
    """Who looked knows how many calls a server takes and what its machine is called."""
    known = FoundEndpoint(provider="ollama", url="http://localhost:11434", slots=3, host="workstation")

    endpoints = [*fit(known, ollama(url="http://box:1")).profile.policy.catalog.endpoints.values()]

    assert [(spec.slots, spec.host) for spec in endpoints] == [(3, "workstation"), (1, "box")]


def test_a_fitted_policy_has_a_version_and_origins_of_its_own() -> None:
    """Decisions under a fitted ladder can be told from others, and every row says where it comes from."""
    fitted = fit(ollama("small:3b"))
    profile = fitted.profile

    assert profile.policy.version == policy_version(profile.policy) != BASE.policy.version
    assert set(profile.origins) == {row.setting for row in effective_settings(profile)}
    assert profile.origins["routing.tiers.local_cheap.models"] == DISCOVERED
    assert profile.origins["routing.tiers.local_cheap.max_output_tokens"] == "default"
    assert fit(ollama("small:3b")) == fitted


def test_a_ladder_of_other_tiers_is_fitted_too() -> None:
    """Local means paid as local: names do not matter."""
    text = (
        "routing:\n  tiers:\n    home: {provider: ollama, model: x}\n    away: {provider: anthropic, model: y}\n"
        "    off: {provider: openai, model: z, enabled: false}\n"
    )

    fitted = fit(ollama("a:70b"), keys=("ANTHROPIC_API_KEY",), base=loaded(text))

    assert ladder(fitted) == {"home": ("a:70b",), "away": ("y",)}


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        (FoundModel(name="qwen2.5-coder:32b-instruct-128k"), 32.0),
        (FoundModel(name="phi3:3.8b"), 3.8),
        (FoundModel(name="smollm2:135m"), 0.135),
        (FoundModel(name="mixtral:8x7b"), 56.0),
        (FoundModel(name="qwen3:30b-a3b"), 30.0),
        (FoundModel(name="gemma3n:e4b"), 4.0),
        (FoundModel(name="Meta-Llama-3.1-8B-Instruct"), 8.0),
        (FoundModel(name="mystery"), None),
        (FoundModel(name="mystery", parameters_billions=12.2), 12.2),
        (FoundModel(name="a:7b", parameters_billions=7.6), 7.6),
    ],
)
def test_the_size_of_a_model_is_read_from_listing_or_name(model: FoundModel, billions: float | None) -> None:
    """The listing knows best, then the name."""
    assert size_billions(model) == billions


def test_the_size_of_a_file_tells_a_small_from_a_strong_model() -> None:
    """A model without a size in its name is judged by its file: 4.7 GB is small, 20 GB is strong."""
    sizes = [size_billions(FoundModel(name="m", size_bytes=size)) for size in (4_700_000_000, 20_000_000_000)]

    assert [round(size or 0) for size in sizes] == [8, 32]


found_models = st.lists(
    st.builds(
        FoundModel,
        name=st.sampled_from(["a:3b", "b:8b", "c:32b", "d", "embed:1b", "e:70b-cloud", "b:8b:latest"]),
        size_bytes=st.none() | st.integers(min_value=1, max_value=10**12),
    ),
    max_size=4,
).map(tuple)
found_endpoints = st.lists(
    st.builds(
        FoundEndpoint,
        provider=st.sampled_from(["ollama", "vllm", "openai", "unheard-of"]),
        url=st.sampled_from(["http://localhost:1", "http://box:2/v1", "https://far.example.com"]),
        models=found_models,
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(found=found_endpoints, keys=st.sets(st.sampled_from(KEYS)))
def test_whatever_is_found_the_ladder_holds_together(found: list[FoundEndpoint], keys: set[str]) -> None:
    """Enabled tiers have models that exist, cloud models have a served endpoint, work goes to a tier that runs
    whenever one runs at its height or above, and the ladder's order and names never change.
    """
    policy = profile_with_endpoints(BASE, found, keys).profile.policy
    catalog = policy.catalog
    enabled = [tier for tier in catalog.tiers if tier.enabled and tier.name != DIRECT]

    assert [tier.name for tier in catalog.tiers] == [tier.name for tier in BASE.policy.catalog.tiers]
    assert all(tier.models and set(tier.models) <= set(catalog.models) for tier in enabled)
    assert all(not tier.models for tier in catalog.tiers if not tier.enabled)
    assert all(spec.local or spec.api_key_env in {*keys, None} for spec in catalog.endpoints.values())
    assert set(catalog.model_aliases.values()) <= set(catalog.models)
    if enabled:
        ranks = {tier.name: tier.rank for tier in catalog.tiers}
        wishes = [*policy.routing.complexity_tiers.values(), *policy.routing.type_minimums.values()]
        assert all(ranks[wish] <= enabled[-1].rank for wish in wishes)
