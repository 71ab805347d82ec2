"""Lists of models and other small answers, in the types of the official clients and in what our own driver reads."""

import json
from typing import Any

import pytest
from anthropic.pagination import SyncPage
from anthropic.types import MessageTokensCount, ModelInfo
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model

from ostler.domain.errors import InvalidInputError
from ostler.wire import listings
from ostler.wire.listings import Listed
from ostler.wire.ollama import OllamaChat, OllamaGenerate

FULL = Listed(
    name="qwen3:8b",
    context_tokens=40_960,
    max_output_tokens=8_192,
    capabilities=("completion", "tools", "thinking"),
    size_bytes=5_200_000_000,
    vram_bytes=6_000_000_000,
    family="qwen3",
    parameters="8.2B",
    quantization="Q4_K_M",
    file_format="gguf",
    digest="ab" * 32,
    owner="desk",
    created_s=1_700_000_000,
    expires_s=1_700_000_300,
)
BARE = Listed(name="auto")


def read(body: bytes) -> Any:  # noqa: ANN401 -- JSON
    return json.loads(body)


def test_models_are_listed_in_openais_form() -> None:
    """Its own type takes each row; the window is where other servers put it."""
    body = read(listings.openai_models([FULL, BARE]))
    rows = [Model.model_validate(row, strict=True) for row in body["data"]]

    assert body["object"] == "list"
    assert [(row.id, row.created, row.owned_by) for row in rows] == [
        ("qwen3:8b", 1_700_000_000, "desk"),
        ("auto", 0, "ostler"),
    ]
    assert [row.get("max_model_len", "unknown") for row in body["data"]] == [40_960, "unknown"]
    assert read(listings.openai_model(FULL)) == body["data"][0]


def test_models_are_listed_in_anthropics_form() -> None:
    """Its own page and row take it, and the page says where it begins and ends."""
    body = listings.anthropic_models([FULL, BARE])
    page = SyncPage[ModelInfo].model_validate_json(body)
    rows = [ModelInfo.model_validate_json(json.dumps(row), strict=True) for row in read(body)["data"]]

    assert (page.has_more, page.first_id, page.last_id) == (False, "qwen3:8b", "auto")
    assert [(row.id, row.max_input_tokens, row.max_tokens) for row in rows] == [
        ("qwen3:8b", 40_960, 8_192),
        ("auto", None, None),
    ]
    assert read(listings.anthropic_model(FULL)) == read(body)["data"][0]


@given(count=st.integers(0, 30), limit=st.integers(1, 12))
def test_pages_in_either_direction_hold_each_model_once(count: int, limit: int) -> None:
    """Going on from page to page, forwards or backwards, meets every model once and then ends."""
    models = [Listed(name=f"m{at:02}") for at in range(count)]
    for way, edge in (("after", "last_id"), ("before", "first_id")):
        seen: list[str] = []
        page = read(listings.anthropic_models(models, limit=limit))
        if way == "before":
            page = read(listings.anthropic_models([*models, BARE], limit=limit, before="auto"))
        while True:
            names = [row["id"] for row in page["data"]]
            assert len(names) <= limit
            seen = seen + names if way == "after" else names + seen
            if not page["has_more"]:
                break
            page = read(listings.anthropic_models(models, limit=limit, **{way: page[edge]}))
        assert seen == [model.name for model in models]


def test_an_empty_list_has_no_edges() -> None:
    """There is nothing to go on from."""
    assert read(listings.anthropic_models([])) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("asked", "where", "says"),
    [
        ({"limit": 0}, "limit", "1 to 1000"),
        ({"limit": 1001}, "limit", "1 to 1000"),
        ({"after": "qwen3:8"}, "after_id", "did you mean 'qwen3:8b'?"),
        ({"before": "x"}, "before_id", "valid: auto, qwen3:8b"),
    ],
)
def test_a_page_that_cannot_be_is_refused(asked: dict[str, Any], where: str, says: str) -> None:
    """What, where, and what would be right."""
    with pytest.raises(InvalidInputError, match=says.replace("?", r"\?")) as caught:
        listings.anthropic_models([FULL, BARE], **asked)
    assert caught.value.where == where


def test_a_count_is_told_in_anthropics_form() -> None:
    """Its own type takes it."""
    assert MessageTokensCount.model_validate_json(listings.anthropic_count(7), strict=True).input_tokens == 7


def test_models_are_listed_in_ollamas_form() -> None:
    """Name, size, digest and details; a model of which nothing is known still has all that clients read."""
    full, bare = read(listings.ollama_tags([FULL, BARE]))["models"]

    assert full == {
        "name": "qwen3:8b",
        "model": "qwen3:8b",
        "modified_at": "2023-11-14T22:13:20Z",
        "size": 5_200_000_000,
        "digest": "ab" * 32,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "qwen3",
            "families": ["qwen3"],
            "parameter_size": "8.2B",
            "quantization_level": "Q4_K_M",
        },
    }
    assert bare.keys() == full.keys()
    assert len(bare["digest"]) == 64
    assert bare["digest"] != read(listings.ollama_tags([Listed(name="other")]))["models"][0]["digest"]


def test_models_in_memory_are_listed_with_their_end() -> None:
    """Those that stay for ever have an end that no client will live to see; an unknown window is left out."""
    full, bare = read(listings.ollama_ps([FULL, BARE]))["models"]

    assert (full["expires_at"], full["size_vram"], full["context_length"]) == (
        "2023-11-14T22:18:20Z",
        6_000_000_000,
        40_960,
    )
    assert bare["expires_at"].startswith("9999-")
    assert "context_length" not in bare


def test_a_model_is_shown_with_its_window_and_what_it_can() -> None:
    """The window stands where clients, and our own driver, look it up."""
    full, bare = read(listings.ollama_show(FULL)), read(listings.ollama_show(BARE))

    assert full["model_info"] == {"general.architecture": "qwen3", "qwen3.context_length": 40_960}
    assert full["capabilities"] == ["completion", "tools", "thinking"]
    assert bare["model_info"] == {"general.architecture": "unknown"}


def test_the_version_is_told() -> None:
    """Clients ask for it to see whether somebody is there."""
    assert read(listings.ollama_version("0.9.0")) == {"version": "0.9.0"}


@pytest.mark.parametrize("codec", [OllamaChat(), OllamaGenerate()])
@pytest.mark.parametrize(("unloaded", "reason"), [(False, "load"), (True, "unload")])
def test_a_load_is_answered_as_an_answer_without_words(codec: OllamaChat, unloaded: bool, reason: str) -> None:
    """Any client of the endpoint reads it as a whole answer, and as a whole stream."""
    chat = not isinstance(codec, OllamaGenerate)
    body = listings.ollama_loaded("m", 1_700_000_000, chat=chat, unloaded=unloaded)
    reader = codec.reader()
    reader.feed(body + b"\n")

    assert read(body)["done_reason"] == reason
    assert codec.decode_answer(body).parts == ()
    assert reader.done
