"""The profiles that come with Ostler: they load, mean what they say, and the classic one is accepted as written."""

import itertools
import re
from pathlib import Path

import pytest

from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.show import effective_settings
from ostler.config.sources import built_in, built_in_names
from ostler.domain.catalog import DIRECT, ChoiceRule, CostClass
from ostler.domain.policy import FallbackDirection
from ostler.domain.tasks import TaskKind
from tests.config.support import HOME, loaded, problems

ROOT = Path(__file__).resolve().parents[2]

CLASSIC = """\
routing:
  enabled: true
  task_overrides:
    coding: cheap_cloud
    summarization: local_cheap
  tiers:
    local_cheap:
      provider: ollama
      model: qwen2.5:7b
      base_url: http://localhost:11434
      max_output_tokens: 2048
      max_iterations: 8
      enabled: true
    # ... (local_strong, cheap_cloud, expensive_cloud)
{more}
budget:
  monthly_hard_cap: 20.00
  monthly_soft_cap: 16.00
  per_session_cap: 2.00
  per_tick_cap: 0.10

context:
  window_size: 30
  compaction_interval: 10
  budget:
    small: 4000
    moderate: 16000
    large: 64000

agi_loop:
  interval_hours: 0
  interval_minutes: 30
  max_loops: 0
  ticks_per_loop: 15
  max_steps_per_tick: 3
  stimulus: ""
  auto_pause_on_budget: true
  auto_pause_on_error_streak: 5
"""
"""A profile as users of a four-tier router have it; `more` is where its comment stands for the other tiers."""

OTHER_TIERS = """\
    local_strong: {provider: ollama, model: "llama3:70b", base_url: "http://localhost:11434"}
    cheap_cloud: {provider: deepseek, model: deepseek-chat}
    expensive_cloud: {provider: openai, model: gpt-5.2}
"""


def ready(name: str) -> LoadedProfile:
    return load_profile(name, {"HOME": HOME})


def models_of(profile: LoadedProfile) -> dict[str, tuple[str, ...]]:
    return {tier.name: tier.models for tier in profile.policy.catalog.tiers}


def test_the_classic_profile_is_accepted_as_written() -> None:
    """Every section and value is understood, and arrives with the meaning its users know."""
    found = loaded(CLASSIC.format(more=OTHER_TIERS))

    routing = found.policy.routing
    assert {tier.name: tier.context_tokens for tier in found.policy.catalog.tiers} == {
        DIRECT: None,
        "local_cheap": 4_000,
        "local_strong": 16_000,
        "cheap_cloud": 16_000,
        "expensive_cloud": 64_000,
    }
    assert {tier.name: tier.cost for tier in found.policy.catalog.tiers} == {
        DIRECT: CostClass.FREE,
        "local_cheap": CostClass.LOCAL,
        "local_strong": CostClass.LOCAL,
        "cheap_cloud": CostClass.METERED,
        "expensive_cloud": CostClass.METERED,
    }
    assert routing.task_overrides == {"coding": "cheap_cloud", "summarization": "local_cheap"}
    assert routing.type_minimums == {
        "memory_ops": "local_cheap",
        "reflection": "local_cheap",
        "summarization": "local_cheap",
        "general": "local_cheap",
        "planning": "local_strong",
        "coding": "cheap_cloud",
        "high_stakes": "cheap_cloud",
        "final_polish": "expensive_cloud",
    }
    budget = found.budget
    assert (budget.monthly_hard_cap_micro_usd, budget.monthly_soft_cap_micro_usd) == (20_000_000, 16_000_000)
    assert (budget.per_session_cap_micro_usd, budget.per_tick_cap_micro_usd) == (2_000_000, 100_000)
    assert (found.agi_loop.interval_minutes, found.agi_loop.max_loops) == (30.0, 0)


def test_the_classic_profile_is_accepted_with_its_other_tiers_left_out() -> None:
    """The tier that an override mentions gets its documented default; no tier comes that nobody mentioned."""
    found = loaded(CLASSIC.format(more=""))

    assert models_of(found) == {DIRECT: (), "local_cheap": ("qwen2.5:7b",), "cheap_cloud": ("deepseek-chat",)}
    assert found.policy.routing.task_overrides == {"coding": "cheap_cloud", "summarization": "local_cheap"}
    assert found.origins["routing.tiers.cheap_cloud.models"].startswith("profile tiered-ladder:")
    assert set(found.policy.catalog.models) == {"qwen2.5:7b", "deepseek-chat"}


def test_a_classic_tier_comes_with_the_price_of_its_model() -> None:
    """What the built-in profile knows of a model that comes in is kept; what a user writes of it is added."""
    text = "routing:\n  unclassified: expensive_cloud\n  tiers:\n    local_cheap: {provider: ollama, model: m}\n"

    found = loaded(text).policy.catalog.models["gpt-5.2"]
    own = loaded(text + "models: {gpt-5.2: {context: 1k}}\n").policy.catalog.models["gpt-5.2"]

    assert (found.input_usd_per_mtok, found.context_tokens) == (1.75, None)
    assert (own.input_usd_per_mtok, own.context_tokens) == (1.75, 1024)


