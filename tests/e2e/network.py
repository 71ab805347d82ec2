"""Machines as network namespaces around a router, between any two of which packets can be lost; inside `unshare -Urn`.

    machine N (10.9.N.2) --- cable --- router (this namespace) --- cable --- machine M (10.9.M.2)

A cut is a rule of the router that drops what one machine sends to another, silently, as a broken switch does: nobody is
told, and what is open stays open. It may be of one direction only. The router itself reaches everybody, always: whoever
plays sees through every cut.
"""

import subprocess
import time
from pathlib import Path
from typing import Self

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def ip(*words: str, inside: int | None = None) -> None:
    """Change the network, here or in the namespace of a process."""
    prefix = ("nsenter", "-t", str(inside), "-n") if inside is not None else ()
    subprocess.run([*prefix, "ip", *words], check=True, timeout=10, capture_output=True)


def can_cut() -> bool:
    """Whether a user may make such a network here."""
    probe = f"ip link set lo up && echo 1 > {FORWARDING} && ip rule add from 10.9.1.2 to 10.9.2.2 blackhole"
    words = ["unshare", "-Urn", "sh", "-c", f"{probe} && unshare -U --map-user=1000 true && command -v nsenter"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class Machine:
    """One namespace, kept by a process that sleeps."""

    def __init__(self, number: int) -> None:
        self.address = f"10.9.{number}.2"
        self._sleeper = subprocess.Popen(["unshare", "-n", "sleep", "900"])  # noqa: S607 -- the system's own
        self._wait_for_namespace()
        pid, router, cable = self._sleeper.pid, f"10.9.{number}.1", f"cable{number}"
        ip("link", "add", cable, "type", "veth", "peer", "name", "out", "netns", str(pid))
        ip("addr", "add", f"{router}/24", "dev", cable)
        ip("link", "set", cable, "up")
        ip("link", "set", "lo", "up", inside=pid)
        ip("addr", "add", f"{self.address}/24", "dev", "out", inside=pid)
        ip("link", "set", "out", "up", inside=pid)
        ip("route", "add", "default", "via", router, inside=pid)
        self.prefix = ("nsenter", "-t", str(pid), "-n")
        """Put before the words of a command it runs there."""

    def _wait_for_namespace(self) -> None:
        ours = Path("/proc/self/ns/net").readlink()
        end = time.monotonic() + 10
        while Path(f"/proc/{self._sleeper.pid}/ns/net").readlink() == ours:
            assert time.monotonic() < end, "no namespace came"
            time.sleep(0.01)

    def end(self) -> None:
        """The namespace goes with its last process."""
        self._sleeper.kill()
        self._sleeper.wait(10)


class Network:
    """The router and its machines, by name."""

    def __init__(self) -> None:
        ip("link", "set", "lo", "up")
        FORWARDING.write_text("1", encoding="ascii")
        self.machines: dict[str, Machine] = {}
        self._cuts: set[tuple[str, str]] = set()

    def machine(self, name: str) -> Machine:
        """The machine of a name; made when first asked for."""
        if name not in self.machines:
            self.machines[name] = Machine(len(self.machines) + 1)
        return self.machines[name]

    def cut(self, name: str, *others: str) -> None:
        """Lose all packets between a machine and others."""
        for other in others:
            self.cut_way(name, other)
            self.cut_way(other, name)

    def cut_way(self, sender: str, receiver: str) -> None:
        """Lose the packets of one direction."""
        if (sender, receiver) not in self._cuts:
            self._cuts.add((sender, receiver))
            ip("rule", "add", *self._words(sender, receiver))

    def heal(self) -> None:
        """Lose none."""
        for sender, receiver in self._cuts:
            ip("rule", "del", *self._words(sender, receiver))
        self._cuts.clear()

    def _words(self, sender: str, receiver: str) -> tuple[str, ...]:
        return "from", self.machines[sender].address, "to", self.machines[receiver].address, "blackhole"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.end()
