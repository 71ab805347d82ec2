"""Model names have one spelling; views of an endpoint answer by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.catalog import LATEST, EndpointKind, EndpointSpec, normal_model
from ostler.domain.fleet import EndpointView, ProbeStatus, Resident

NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Lu", "Nd"], include_characters="-./:"), max_size=20)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("llama3:latest", "llama3"),
        (" llama3 ", "llama3"),
        ("\tllama3:latest\n", "llama3"),
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("Mixed/Case", "Mixed/Case"),
        ("hf.co/x/y:latest", "hf.co/x/y"),
        ("a:latestish", "a:latestish"),
        ("latest", "latest"),
    ],
)
def test_one_model_has_one_spelling(written: str, name: str) -> None:
    """The default tag and space around say nothing; case, path and other tags do."""
    assert normal_model(written) == name


@given(NAMES.filter(lambda name: not name.endswith(LATEST)))
def test_with_and_without_the_default_tag_is_the_same(name: str) -> None:
    """For every name, with space around it or not."""
    assert normal_model(f" {name}{LATEST} ") == normal_model(name) == name


@given(NAMES.filter(lambda name: not name.endswith(LATEST * 2)))
def test_normalising_again_changes_nothing(name: str) -> None:
    """So it does not matter how often an edge does it."""
    assert normal_model(normal_model(name)) == normal_model(name)


def view(**fields: object) -> EndpointView:
    spec = EndpointSpec(name="e", kind=EndpointKind.OLLAMA, url="http://e", provider="ollama", host="e", local=True)
    return EndpointView(spec=spec, **fields)  # type: ignore[arg-type]


def test_an_endpoint_serves_what_it_offers_and_is_warm_with_what_it_holds() -> None:
    """One that does not say what it holds loads nothing by itself, and counts as warm."""
    cold = view(models=frozenset({"a", "b"}), residents=(Resident(model="a"),))

    assert cold.serves("a")
    assert not cold.serves("c")
    assert cold.is_warm("a")
    assert not cold.is_warm("b")
    assert not view(residents=()).is_warm("a")
    assert view(residents=None).is_warm("a")


def test_the_exit_codes_of_a_check_follow_its_status() -> None:
    """Every status has one, each another."""
    assert {status.value: status.exit_code for status in ProbeStatus} == {
        "available": 0,
        "unavailable": 1,
        "rate_limited": 2,
        "key_invalid": 3,
    }
