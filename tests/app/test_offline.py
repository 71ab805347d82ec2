"""Without a hub: where the shipped profiles send which words, on the fleet as they declare it."""

import time
from pathlib import Path

import pytest

from ostler.app.offline import check, declared_fleet, route
from ostler.config.load import load_profile
from ostler.domain.decision import Hold, Route, TargetType, Verdict
from ostler.domain.errors import InvalidInputError, NotFoundError, ProfileError
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.fleet.drivers import DriverSet

TEXTS = {
    "typo": "Fix the typo in the title",
    "question": "Please explain how the parser deals with nested comments in this file today",
    "refactor": "Refactor the scheduler into two modules",
    "recap": "Summarize this report for the board in a few lines of plain text please",
    "debug": "Debug the function that parses the dates and tell me what is wrong with it",
    "architecture": "Plan the architecture of the new service",
    "deploy": "Deploy this to production after a critical look at it and tell me the result",
    "release": "Do the final review and ship it",
    "greeting": "Hello there",
}
TIERS = {
    "default": {
        "typo": "local_cheap",
        "question": "local_strong",
        "refactor": "strong_cloud",
        "recap": "local_strong",
        "debug": "local_strong",
        "architecture": "strong_cloud",
        "deploy": "cheap_cloud",
        "release": "expensive_cloud",
        "greeting": "local_strong",
    },
    "three-tiers": dict.fromkeys(TEXTS, "standard") | {"refactor": "complex", "architecture": "complex"},
    "tiered-ladder": {
        "typo": "local_cheap",
        "question": "local_cheap",
        "refactor": "cheap_cloud",
        "recap": "local_cheap",
        "debug": "cheap_cloud",
        "architecture": "local_strong",
        "deploy": "cheap_cloud",
        "release": "expensive_cloud",
        "greeting": "local_cheap",
    },
    "anthropic-pairs": dict.fromkeys(TEXTS, "sonnet") | {"typo": "haiku", "refactor": "opus", "architecture": "opus"},
    "one-host-32gb": dict.fromkeys(TEXTS, "large") | {"typo": "small"},
}
CASES = [(profile, name, tier) for profile, tiers in TIERS.items() for name, tier in tiers.items()]


def decided(profile: str | None, **fields: object) -> Verdict:
    verdict, why = route(TaskSpec(id="q", **fields), profile)  # type: ignore[arg-type]
    assert why.decision == verdict.decision
    assert why.headline.startswith("q would ")
    return verdict


@pytest.mark.parametrize(("profile", "name", "tier"), CASES)
def test_the_shipped_profiles_send_words_to_their_tiers(profile: str, name: str, tier: str) -> None:
    """By complexity, by the type's minimum, by its override: what the files say, in one table."""
    verdict = decided(profile, prompt=TEXTS[name])

    assert isinstance(verdict, Route)
    assert verdict.decision.effective_tier == tier
    assert not verdict.decision.fallback_used
    policy = load_profile(profile, {}).policy
    models = next(one.models for one in policy.catalog.tiers if one.name == tier)
    assert verdict.decision.selected_model in models
    assert verdict.decision.selected_endpoint in policy.catalog.endpoints


@pytest.mark.parametrize("profile", sorted(TIERS))
def test_a_command_needs_no_model_in_any_profile(profile: str) -> None:
    """Even where the ladder names no direct tier."""
    verdict = decided(profile, kind=TaskKind.COMMAND, argv=("make",))

    assert verdict.decision.target_type is TargetType.DIRECT
    assert verdict.decision.effective_tier == "direct"


@pytest.mark.parametrize("profile", sorted(TIERS))
@pytest.mark.parametrize("complexity", [Complexity.TRIVIAL, Complexity.STANDARD, Complexity.COMPLEX])
def test_every_stated_complexity_has_a_place_in_every_profile(profile: str, complexity: Complexity) -> None:
    """No shipped profile leaves a hole."""
    assert isinstance(decided(profile, prompt="do it", complexity=complexity), Route)