@pytest.mark.parametrize(
    ("rules", "tiers"),
    [
        ("unclassified: expensive_cloud", ["local_strong", "expensive_cloud"]),
        ("complexity: {trivial: local_cheap}", ["local_cheap", "local_strong"]),
        ("type_minimums: {coding: cheap_cloud}", ["local_strong", "cheap_cloud"]),
        ("fallback: {by_tier: {cheap_cloud: down}}", ["local_strong", "cheap_cloud"]),
        ("repeated_error_threshold: 3", ["local_strong"]),
    ],
)
def test_a_classic_tier_that_is_mentioned_comes_at_its_place(rules: str, tiers: list[str]) -> None:
    """Wherever a profile mentions it, the tier stands where its name belongs on the ladder."""
    text = f"routing:\n  {rules}\n  tiers:\n    local_strong: {{provider: ollama, model: m}}\n"

    assert [tier.name for tier in loaded(text).policy.catalog.tiers[1:]] == tiers


@pytest.mark.parametrize(
    "tiers", ["a: {provider: ollama, model: m}", "local_cheap: {provider: ollama, model: m, rank: 1}"]
)
def test_no_classic_tier_comes_into_another_ladder(tiers: str) -> None:
    """On a ladder of other names, or one with ranks, the name of a missing tier is a mistake."""
    (problem,) = problems(f"routing:\n  unclassified: cheap_cloud\n  tiers:\n    {tiers}\n")

    assert problem.where == "ostler.yaml:2 routing.unclassified"


def test_the_classic_values_are_the_defaults() -> None:
    """Leaving budget, context and loop out means the same as writing them."""
    short = CLASSIC.format(more=OTHER_TIERS).split("budget:")[0]

    full, left_out = loaded(CLASSIC.format(more=OTHER_TIERS)), loaded(short)

    assert (full.policy, full.budget, full.context) == (left_out.policy, left_out.budget, left_out.context)
    assert full.agi_loop == left_out.agi_loop


def test_the_profiles_are_the_documented_ones() -> None:
    """Five profiles, found under their names and in the folder users look into."""
    assert built_in_names() == ("anthropic-pairs", "default", "one-host-32gb", "three-tiers", "tiered-ladder")
    assert {path.stem for path in (ROOT / "profiles").glob("*.yaml")} == set(built_in_names())


@pytest.mark.parametrize("name", built_in_names())
def test_a_profile_loads_and_says_what_it_is_for(name: str) -> None:
    """Each is valid, named, versioned, and starts with a comment for the person who opens it."""
    found = ready(name)

    text = built_in(name).path.read_text(encoding="utf-8")
    assert (found.policy.profile, len(found.policy.version)) == (name, 12)
    assert found.path == built_in(name).path
    assert text.startswith("# ")
    assert len(text.split("\n\n")[0].splitlines()) >= 1


@pytest.mark.parametrize("name", built_in_names())
def test_no_profile_lists_a_price_by_halves_or_without_a_date(name: str) -> None:
    """A price without a date cannot be checked: a file with prices names the year of its list."""
    text = built_in(name).path.read_text(encoding="utf-8")

    if "usd_per_mtok" in text:
        assert re.search(r"# .*(list|prices).* 20\d\d|# .*20\d\d", text)


@pytest.mark.parametrize("name", built_in_names())
def test_every_row_of_a_profile_has_an_origin_in_it(name: str) -> None:
    """What is written in a built-in profile is shown as coming from it."""
    origins = {row.origin.split(":")[0] for row in effective_settings(ready(name))}

    assert f"profile {name}" in origins


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(built_in_names(), 2)))
def test_no_two_profiles_are_one_policy(one: str, other: str) -> None:
    """Each profile makes other decisions than the rest."""
    assert ready(one).policy.version != ready(other).policy.version


def test_three_tiers_run_trivial_work_directly_and_go_up_on_an_outage() -> None:
    """Trivial on a worker, standard at home, complex on Claude; after five seconds one tier up."""
    found = ready("three-tiers")
    routing = found.policy.routing

    assert routing.complexity_tiers == {"trivial": DIRECT, "standard": "standard", "complex": "complex"}
    assert found.policy.catalog.tier_aliases == {"trivial": DIRECT}
    assert (routing.fallback_wait_ms, routing.fallback_direction) == (5_000, FallbackDirection.UP)
    costs = {tier.name: tier.cost for tier in found.policy.catalog.tiers}
    assert (costs["standard"], costs["complex"]) == (CostClass.LOCAL, CostClass.METERED)
    assert (found.worker.allow, found.worker.commands) == ((TaskKind.COMMAND, TaskKind.CHAT), ("*",))


