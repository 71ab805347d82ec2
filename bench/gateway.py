"""What the gateway costs, beside the direct call, nginx and LiteLLM's proxy, in one run on one machine.

    python bench/gateway.py [--quick] [--only ostler,nginx] [--seconds 0.5] [--litellm PYTHON] [--alone] [--json]

The endpoint is **simulated**: a process that answers from memory, so that all that is measured is the hop. Ostler runs
as `ostler up` starts it, with its store, a key that every call must show, the queue, decisions, records and metrics.
Each target has one worker on a core of its own; endpoint and load generator share another one, where there are two.
Every answer is checked; one that is not true ends the run.

Read ratios and CPU time, not rates: a machine that others use gives less of everything, and makes each call cost more.
So the windows are short and many, and the figures are those of the best one; the usual one stands beside it. Where one
may, `--alone` has everything else wait. The reference is a direct call just before and just after each target; where
the two differ much, the rates between them say little. The rig itself stops at some rate (see "direct"), so what one
core could carry is reckoned from its CPU time where that is more.
nginx is measured where it is installed; LiteLLM where `--litellm` names the interpreter of an environment that has it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.hop.figures import Bar, Effort, Figures, bars, measure, table
from bench.hop.load import Order, Window
from bench.hop.machine import Cores, RunError, StartError, end_all_when_told, order
from bench.hop.targets import Opener, core_sizes_mb, direct, litellm, nginx, nginx_program, ostler, upstream

FULL = Effort(seconds=0.25, windows=16, stream_rounds=4, waiting=1_000, wait_ms=5_000, queue_wait_ms=200)
QUICK = Effort(seconds=0.2, windows=4, stream_rounds=1, waiting=1_000, wait_ms=1_500, queue_wait_ms=100)
REFERENCE_S = 0.4
DRIFT = 0.15


def main() -> int:
    """Measure what was asked for and print it."""
    end_all_when_told()
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--quick", action="store_true", help="shorter windows; a look, not a measurement")
    cli.add_argument("--only", default="", help="targets, with commas between: nginx, litellm, ostler")
    cli.add_argument("--seconds", type=float, help="length of a window (default 0.25, with --quick 0.2)")
    cli.add_argument("--litellm", metavar="PYTHON", help="interpreter of an environment with litellm[proxy]")
    cli.add_argument("--alone", action="store_true", help="before everything else on the machine (needs the right to)")
    cli.add_argument("--json", action="store_true", help="the figures as JSON")
    args = cli.parse_args()
    effort = QUICK if args.quick else FULL
    if args.seconds is not None:
        effort = msgspec.structs.replace(effort, seconds=args.seconds)
    chosen = openers(args.only.split(",") if args.only else [], args.litellm)
    try:
        found = run(chosen, effort, Cores(alone=args.alone))
    except RunError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 1
    if args.json:
        whole = {"simulated_endpoint": True, "targets": found, "bars": judged(found)}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    else:
        report(found)
    return 0 if "ostler" in found or ostler not in chosen else 1


def openers(only: Sequence[str], litellm_python: str | None) -> list[Opener]:
    """The targets that are there and asked for; always the direct call first."""
    every: dict[str, Opener] = {}
    if nginx_program() is not None:
        every["nginx"] = nginx
    if litellm_python is not None:
        every["litellm"] = litellm(litellm_python)
    every["ostler"] = ostler
    return [direct, *(opener for name, opener in every.items() if not only or name in only)]


def run(targets: Sequence[Opener], effort: Effort, cores: Cores) -> dict[str, Figures]:
    """One after the other, so that none disturbs another. One that does not start is said and left out."""
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="ostler-gateway-") as name:
        folder = Path(name)
        with upstream(cores, folder) as ports:

            def reference() -> Window:
                return order(cores, Order(kind="calls", port=ports.port, connections=16, seconds=REFERENCE_S)).best

            for opener in targets:
                try:
                    with opener(cores, ports, folder) as target:
                        found[target.name] = measure(cores, target, effort, reference)
                except StartError as error:
                    print(f"left out: {error}", file=sys.stderr)
    return found


def judged(found: dict[str, Figures]) -> list[tuple[Bar, str]]:
    """The bars and what became of them; none when Ostler was not measured."""
    own = found.get("ostler")
    return [(bar, bar.verdict()) for bar in bars(own, found)] if own is not None else []


def report(found: dict[str, Figures]) -> None:
    """For people."""
    print("one worker each, in front of a simulated endpoint; CPU = user and system time of the whole process tree")
    print("\n".join(table(found)))
    for name, figures in found.items():
        if abs(figures.drift - 1) > DRIFT:
            print(f"the machine changed by {figures.drift - 1:+.0%} while {name} was measured: compare CPU only")
    if "ostler" not in found:
        return
    print("\nbars of this gateway")
    for bar, verdict in judged(found):
        sign = ">=" if bar.at_least else "<="
        print(
            f"  {bar.name:<26}{bar.value:>10,.2f} {bar.unit:<3}"
            f" must {sign} {bar.must:<8,g} stretch {sign} {bar.stretch:<8,g} {verdict}"
        )
    sizes = sorted(core_sizes_mb().items(), key=lambda item: -item[1])
    print("  largest in the install: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in sizes[:5]))


if __name__ == "__main__":
    raise SystemExit(main())
