"""Origins: every effective setting says where it comes from, and what it says is true."""

import pytest

from ostler.config.show import EffectiveSetting, effective_settings, summary
from tests.config.support import EVERYTHING, HOME, ONE_TIER, loaded


def rows(text: str, env: dict[str, str] | None = None) -> dict[str, EffectiveSetting]:
    return {row.setting: row for row in effective_settings(loaded(text, env))}


def test_every_effective_setting_has_an_origin() -> None:
    """The origins name exactly the settings that are shown."""
    profile = loaded(EVERYTHING)

    assert set(profile.origins) == {row.setting for row in effective_settings(profile)}


def test_what_is_written_has_the_line_it_is_written_in() -> None:
    """For every row of the sample whose origin is a line, that line holds the setting's key."""
    lines = EVERYTHING.splitlines()

    checked = 0
    for row in rows(EVERYTHING).values():
        source, _, line = row.origin.partition(":")
        if source == "ostler.yaml":
            key = row.path[-1].removesuffix("s")  # `models` may have been written as `model`
            assert key in lines[int(line) - 1], row
            checked += 1

    assert checked > 100


def at(line: str) -> str:
    """The origin of what a line of the sample says."""
    return f"ostler.yaml:{[text.strip() for text in EVERYTHING.splitlines()].index(line) + 1}"


@pytest.mark.parametrize(
    ("setting", "value", "origin"),
    [
        ("name", "everything", "ostler.yaml:1"),
        ("routing.fallback.wait", "7s", at("wait: 7s")),
        ("routing.tiers.small.models", "[small:7b]", at('model: "small:7b"')),
        ("routing.tiers.small.providers", "[ollama]", at("provider: ollama")),
        ("routing.tiers.large.cost", "local", "where its endpoints are"),
        ("routing.tiers.large.enabled", "true", "default"),
        (
            "endpoints.ollama@localhost:11434.url",
            "http://localhost:11434",
            f"implied by routing.tiers.small ({at('small:')})",
        ),
        ("endpoints.ollama@localhost:11434.slots", "1", "provider ollama"),
        ("models.small:7b.context", "null", "default"),
        ("models.best-model.memory", "20GB", at("memory: 20GB")),
        ("hosts.rack.reserve", "4GiB", at("reserve: 4GiB")),
        ("budget.monthly_soft_cap", "45.50", at("monthly_soft_cap: 45.5")),
        ("worker.cwd_roots", f"[{HOME}/src, /profiles/work]", at("cwd_roots: [~/src, work]")),
        ("hub.database", f"{HOME}/ostler/hub.db", at("database: hub.db")),
        ("agi_loop.auto_pause_on_budget", "false", at("auto_pause_on_budget: false")),
    ],
)
def test_value_and_origin_of_a_setting(setting: str, value: str, origin: str) -> None:
    """Values are written as in a profile; what follows from another setting names it."""
    row = rows(EVERYTHING)[setting]

    assert (row.value, row.origin) == (value, origin)


def test_defaults_say_so() -> None:
    """A setting nobody wrote comes from the default, or from what it was concluded from."""
    found = rows(ONE_TIER)

    assert found["hub.port"].origin == "default"
    assert found["budget.monthly_soft_cap"].origin == "80 % of monthly_hard_cap"
    assert found["routing.complexity.standard"].origin == "position on the ladder"
    assert found["routing.tiers.only.rank"].origin == "the order of the tiers"
    assert found["name"].value == "ostler"


def test_the_environment_is_an_origin_and_wins_over_the_file() -> None:
    """Variables set the hub and worker of one machine without touching the file."""
    env = {"OSTLER_HUB_PORT": "9000", "OSTLER_HUB_HOST": "0.0.0.0", "OSTLER_WORKER_NAME": "7"}  # noqa: S104

    found = rows("hub: {port: 1}\n" + ONE_TIER, env)

    assert (found["hub.port"].value, found["hub.port"].origin) == ("9000", "environment OSTLER_HUB_PORT")
    assert (found["hub.host"].value, found["worker.name"].value) == ("0.0.0.0", "7")  # noqa: S104
    assert found["worker.name"].origin == "environment OSTLER_WORKER_NAME"


def test_an_empty_variable_is_as_good_as_none() -> None:
    """`OSTLER_HUB_PORT=` does not break a start script."""
    assert rows(ONE_TIER, {"OSTLER_HUB_PORT": " "})["hub.port"].origin == "default"


def test_the_data_folder_follows_the_users_setting() -> None:
    """The usual variable for data folders is honoured and named."""
    row = rows(ONE_TIER, {"XDG_DATA_HOME": "/data"})["hub.data_dir"]

    assert (row.value, row.origin) == ("/data/ostler", "environment XDG_DATA_HOME")


def test_settings_of_an_extended_profile_name_that_profile() -> None:
    """What comes from the built-in profile below has its name and line as origin."""
    found = rows("extends: tiered-ladder\nbudget: {per_tick_cap: 1}\n")

    assert found["budget.monthly_hard_cap"].origin.startswith("profile tiered-ladder:")
    assert found["budget.per_tick_cap"].origin == "ostler.yaml:2"


def test_routing_switched_off_is_the_origin_of_what_it_overrules() -> None:
    """A complexity that is written but does not count does not claim its line."""
    found = rows(ONE_TIER + "  complexity: {complex: only}\n  enabled: false\n")

    assert found["routing.complexity.complex"].origin == "routing.enabled is false (ostler.yaml:5)"


def test_a_password_is_not_shown() -> None:
    """An address with a password is shown without it; the setting itself keeps it."""
    text = "hub: {database: 'postgresql://me:s3cret@db:5432/ostler'}\n" + ONE_TIER

    assert rows(text)["hub.database"].value == "postgresql://me:***@db:5432/ostler"
    for address in ("postgresql://me:hun/te@r2@db/ostler", "postgresql://db/ostler?user=me&password=hunter2&x=1"):
        shown = rows(f"hub: {{database: '{address}', direct_database: '{address}'}}\n")
        for name in ("hub.database", "hub.direct_database"):
            assert "ter2" not in shown[name].value.replace("@", "")
            assert "***" in shown[name].value
    assert "s3cret" in loaded(text).hub.database


def test_the_summary_says_what_a_profile_amounts_to() -> None:
    """Tiers, disabled tiers, where work goes, how much there is, and which key is missing."""
    text = EVERYTHING.replace("rank: 2", "rank: 2\n      enabled: false").replace("standard: large", "standard: small")

    lines = summary(loaded(text), {})

    assert lines[0].startswith("profile everything, version ")
    assert lines[1:] == (
        "tiers, cheapest first: direct, small",
        "disabled tiers: large",
        "work: trivial -> direct, standard -> small, complex -> large",
        "2 models, 2 endpoints, 1 hosts",
        "endpoint box: no key, BOX_KEY is not set",
    )
    assert summary(loaded(text), {"BOX_KEY": "x"})[-1] == "2 models, 2 endpoints, 1 hosts"
