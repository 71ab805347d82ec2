"""Secrets stay where they were put, and files are their owner's alone, even where the system's mask gives all away.

One hub is started as a careless person would: with umask 000, reachable from other machines, a key of a provider, a
webhook whose address is its secret, and secrets of other programs in its environment. Then everything that people and
programs can ask is asked, and nothing that was answered, logged, stored or shown to other processes holds one of them.
"""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.e2e.process import Process, until

CANARIES = {
    "the provider's key": "sk-simulated",
    "a secret of another program": "canary-aws-91be",
    "the secret that webhooks are signed with": "canary-signing-55d0",
    "the path of a webhook": "canary-hook-c2e4",
    "a token in an address": "canary-token-08aa",
}
CARELESS = ("sh", "-c", 'umask 000; exec "$@"', "sh")
PROFILE = """\
routing:
  tiers:
    standard: {{models: [gpt-simulated-mini]}}
providers:
  sim: {{kind: openai, base_url: {url}/v1, api_key_env: SIM_KEY}}
  lost: {{kind: openai, base_url: "http://127.0.0.1:9/v1", api_key_env: SIM_KEY}}
endpoints:
  lost: {{provider: lost, models: [other]}}
  sim: {{provider: sim, models: [gpt-simulated-mini]}}
models:
  gpt-simulated-mini: {{provider: sim, context: 128k, input_usd_per_mtok: 2.5, output_usd_per_mtok: 10}}
  other: {{provider: lost, context: 128k, input_usd_per_mtok: 2.5, output_usd_per_mtok: 10}}
worker:
  allow: [command, chat]
  commands: ["*"]
alerts:
  every: 1s
  start_after: 0s
  webhooks:
    team: {{url: "http://127.0.0.1:9/services/canary-hook-c2e4", secret_env: HOOK_SECRET}}
telemetry:
  log_events: true
  traces_url: "http://127.0.0.1:9/v1/traces?token=canary-token-08aa"
hub:
  port: 0
  host: 127.0.0.2
"""
ENV = {
    "SIM_KEY": CANARIES["the provider's key"],
    "AWS_SECRET_ACCESS_KEY": CANARIES["a secret of another program"],
    "HOOK_SECRET": CANARIES["the secret that webhooks are signed with"],
}
SPY = "env; cat /proc/self/cmdline /proc/$PPID/cmdline; cat /proc/[0-9]*/cmdline | tr '\\\\0' ' '"
VERBS = tuple(
    tuple(line.split())
    for line in """\
status
tasks list
tasks show spied
tasks results r1
why spied
why asked
events --limit 500
config show
endpoints list
endpoints check lost
models list
hosts
workers list
keys list
budget
alerts
alerts test
calls
patterns
db check
doctor""".splitlines()
)
IN_BOTH = {("tasks", "show", "spied"), ("config", "show"), ("why", "asked"), ("events", "--limit", "500")}
"""Asked for JSON too, which says more."""
PATHS = (
    *("/", "/tasks", "/tasks/spied", "/tasks/asked", "/fleet", "/money", "/learning", "/calls", "/pipelines"),
    *("/live.json?page=/", "/metrics", "/hub/status", "/hub/config", "/hub/tasks/spied", "/hub/tasks/asked/why"),
    *("/hub/events?limit=1000", "/hub/keys", "/hub/endpoints", "/hub/alerts", "/hub/workers", "/hub/openapi.json"),
    *("/hub/calls", "/v1/models", "/api/tags"),
)


class Seen(NamedTuple):
    """What came out of a hub, by where it was seen; and its folder."""

    texts: Mapping[str, str]
    folder: Path
    tokens: Mapping[str, str]