def test_the_pairs_are_of_two_vendors_each_first_one_first() -> None:
    """Five tiers, each with a primary and one from another vendor, chosen in order; the usual names find them."""
    found = ready("anthropic-pairs")
    catalog = found.policy.catalog
    vendors = {model: spec.provider for spec in catalog.endpoints.values() for model in spec.models}
    aliases = catalog.model_aliases
    tiers = {tier.name: tier for tier in catalog.tiers if tier.name != DIRECT}

    assert list(tiers) == ["haiku", "flash", "sonnet", "pro", "opus"]
    for tier in tiers.values():
        assert tier.choose is ChoiceRule.FIRST
        assert len({vendors[model] for model in tier.models}) == 2, tier.name
    pairs = {
        "haiku": ("claude-haiku", "gemini-flash"),
        "flash": ("gemini-flash", "gpt-4.1-mini"),
        "sonnet": ("claude-sonnet", "gpt-4.1"),
        "pro": ("gemini-pro", "claude-sonnet"),
        "opus": ("claude-opus", "o3"),
    }
    assert {name: tuple(aliases[alias] for alias in pair) for name, pair in pairs.items()} == {
        name: tier.models for name, tier in tiers.items()
    }
    assert found.policy.routing.complexity_tiers["standard"] == "sonnet"


def test_one_host_holds_one_model_at_a_time() -> None:
    """Two 32B models and a small one on 32 GB, known under the names that clients use."""
    catalog = ready("one-host-32gb").policy.catalog

    assert catalog.model_aliases == {
        "latest": "qwen2.5-coder:32b-instruct-128k",
        "gpt-4": "qwen2.5-coder:32b-instruct-128k",
        "gpt-4-turbo": "qwen2.5-coder:32b-instruct-128k",
        "claude-3-5-sonnet": "qwen2.5-coder:32b-instruct-128k",
        "quality": "qwen2.5-coder:32b-instruct",
        "gpt-4-quality": "qwen2.5-coder:32b-instruct",
        "fast": "qwen2.5-coder:7b-instruct",
        "gpt-3.5-turbo": "qwen2.5-coder:7b-instruct",
    }
    host = catalog.hosts["localhost"]
    assert (host.memory_bytes, host.max_resident_models) == (32_000_000_000, 1)
    assert host.preload == ("qwen2.5-coder:32b-instruct-128k",)
    assert {spec.host for spec in catalog.endpoints.values()} == {"localhost"}
    contexts = {name: (spec.context_tokens, spec.memory_bytes) for name, spec in catalog.models.items()}
    assert contexts["qwen2.5-coder:32b-instruct-128k"] == (131_072, 32_000_000_000)
    assert contexts["qwen2.5-coder:7b-instruct"] == (32_768, 8_000_000_000)
    speeds = catalog.models["qwen2.5-coder:32b-instruct"].speeds
    assert speeds.load_s + speeds.unload_s == 40


def test_the_tiered_ladder_is_the_classic_one() -> None:
    """The same sections and values as the classic profile, with all four tiers and their T-names."""
    found = ready("tiered-ladder")
    classic = loaded(CLASSIC.format(more=OTHER_TIERS))

    assert models_of(found) == models_of(classic)
    assert found.policy.routing == classic.policy.routing
    assert (found.budget, found.context, found.agi_loop) == (classic.budget, classic.context, classic.agi_loop)
    assert found.policy.catalog.tier_aliases == {
        "T0": "local_cheap",
        "T1": "local_strong",
        "T2": "cheap_cloud",
        "T3": "expensive_cloud",
    }
    limits = [(tier.max_output_tokens, tier.max_iterations) for tier in found.policy.catalog.tiers[1:]]
    assert limits == [(2048, 8), (4096, 10), (8192, 12), (16384, 15)]


def test_the_default_ladder_knows_every_vocabulary() -> None:
    """All usual names of tiers stand on one ladder, each for one tier, in the order their users expect."""
    catalog = ready("default").policy.catalog
    names = {tier.name: tier.name for tier in catalog.tiers} | dict(catalog.tier_aliases)
    ranks = {tier.name: tier.rank for tier in catalog.tiers}
    vocabularies = (
        ("trivial", "standard", "complex"),
        ("haiku", "flash", "sonnet", "pro", "opus"),
        ("T0", "T1", "T2", "T3"),
        ("local_cheap", "local_strong", "cheap_cloud", "expensive_cloud"),
    )

    for words in vocabularies:
        places = [ranks[names[word]] for word in words]
        assert places == sorted(places), words
    assert names["trivial"] == DIRECT
    assert [names[f"T{number}"] for number in range(4)] == [names[word] for word in vocabularies[3]]


def test_the_default_ladder_prices_every_cloud_model() -> None:
    """A budget on the default ladder never meets an unknown price."""
    catalog = ready("default").policy.catalog
    clouds = {model for spec in catalog.endpoints.values() if not spec.local for model in spec.models}

    unpriced = {name for name in clouds if not catalog.models[name].output_usd_per_mtok}

    assert len(clouds) >= 8
    assert unpriced == set()
