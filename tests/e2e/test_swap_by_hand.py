"""Models loaded, swapped and unloaded by hand: the command line, and the request of old scripts; over real HTTP."""

import json
import urllib.request
from pathlib import Path

from tests.e2e.process import HubProcess, until
from tests.e2e.test_swaps import DECLARED, PROFILE, Machine
from tests.e2e.test_whole import ostler


def loaded(hub: HubProcess) -> list[str]:
    """What the only host holds, by the hub's word."""
    (host,) = hub.client.hosts(saved=False).hosts
    return [one.model for one in host.residents]


def swap(hub: HubProcess, form: str) -> tuple[int, dict[str, object]]:
    """The request as `curl -d` sends it, with a token."""
    token = hub.client.make_token(f"t{len(form)}", "admin").token
    request = urllib.request.Request(  # noqa: S310 - an address of our own
        f"{hub.url}/admin/swap-model", form.encode(), {"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return answer.status, json.load(answer)


def test_models_come_and_go_by_hand(tmp_path: Path) -> None:
    """Each command is done when it returns, the machine agrees, and a second load of the same is refused."""
    with Machine(tmp_path) as machine:
        profile = PROFILE.replace("URL", machine.url).replace("HOSTS", DECLARED)
        with HubProcess(tmp_path, profile=profile) as hub:
            until(lambda: hub.client.status().endpoints_up == 1, "the machine was seen")
            at = ("--hub", hub.url)
            first = ostler(tmp_path, "models", "load", "alpha:32b", *at)
            assert (first.returncode, loaded(hub)) == (0, ["alpha:32b"]), first.stderr
            again = ostler(tmp_path, "models", "load", "alpha:32b", "--on", "box", *at)
            assert (again.returncode, again.stdout) == (4, "")
            assert "alpha:32b is loaded on box already" in again.stderr
            status, change = swap(hub, "from=alpha:32b&to=beta:32b")
            assert (status, change["evict"], loaded(hub)) == (200, ["alpha:32b"], ["beta:32b"])
            pinned = ostler(tmp_path, "models", "pin", "beta:32b", *at)
            kept = ostler(tmp_path, "models", "unload", "beta:32b", *at)
            assert (pinned.returncode, kept.returncode, loaded(hub)) == (0, 4, ["beta:32b"])
            ostler(tmp_path, "models", "unpin", "beta:32b", *at)
            gone = ostler(tmp_path, "models", "unload", "beta:32b", *at)
            assert (gone.returncode, loaded(hub)) == (0, []), gone.stderr
            assert hub.stop() == 0
        counters = machine.counters()

    assert (counters["loads"], counters["unloads"]) == (2, 2)