def verb(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(
        [*CARELESS, sys.executable, "-m", "ostler.cli.main", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=folder, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "OSTLER_HUB_DATA_DIR": str(folder / "data"), **ENV},
    )  # fmt: skip
    return ran.stdout + ran.stderr


def fetched(url: str, path: str, headers: Mapping[str, str]) -> str:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return f"{answer.status}\n{answer.headers}\n{answer.read().decode('utf-8', 'replace')}"
    finally:
        connection.close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All of it, once."""
    folder = tmp_path_factory.mktemp("careless")
    data = folder / "data"
    with Process(folder, "simulate-cloud", "--port", "0", "--speed", "100") as cloud:
        until(lambda: "answers at" in cloud.log.read_text(encoding="utf-8"), "the simulated cloud answers")
        (folder / "ostler.yaml").write_text(
            PROFILE.format(url=re.findall(r"http://\S+", cloud.log.read_text(encoding="utf-8"))[0]), encoding="utf-8"
        )
        with Process(folder, "up", "--data-dir", str(data), env=ENV, prefix=CARELESS) as hub:
            until((data / "hub.json").exists, "the hub answers", 30)
            url = str(json.loads((data / "hub.json").read_text(encoding="utf-8"))["url"])
            until((data / "admin.token").exists, "it has left a token")
            admin = (data / "admin.token").read_text(encoding="utf-8").strip()
            texts: dict[str, str] = {}
            at = ("--hub", url, "--token-file", str(data / "admin.token"))
            texts["keys create"] = made = verb(folder, "keys", "create", "one", *at)
            key = re.findall(r"ost-\S+", made)[0]
            texts["run"] = verb(folder, "submit", *at, "--id", "spied", "--wait", "--command", "--", "sh", "-c", SPY)
            texts["asked"] = verb(folder, "submit", *at, "--id", "asked", "name three horses")
            texts["unreachable"] = verb(folder, "submit", *at, "--id", "lost", "--model", "other", "say nothing")
            until(lambda: "succeeded" in verb(folder, "tasks", "show", "asked", *at), "the provider has answered", 40)
            for arguments in VERBS:
                for more in ((), ("--json",)) if arguments in IN_BOTH else ((),):
                    texts[" ".join((*arguments, *more))] = verb(folder, *arguments, *more, *_where(arguments, at, data))
            for path in PATHS:
                bearer = {"Authorization": f"Bearer {key if path.startswith(('/v1', '/api')) else admin}"}
                texts[path] = fetched(url, path, bearer | {"Cookie": f"ostler_seat={admin}"})
            for path in PATHS:
                texts[f"{path} refused"] = fetched(url, path, {"Authorization": "Bearer canary-guess-1"})
            texts["backup"] = verb(folder, "db", "backup", str(folder / "backup.db"))
            texts["processes"] = _command_lines()
            assert hub.stop() == 0
        texts["log of the hub"] = hub.log.read_text(encoding="utf-8")
    return Seen(texts, folder, {"admin": admin, "key": key})


def _where(arguments: tuple[str, ...], at: tuple[str, ...], data: Path) -> tuple[str, ...]:
    if arguments[0] in ("db", "doctor") or arguments == ("config", "show"):
        return ()
    return at if data.exists() else ()


def _command_lines() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_the_questions_were_answered(seen: Seen) -> None:
    """Else nothing would be proved: the verbs worked, the spy ran, the provider was asked with its key."""
    assert "PATH=" in seen.texts["run"]
    assert "ostler.cli.main" in seen.texts["processes"]
    assert "asked" in seen.texts["tasks list"]
    assert seen.texts["/hub/config"].startswith("200")
    assert seen.texts["/"].startswith("200")
    assert "webhooks" in seen.texts["config show"]
    assert "gpt-simulated-mini" in seen.texts["/v1/models"]
    assert len(seen.texts["/hub/events?limit=1000"]) > 1_000
    failed = {name for name, text in seen.texts.items() if "Traceback" in text}
    assert not failed


@pytest.mark.parametrize("what", CANARIES)
def test_a_secret_is_in_nothing_that_was_answered(seen: Seen, what: str) -> None:
    """Verbs, pages, answers of the API, metrics, errors, logs, outputs of tasks, command lines of all processes."""
    found = {name for name, text in seen.texts.items() if CANARIES[what] in text}

    assert not found, [seen.texts[name][:3000] for name in found]


@pytest.mark.parametrize("what", CANARIES)
def test_a_secret_is_in_no_file_that_was_written(seen: Seen, what: str) -> None:
    """The database, its journal, a backup, every other file: what the person wrote themselves is the only place."""
    written = [path for path in seen.folder.rglob("*") if path.is_file() and path.name != "ostler.yaml"]
    assert seen.folder / "backup.db" in written
    found = [str(path) for path in written if CANARIES[what].encode() in path.read_bytes()]

    assert not found


def test_tokens_and_keys_are_shown_once_and_stored_as_hashes(seen: Seen) -> None:
    """The admin's token is in its file alone, the key where it was made alone."""
    for name, token in seen.tokens.items():
        places = {where for where, text in seen.texts.items() if token in text}
        assert places == ({"keys create"} if name == "key" else set())
        files = {path.name for path in seen.folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()}
        assert files == (set() if name == "key" else {"admin.token"})


def test_a_guess_is_not_repeated(seen: Seen) -> None:
    """A wrong token may be a right one somewhere else."""
    assert not {name for name, text in seen.texts.items() if "canary-guess" in text and name != "processes"}


def test_files_are_their_owners_alone_with_any_umask(seen: Seen) -> None:
    """The folder keeps everybody out; what holds state or a secret is closed by itself, too."""
    data = seen.folder / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    alone = {path.name for path in data.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077 == 0}
    wanted = {path.name for path in data.iterdir() if re.search(r"\.db|\.token$|hub\.json$|\.lock$", path.name)}
    assert "admin.token" in wanted
    assert any(name.endswith(".db") for name in wanted)
    assert wanted <= alone
    assert stat.S_IMODE((seen.folder / "backup.db").stat().st_mode) == 0o600


def test_nothing_outside_of_the_folder_is_open_to_others(seen: Seen) -> None:
    """What lies below the person's home beside it is a log of this test, the profile and the backup."""
    named = {"ostler.yaml", "backup.db"}
    others = [
        path
        for path in seen.folder.rglob("*")
        if not path.is_relative_to(seen.folder / "data") and path.is_file() and not path.name.startswith("log-")
    ]
    loose = [path for path in others if path.name not in named and stat.S_IMODE(path.stat().st_mode) & 0o077]
    guarded = [path for path in loose if any(stat.S_IMODE(up.stat().st_mode) == 0o700 for up in path.parents)]

    assert loose == guarded
