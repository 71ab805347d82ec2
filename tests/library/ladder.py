"""The ladder of four tiers as a program meets it: where words go, on the shipped profile or a changed one."""

from pathlib import Path

from ostler import ModelRouter, Tier
from ostler.app.offline import route
from ostler.domain.decision import Route
from ostler.domain.tasks import TaskSpec

CHANGED = "extends: tiered-ladder\nrouting:\n"


def went(prompt: str, profile: str = "tiered-ladder", **fields: object) -> Tier:
    """The tier that a prompt goes to."""
    verdict, _ = route(TaskSpec(id="q", prompt=prompt, **fields), profile)  # type: ignore[arg-type]
    assert isinstance(verdict, Route)
    return Tier.named(verdict.decision.effective_tier)


def kind(prompt: str) -> str:
    """The type of work that a prompt is taken for."""
    return ModelRouter().classify(prompt)


def changed(folder: Path, routing: str) -> str:
    """The ladder with other lines under `routing`."""
    path = folder / "ostler.yaml"
    path.write_text(CHANGED + "".join(f"  {line}\n" for line in routing.splitlines()))
    return str(path)
