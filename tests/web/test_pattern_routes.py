"""Outcomes over HTTP: models of any name, labels without one, and nothing that has none."""

import json

import pytest

from ostler.domain.observations import ObservationQuery
from tests.web.asking import ask
from tests.web.recording_hub import ServedHub

OUTCOME = {"id": "o1", "at_ms": 5, "task_type": "docs", "model": "qwen", "success": True}


def body(**fields: object) -> str:
    return json.dumps({"observations": [{**OUTCOME, **fields}]})


@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-70B-Instruct", "qwen2.5:7b", "Modell Größe XL"])
def test_a_model_may_have_any_name_that_can_be_read(served: ServedHub, model: str) -> None:
    """Names of models are their makers', not ours."""
    assert ask(served, "POST", "/hub/patterns", body(model=model)).status == 201
    (((one,),),) = served.asked("add")
    assert one.model == model


@pytest.mark.parametrize("model", ["", "  ", "two\nlines", "\u0000"])
def test_an_outcome_without_a_model_is_refused(served: ServedHub, model: str) -> None:
    """With the place; nothing is kept."""
    answer = ask(served, "POST", "/hub/patterns", body(model=model))
    assert answer.status == 400
    assert answer.error["where"] == "$.observations[0].model"
    assert served.asked("add") == []


def test_a_label_speaks_of_no_model(served: ServedHub) -> None:
    """It is about a task and its words."""
    label = body(model="", says="label", task_id="t1", text="feed the cat")
    assert ask(served, "POST", "/hub/patterns", label).status == 201
    (((one,),),) = served.asked("add")
    assert (one.says, one.task_id, one.text) == ("label", "t1", "feed the cat")


@pytest.mark.parametrize("field", [{"says": "rumour"}, {"task_type": "two words/"}, {"attempt": "second"}])
def test_what_is_no_outcome_is_explained(served: ServedHub, field: dict[str, str]) -> None:
    """Never kept."""
    answer = ask(served, "POST", "/hub/patterns", body(**field))
    assert answer.status == 400
    assert answer.error["where"].startswith("$.observations[0].")
    assert served.asked("add") == []


@pytest.mark.parametrize(("method", "path", "verb"), [
    ("GET", "/hub/patterns", "report"),
    ("GET", "/hub/patterns/outcomes", "observations"),
    ("DELETE", "/hub/patterns", "forget"),
])  # fmt: skip
def test_a_version_names_outcomes_too(served: ServedHub, method: str, path: str, verb: str) -> None:
    """Beside type, model and tier."""
    answer = ask(served, method, f"{path}?type=docs&model=qwen&version=845d")
    assert answer.status == 200
    assert served.asked(verb) == [(ObservationQuery(task_type="docs", model="qwen", version="845d"),)]
