"""What an agent is told: the task, what must hold at its end, and what earlier attempts came to. Pure."""

from collections.abc import Sequence

from ostler.domain.tasks import TaskSpec

PROMPT_BYTES_MAX = 120_000
"""Of one argument of a program; systems take little more."""


def prompt_of(spec: TaskSpec, notes: Sequence[str]) -> str:
    """The prompt. The agent is told how the work will be checked, and not to wait for anyone."""
    parts = [spec.system, spec.prompt]
    if spec.success_criteria:
        parts.append("It is done when:\n" + "\n".join(f"- {one}" for one in spec.success_criteria))
    if spec.verify:
        checks = "\n".join("- " + " ".join(argv) for argv in spec.verify)
        parts.append(f"Afterwards these commands are run here, and all of them must succeed:\n{checks}")
    if notes:
        told = "\n".join(f"- {note}" for note in notes)
        parts.append(f"Earlier attempts, each from the same beginning as yours:\n{told}")
    if spec.repo is not None:
        parts.append("Work in this folder. Nobody answers questions: decide for yourself and do it.")
    return "\n\n".join(part for part in parts if part)