@pytest.mark.parametrize("profile", ["anthropic-pairs"])
def test_what_must_stay_local_waits_where_nothing_is_local(profile: str) -> None:
    """It is held, never sent to a cloud."""
    assert isinstance(decided(profile, prompt="do it", local_only=True), Hold)


@pytest.mark.parametrize("profile", sorted(set(TIERS) - {"anthropic-pairs"}))
def test_what_must_stay_local_stays_local(profile: str) -> None:
    """For every text, also those whose tier is in a cloud: there it waits."""
    for text in TEXTS.values():
        verdict = decided(profile, prompt=text, local_only=True)
        if isinstance(verdict, Route):
            assert verdict.decision.target_type is TargetType.LOCAL


@pytest.mark.parametrize("profile", sorted(TIERS))
def test_the_declared_fleet_is_complete_and_idle(profile: str) -> None:
    """Every enabled endpoint is up and serves something of the profile; the index agrees with the views."""
    policy = load_profile(profile, {}).policy
    fleet = declared_fleet(policy, 5)

    assert set(fleet.endpoints) == {name for name, spec in policy.catalog.endpoints.items() if spec.enabled}
    assert fleet.in_flight == {}
    for model, names in fleet.by_model.items():
        assert names == tuple(sorted(name for name, view in fleet.endpoints.items() if view.serves(model)))
    for tier in policy.catalog.tiers:
        for model in tier.models:
            assert model in fleet.by_model, f"{profile}: no endpoint serves {model} of {tier.name}"


def test_a_profile_of_the_users_own_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder, or by path; a mistake in it is told with its place."""
    text = "routing:\n  tiers:\n    only: {provider: ollama, models: ['tiny:latest']}\n"
    (tmp_path / "ostler.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    verdict = decided(None, prompt="hello")
    assert (verdict.decision.effective_tier, verdict.decision.selected_model) == ("only", "tiny")
    (tmp_path / "broken.yaml").write_text("routing: {tirs: {}}\n", encoding="utf-8")

    with pytest.raises(ProfileError, match=r"broken\.yaml:1"):
        decided(str(tmp_path / "broken.yaml"), prompt="hello")
    with pytest.raises(InvalidInputError, match="there is no tier 'onyl'"):
        decided(None, prompt="hello", tier="onyl")


class Probed:
    """What a listing would bring back, and how often it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.status = ProbeStatus.AVAILABLE

        async def probe(drivers: DriverSet, spec: object) -> Probe:
            name: str = spec.name  # type: ignore[attr-defined]
            self.asked.append(name)
            return Probe(endpoint=name, status=self.status, at_ms=time.time_ns() // 1_000_000)

        monkeypatch.setattr(DriverSet, "probe", probe)


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Probed:
    """Listings without a network, answers kept in this test's own folder."""
    monkeypatch.setenv("OSTLER_HUB_DATA_DIR", str(tmp_path / "data"))
    return Probed(monkeypatch)


async def test_an_answer_is_used_again_until_it_is_forced(probed: Probed) -> None:
    """The second question does not reach the endpoint; `force` does."""
    first = await check("ollama", "three-tiers", force=False)
    probed.status = ProbeStatus.UNAVAILABLE
    again = await check("ollama", "three-tiers", force=False)
    assert (first.status, again.status, probed.asked) == (ProbeStatus.AVAILABLE, ProbeStatus.AVAILABLE, ["ollama"])
    forced = await check("ollama", "three-tiers", force=True)

    assert forced.status is ProbeStatus.UNAVAILABLE
    assert probed.asked == ["ollama", "ollama"]


async def test_a_provider_means_its_first_endpoint_and_an_unknown_name_the_nearest(probed: Probed) -> None:
    """As with a hub."""
    assert (await check("anthropic", "three-tiers", force=True)).endpoint.startswith("anthropic")
    with pytest.raises(NotFoundError, match="did you mean 'ollama'"):
        await check("olama", "three-tiers", force=True)
