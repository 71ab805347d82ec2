"""What an agent is told: the task, what must hold at its end, and what earlier attempts came to. Pure."""

from collections.abc import Sequence

from ostler.domain.tasks import TaskSpec

ASKS = "NEEDS_HUMAN:"
"""How an agent begins the line with which it asks a person."""
PROMPT_BYTES_MAX = 120_000
"""Of one argument of a program; systems take little more."""


def question_of(text: str) -> str | None:
    r"""What an agent's last line asks a person; `None`: nothing.

    >>> question_of("Two ways are open.\n**NEEDS_HUMAN:** Which one? [left | right]")
    'Which one? [left | right]'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    plain = lines[-1].replace("*", "").replace("`", "").strip() if lines else ""
    return plain.removeprefix(ASKS).strip() or None if plain.startswith(ASKS) else None


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
        where = (
            "in this very folder, where what they did still is" if spec.cwd else "each from the same beginning as yours"
        )
        parts.append(f"Earlier attempts, {where}:\n{told}")
    if spec.repo is not None:
        parts.append("Work in this folder. Nobody answers while you work: decide for yourself and do it.")
    parts.append(
        f"Only where a wrong guess would do harm, stop and end with one line `{ASKS} your question`,"
        " with the choices behind it if there are any: [one | two]. You will be started again with the answer."
    )
    return "\n\n".join(part for part in parts if part)
