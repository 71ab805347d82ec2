"""Headless runs of agent command lines that are installed from npm: isolated, bounded, without outside traffic.

Each run has a home of its own and an environment of a few named variables: nothing of the person who runs the tests is
read, changed or sent. The one address an agent is told is the base URL of the test; whatever else a program would call
on its own is switched off by the variables and settings that its makers document. The proxy for all other addresses is
a server of the test's own that lets nothing out and writes down who asked.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ostler.workers.runners.agents.contract import Job
from ostler.workers.runners.agents.shelf import ADAPTERS

AGENTS = Path(sys.prefix) / "agents" / "bin"
WITHOUT_AGENTS = bool(os.environ.get("WITHOUT_AGENTS"))
RUN_LIMIT_S = 120

AIDER_WANTED = bool(os.environ.get("WITH_AIDER")) or (AGENTS / "aider").exists()
needs_aider = pytest.mark.skipif(
    WITHOUT_AGENTS or not AIDER_WANTED, reason="WITH_AIDER is not set: aider, some hundred packages, is not run"
)
needs_agents = pytest.mark.skipif(WITHOUT_AGENTS, reason="WITHOUT_AGENTS is set: no real agent is run")


@dataclass(frozen=True)
class Place:
    """Where a run happens: a folder with its home and its working tree, and the proxy that lets nothing out."""

    folder: Path
    proxy: str

    @property
    def home(self) -> Path:
        """The home of the run."""
        return self.folder / "home"

    @property
    def work(self) -> Path:
        """Its working tree."""
        return self.folder / "work"


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    code: int
    output: str
    errors: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of JSON it printed."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def __str__(self) -> str:
        return f"exit {self.code}\n--- output\n{self.output[-4000:]}\n--- errors\n{self.errors[-4000:]}"


def program(name: str) -> Path:
    """The installed program. Fails, and says what to do, when it is not there."""
    path = AGENTS / name
    if not path.exists():
        pytest.fail(
            f"{name} is not installed: `make test` installs it (scripts/agents.sh), WITHOUT_AGENTS=1 goes without"
        )
    return path


def opencode(place: Place, base_url: str, key: str, model: str, prompt: str) -> Run:
    """One `opencode run` in the working tree against an OpenAI-compatible address (ending in /v1)."""
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Stable",
        "options": {"baseURL": base_url, "apiKey": key},
        "models": {model: {"name": model, "tool_call": True, "limit": {"context": 64_000, "output": 4_096}}},
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": ["stable"],
        "provider": {"stable": provider},
        "model": f"stable/{model}",
        "small_model": f"stable/{model}",
        "permission": {"edit": "allow", "bash": "allow"},
    }
    variables = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }
    _plugins_in_place(place.home / ".config" / "opencode")
    return _run(place, [str(program("opencode")), "run", "--format", "json", prompt], variables)


def claude(place: Place, base_url: str, key: str, model: str, prompt: str) -> Run:
    """One `claude -p` in the working tree against an address that serves /v1/messages."""
    variables = {
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CONFIG_DIR": str(place.home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    arguments = ["-p", prompt, "--output-format", "stream-json", "--verbose", "--model", model]
    arguments += ["--permission-mode", "acceptEdits", "--allowedTools", "Write,Bash", "--strict-mcp-config"]
    return _run(place, [str(program("claude")), *arguments], variables)


def by_adapter(
    place: Place, name: str, gateway: str, key: str, model: str, prompt: str, tools: tuple[str, ...] = ()
) -> Run:
    """One run of any agent as the worker's own adapter starts it. `gateway`: an address without a path."""
    job = Job(
        prompt=prompt,
        model=model,
        gateway=gateway,
        key=key,
        home=str(place.home),
        tree=str(place.work),
        context_tokens=64_000,
        output_tokens=4_096,
        tools=tools,
    )
    start = ADAPTERS[name].start(job)
    for path, text in start.files.items():
        (place.home / path).parent.mkdir(parents=True, exist_ok=True)
        (place.home / path).write_text(text, encoding="utf-8")
    stdin = place.home / start.stdin if start.stdin is not None else None
    return _run(place, [str(program(name)), *start.argv[1:]], dict(start.env), stdin)


def _plugins_in_place(folder: Path) -> None:
    """A folder of settings as an earlier run leaves it: opencode fetches its plugin package into it only when the lock
    there does not name it, and no variable forbids that.
    """
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    lock = {"lockfileVersion": 3, "packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
    (folder / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")


def _run(place: Place, command: list[str], variables: dict[str, str], stdin: Path | None = None) -> Run:
    home, work = place.home, place.work
    for path in (home, work):
        path.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PWD": str(work),
        "TMPDIR": str(place.folder),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "HTTP_PROXY": place.proxy,
        "HTTPS_PROXY": place.proxy,
        "NO_PROXY": "127.0.0.1,localhost",
        "CI": "1",
        **variables,
    }
    subprocess.run(["git", "init", "--quiet"], cwd=work, env=environment, check=True, timeout=30)  # noqa: S607 -- on PATH
    with (stdin or Path(os.devnull)).open("rb") as source:
        done = subprocess.run(
            command,
            cwd=work,
            env=environment,
            stdin=source,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
    return Run(done.returncode, done.stdout, done.stderr)
