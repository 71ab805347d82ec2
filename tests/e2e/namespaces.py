"""Two machines as two network namespaces, joined by a cable that can be pulled; run inside `unshare -Urn`.

    unshare -Urn python -m tests.e2e.namespaces FOLDER

The hub is in this namespace, with a worker beside it; the other worker is in a namespace of its own. Prints one line of
JSON with what happened.
"""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.errors import ConflictError
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.e2e.network import ip
from tests.e2e.process import HubProcess, Process, until
from tests.e2e.test_hosts import RUN, profile_with

GRACE_S = 6.0
HERE, THERE = "10.9.0.1", "10.9.0.2"


def lay_cable(there: int) -> None:
    """A pair of interfaces, one end in the other namespace."""
    ip("link", "set", "lo", "up")
    ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", str(there))
    ip("addr", "add", f"{HERE}/24", "dev", "cable0")
    ip("link", "set", "cable0", "up")
    ip("addr", "add", f"{THERE}/24", "dev", "cable1", inside=there)
    ip("link", "set", "cable1", "up", inside=there)
    ip("link", "set", "lo", "up", inside=there)


def refusal(client: HubClient, task: str) -> str:
    """What adopting its late result is refused with; empty: it was adopted."""
    try:
        client.adopt_late(task, 1)
    except ConflictError as error:
        return error.what
    return ""


def play(folder: Path, there: int, stack: ExitStack) -> dict[str, object]:
    """Pull the cable for less than the grace, and for more."""
    traces = folder / "traces"
    traces.mkdir()
    hub = stack.enter_context(HubProcess(folder, "--no-worker", "--host", HERE, profile=profile_with(GRACE_S)))
    until(
        lambda: (hub.data / "admin.token").exists() and (hub.data / "admin.token").stat().st_size > 0, "a token is made"
    )
    client = HubClient(Transport(hub.url, (hub.data / "admin.token").read_text(encoding="utf-8").strip()))
    env = {"OSTLER_TOKEN": client.make_token("workers", "worker").token}

    def worker(name: str, place: Path, *prefix: str) -> Process:
        arguments = ("worker", "--hub", hub.url, "--name", name, "--slots", "command=2", "--profile")
        made = stack.enter_context(Process(place, *arguments, str(folder / "ostler.yaml"), env=env, prefix=prefix))
        until(lambda: name in {row.session.offer.name for row in client.workers().workers}, f"{name} joins")
        return made

    def give(name: str, seconds: float, **fields: str) -> None:
        argv = (sys.executable, "-c", RUN, name, str(traces), str(seconds))
        client.submit([TaskSpec(id=name, kind=TaskKind.COMMAND, argv=argv, **fields)])  # type: ignore[arg-type]
        until((traces / f"{name}.pid").exists, f"{name} runs")

    def happened(name: str) -> int:
        return sum(event.name == name for event in client.events(0, 1000).events)

    def ends(name: str) -> int:
        until(lambda: client.task(name).task.state is TaskState.SUCCEEDED, f"{name} succeeds", 30)
        return client.task(name).task.generation

    for place in ("far", "near"):
        (folder / place).mkdir()
    far = worker("far", folder / "far", "nsenter", "-t", str(there), "-n")
    give("short", 4.0, worker="far")
    ip("link", "set", "cable0", "down")
    until(lambda: happened("worker.suspect") == 1, "it is suspect")
    time.sleep(0.5)
    ip("link", "set", "cable0", "up")
    short = ends("short")
    lost_after_short = happened("worker.lost")
    give("long", 3.0)
    ip("link", "set", "cable0", "down")
    near = worker("near", folder / "near")
    until(lambda: happened("worker.lost") == 1, "it is lost", GRACE_S + 10)
    long = ends("long")
    ip("link", "set", "cable0", "up")
    until(lambda: len(client.late().late) == 1, "its end comes late", 30)
    (late,) = client.late().late
    adopted = refusal(client, "long")
    codes = [process.stop() for process in (far, near, hub)]
    return {
        "short": short,
        "lost_after_short": lost_after_short,
        "long": long,
        "late": [late.task_id, late.generation, late.ok, late.standing.value],
        "adopted": adopted,
        "overlap": (traces / "OVERLAP").exists(),
        "codes": codes,
    }


def main() -> None:
    """Lay the cable, play, tell."""
    with subprocess.Popen(["unshare", "-n", "sleep", "600"]) as there:  # noqa: S607 -- the system's own
        try:
            time.sleep(0.3)
            lay_cable(there.pid)
            with ExitStack() as stack:  # whatever happens, no process stays
                sys.stdout.write(json.dumps(play(Path(sys.argv[1]), there.pid, stack)) + "\n")
        finally:
            there.kill()


if __name__ == "__main__":
    main()
