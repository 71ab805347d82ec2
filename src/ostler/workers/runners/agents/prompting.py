"""What an agent is told: the task, what must hold at its end, and what earlier attempts came to. Pure."""

import re
from collections.abc import Sequence

from ostler.domain.states import Question
from ostler.domain.tasks import TaskSpec

ASKS = "NEEDS_HUMAN:"
"""How an agent begins the line with which it asks a person."""
_DEFAULT = re.compile(r"(?:\(\s*default:\s*([^()\[\]]+?)\s*\)|(?<=\])\s*default:\s*([^()\[\]]+?))$", re.IGNORECASE)
_CHOICES = re.compile(r"\[([^\[\]]*)\]$")
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


def parted(question: str) -> tuple[str, Question | None]:
    """A question, and the choices and the default that it ended with (`None`: neither). One alone is no choice, and a
    default must be one of the choices, where there are any: what is not understood so stays in the words.

    >>> parted("Which one? [left | right] (default: left)")
    ('Which one?', Question(choices=('left', 'right'), default='left', owner='', deadline_ms=None))
    >>> parted("Which one? (default: shop)")[1].default
    'shop'
    >>> parted("Which of [these]?")
    ('Which of [these]?', None)
    """
    words, default = question.strip(), None
    said = _DEFAULT.search(words)
    if said is not None:
        words, default = words[: said.start()].strip(), said[1] or said[2]
    listed = _CHOICES.search(words)
    named = [word.strip() for word in listed[1].split("|")] if listed is not None else []
    choices = tuple(dict.fromkeys(filter(None, named)))
    if listed is not None and len(choices) > 1:
        words = words[: listed.start()].strip()
    else:
        choices = ()
    if choices and default is not None:
        default = next((choice for choice in choices if choice.casefold() == default.casefold()), None)
        words = words if default is not None else question.strip()
    if not words or not (choices or default):
        return question.strip(), None
    return words, Question(choices=choices, default=default)


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
        " with the choices behind it if there are any, and what holds when nobody answers if that does no harm:"
        " [one | two] (default: one). You will be started again with the answer."
    )
    return "\n\n".join(part for part in parts if part)
