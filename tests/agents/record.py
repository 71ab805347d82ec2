"""Renew the recordings of real agent command lines: what each prints in good runs and in failures of its model.

    python -m tests.agents.record [AGENT ...]

Each run is the adapter's own start of the installed program, in an isolated home, against a simulated upstream that
plays one script. What is kept: standard output as it came, the end of standard error, the exit code. Paths of the run
are replaced by `/place`, and nothing else is changed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ostler.workers.runners.agents.contract import Job
from ostler.workers.runners.agents.shelf import ADAPTERS
from tests.gateway import plays
from tests.gateway.agent_script import writes_note
from tests.gateway.dialects import DIALECTS, MODEL, AnswerDialect, Said
from tests.gateway.responses import Responses
from tests.gateway.upstream import Play, Upstream

AGENTS = Path(sys.prefix) / "agents" / "bin"
RECORDINGS = Path(__file__).parents[1] / "workers" / "agents" / "recordings"
LIMIT_S = 60
ERRORS_KEPT = 2_000
DIALECT_OF: dict[str, AnswerDialect] = {
    "opencode": DIALECTS["openai"],
    "claude": DIALECTS["anthropic"],
    "codex": Responses(),
    "aider": DIALECTS["openai"],
}
KEY = "sk-simulated-run"


@dataclass(frozen=True)
class Scene:
    """One recording: its name, and what the upstream plays to every request."""

    name: str
    play: Play
    limit_s: float = LIMIT_S


def scenes(note: str) -> list[Scene]:
    """All of them; `note` is the file the agent is told to write."""
    return [
        Scene("writes_a_note", writes_note(note, "Oats at noon.")),
        Scene("only_talks", plays.answers(Said(text="I would write a note."))),
        Scene("says_nothing", plays.answers(Said(text=""))),
        Scene("cut_by_length", plays.answers(Said(text="I would wr", finish="length"))),
        Scene("key_refused", plays.fails(plays.AUTH)),
        Scene("quota", plays.fails(plays.QUOTA), 20),
        Scene("rate_limit", plays.fails(plays.RATE_LIMIT, retry_after="1"), 20),
        Scene("server_error", plays.fails(plays.SERVER), 20),
        Scene("context_too_long", plays.fails(plays.CONTEXT)),
        Scene("refused_by_filter", plays.fails(plays.FILTER)),
        Scene("connection_reset", plays.reset, 20),
        Scene("model_hangs", plays.silent, 10),
    ]


def record(name: str, scene_name: str, place: Path) -> dict[str, object]:
    """Play one scene; what came of it."""
    adapter = ADAPTERS[name]
    home, tree = place / "home", place / "tree"
    for folder in (home, tree):
        folder.mkdir(parents=True)
    scene = next(scene for scene in scenes(str(tree / "note.txt")) if scene.name == scene_name)
    with Upstream(DIALECT_OF[name], scene.play) as upstream:
        job = Job(
            prompt="Write a note.",
            model=MODEL,
            gateway=upstream.url,
            key=KEY,
            home=str(home),
            tree=str(tree),
            context_tokens=64_000,
            output_tokens=4_096,
        )
        start = adapter.start(job)
        for path, text in start.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text, encoding="utf-8")
        env = {**isolated(home, tree), **start.env}
        git = ["git", "init", "--quiet"]
        subprocess.run(git, cwd=tree, env=env, check=True, timeout=30)
        with Path(home / start.stdin if start.stdin is not None else os.devnull).open("rb") as source:
            process = subprocess.Popen(
                [str(AGENTS / adapter.name), *start.argv[1:]],
                cwd=tree,
                env=env,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        stopped = False
        try:
            output, errors = process.communicate(timeout=scene.limit_s)
        except subprocess.TimeoutExpired:
            stopped = True
            process.terminate()
            output, errors = process.communicate(timeout=30)
    return {
        "output": cleaned(output.decode(), place),
        "exit": process.returncode,
        "stopped": stopped,
        "errors": cleaned(errors.decode(errors="replace"), place)[-ERRORS_KEPT:],
    }


def isolated(home: Path, tree: Path) -> dict[str, str]:
    """The environment of a run without the adapter's own part."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PWD": str(tree),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "NO_PROXY": "127.0.0.1,localhost",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }


def cleaned(text: str, place: Path) -> str:
    """Without the paths of this run and this machine."""
    text = text.replace(str(place), "/place").replace(str(AGENTS.resolve()), "/agents")
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", text)


def version_of(program: str) -> str:
    """What the installed program calls its version."""
    with tempfile.TemporaryDirectory() as home:
        said = subprocess.run(
            [str(AGENTS / program), "--version"],
            env={"HOME": home, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    found = re.search(r"\d+\.\d+\.\d+", said.stdout)
    assert found is not None, said
    return found[0]


def main(names: list[str]) -> None:
    """Record every scene of these agents."""
    for name in names or sorted(DIALECT_OF):
        folder = RECORDINGS / f"{name}-{version_of(name)}"
        folder.mkdir(parents=True, exist_ok=True)
        index: dict[str, object] = {"agent": name, "source": "recorded from the program", "runs": {}}
        runs: dict[str, object] = {}
        for scene in scenes(""):
            with tempfile.TemporaryDirectory(prefix="ostler-record-") as place:
                found = record(name, scene.name, Path(place))
            (folder / f"{scene.name}.jsonl").write_text(str(found.pop("output")), encoding="utf-8")
            runs[scene.name] = found
            sys.stderr.write(f"{name} {scene.name}: exit {found['exit']}\n")
        index["runs"] = runs
        (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
