"""The work of the demo: commands that really run, prompts that people know, and a pipeline of fourteen agents.

It comes in three waves: `first` at the start, `second` just before a machine is switched off, `away` while it is gone.
Everything here is data; nothing is sent.
"""

import random
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from ostler.domain.tasks import TaskKind, TaskSpec

HERE = Path(__file__).parent
PROMPTS = HERE / "prompts.jsonl"
PIPELINE = HERE / "files" / "fourteen-agents.yaml"
PYTHON = "python"
"""What the demo's workers find on their PATH: the interpreter that runs the demo."""
LONG_COMMAND = "long-command"
"""The command that is under way when its machine dies."""
LONG_COMMAND_S = 4
CAPABILITY = "bench"
"""What the long command requires of a worker: both machines have it, the hub's own worker has not."""


class Wave(StrEnum):
    """When a task is handed in."""

    FIRST = "first"
    SECOND = "second"
    AWAY = "away"


class Prompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of `prompts.jsonl`: `origin` is its collection, `shows` what it is here for."""

    id: str
    origin: str
    source: str
    licence: str
    wave: Wave
    shows: str
    task: dict[str, Any]
    """Fields of `TaskSpec` without the id."""

    def spec(self) -> TaskSpec:
        """The task to hand in."""
        return msgspec.convert({"id": self.id, "kind": "chat", **self.task}, TaskSpec)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks by wave, and for some of them what they show."""

    waves: dict[Wave, tuple[TaskSpec, ...]]
    pipeline: Path | None = None
    """A file for `ostler run`, handed in before all others."""
    shows: dict[str, str] = {}


def load_prompts() -> tuple[Prompt, ...]:
    """The prompts that come with the demo."""
    lines = PROMPTS.read_bytes().splitlines()
    return tuple(msgspec.json.decode(line, type=Prompt) for line in lines)


def load_workload(seed: int = 1) -> Workload:
    """The whole workload; `seed` mixes the order in which prompts and commands are handed in."""
    prompts = load_prompts()
    shows = {prompt.id: prompt.shows for prompt in prompts if prompt.shows}
    commands, shown = _commands()
    waves = {wave: [prompt.spec() for prompt in prompts if prompt.wave is wave] for wave in Wave}
    waves[Wave.FIRST] += commands
    waves[Wave.SECOND].append(_long_command())
    for specs in waves.values():
        random.Random(seed).shuffle(specs)  # noqa: S311 -- an order that can be repeated, no secret
    shows[LONG_COMMAND] = "killed with its machine, run again elsewhere"
    waves_of_specs = {wave: tuple(specs) for wave, specs in waves.items()}
    return Workload(waves=waves_of_specs, pipeline=PIPELINE, shows={**shows, **shown})


def _commands() -> tuple[list[TaskSpec], dict[str, str]]:
    """Short commands, and what they show."""
    flaky = (
        "import pathlib, sys; mark = pathlib.Path('first-try-is-over'); again = mark.exists(); mark.touch();"
        " sys.exit(0 if again else 'fails the first time, on purpose')"
    )
    specs = [
        _python("sum-of-squares", "print(sum(n * n for n in range(200_000)))", title="Sum of squares"),
        _python("flaky", flaky, title="Succeeds the second time"),
        _python(
            "optional-check",
            "import sys; sys.exit('fails every time, on purpose')",
            title="An optional check",
            optional=True,
            max_attempts=1,
        ),
        _python("after-check", "print('went on without it')", title="Needs the check", needs=("optional-check",)),
        _python(
            "verified",
            "open('answer.txt', 'w').write(str(6 * 7))",
            title="Write a file, verified",
            verify=((PYTHON, "-c", "assert open('answer.txt').read() == '42'"),),
        ),
    ]
    shows = {
        "flaky": "fails once and is tried again",
        "optional-check": "fails for good; it is optional",
        "after-check": "needs what failed, and runs all the same",
        "verified": "its own check must pass",
    }
    if shutil.which("git"):
        specs.append(
            TaskSpec(id="git-version", kind=TaskKind.COMMAND, title="git --version", argv=("git", "--version"))
        )
    return specs, shows


def _long_command() -> TaskSpec:
    code = (
        "import hashlib, time; text = b'ostler'\n"
        f"for step in range({LONG_COMMAND_S * 10}): text = hashlib.sha256(text * 1000).digest(); time.sleep(0.1)\n"
        "print(text.hex())"
    )
    return _python(LONG_COMMAND, code, title=f"Hashes for {LONG_COMMAND_S} s", requires=frozenset({CAPABILITY}))


def _python(task_id: str, code: str, **fields: Any) -> TaskSpec:  # noqa: ANN401 -- passed on to TaskSpec as they are
    """A command that runs a line of Python."""
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=(PYTHON, "-c", code), **fields)
