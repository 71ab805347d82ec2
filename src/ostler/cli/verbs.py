"""The verbs of `ostler`, by name."""

from collections.abc import Mapping
from types import MappingProxyType

import click

from ostler.cli.lazy import LazyGroup, Verb
from ostler.version import __version__

VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "up": Verb("ostler.cli.daemons:up", "Start the hub, with a worker inside."),
        "demo": Verb("ostler.cli.daemons:demo", "Start a hub over simulated machines and watch it work."),
        "worker": Verb("ostler.cli.daemons:worker", "Run tasks of a hub on this machine."),
        "status": Verb("ostler.cli.status:status", "Show the hub at a glance, and why nothing runs."),
        "top": Verb("ostler.cli.top:top", "Watch the hub on one screen, with keys to act."),
        "submit": Verb("ostler.cli.submit:submit", "Hand in one task."),
        "run": Verb("ostler.cli.run:run", "Hand in a file of tasks and watch them to the end."),
        "plan": Verb("ostler.cli.plan:plan", "Predict how long a pipeline takes, and how good that is."),
        "tasks": Verb("ostler.cli.tasks:tasks", "List, show and steer tasks."),
        "answer": Verb("ostler.cli.answer:answer", "Answer a task that needs a person, or list what asks."),
        "why": Verb("ostler.cli.route:why", "Explain where a task or call ran, or why it does not."),
        "route": Verb("ostler.cli.route:route", "Ask where a task would run; starts nothing."),
        "events": Verb("ostler.cli.events:events", "Print what happens."),
        "endpoints": Verb("ostler.cli.endpoints:endpoints", "Show, register and check endpoints."),
        "hosts": Verb("ostler.cli.hosts:hosts", "Show what is in the memory of each host."),
        "models": Verb("ostler.cli.models:models", "Show, compare, load, unload and pin models."),
        "db": Verb("ostler.cli.db:db", "Check, back up, restore, move and upgrade a database."),
        "hubs": Verb("ostler.cli.hubs:hubs", "List the hubs that share the work."),
        "workers": Verb("ostler.cli.workers:workers", "Show the workers."),
        "add": Verb("ostler.cli.add:add", "Write a task down; it waits until a batch takes it."),
        "batch": Verb("ostler.cli.batch:batch", "Make, show and steer batches of tasks."),
        "dashboard": Verb("ostler.cli.batch:dashboard", "Watch a batch, or all open tasks, in the terminal."),
        "claim": Verb("ostler.cli.claim:claim", "Claim a task in the repository's TODO.md."),
        "unclaim": Verb("ostler.cli.claim:unclaim", "Give a claim back."),
        "pulse": Verb("ostler.cli.pulse:pulse", "Take one step of the engine, with or without a running hub."),
        "why-idle": Verb("ostler.cli.pulse:why_idle", "Say in one sentence why nothing runs."),
        "cron": Verb("ostler.cli.cron:cron", "Have the system take a pulse every few minutes."),
        "mem-check": Verb("ostler.cli.memory:mem_check", "Show what the hub takes of the memory."),
        "respawn-history": Verb("ostler.cli.memory:respawn_history", "List when a hub ended for its memory."),
        "late": Verb("ostler.cli.late:late", "Show results that came too late, and take one after all."),
        "agents": Verb("ostler.cli.agents:agents", "Look at the agent command lines of this machine."),
        "alerts": Verb("ostler.cli.alerts:alerts", "Show, acknowledge and test alerts."),
        "tokens": Verb("ostler.cli.tokens:tokens", "Make, list and revoke tokens for workers and tools."),
        "keys": Verb("ostler.cli.keys:keys", "Make, list and revoke keys for clients of the gateway."),
        "calls": Verb("ostler.cli.calls:calls", "List the calls that went through the gateway."),
        "budget": Verb("ostler.cli.budget:budget", "Show, check, record and configure what may be spent."),
        "prices": Verb("ostler.cli.prices:prices", "Show, check and refresh the prices of models."),
        "patterns": Verb("ostler.cli.patterns:patterns", "Show, write and forget what is learned of outcomes."),
        "loop": Verb("ostler.cli.loop:loop", "Make, steer and watch loops of autonomous agents."),
        "context": Verb("ostler.cli.context:context", "Show, export and clear working sets of agents."),
        "config": Verb("ostler.cli.config:config", "Check, show and import the profile."),
        "doctor": Verb("ostler.cli.doctor:doctor", "Look for what is wrong with this installation."),
        "simulate": Verb("ostler.cli.what_if:simulate", "Run a workload in virtual time, and compare policies."),
        "replay": Verb("ostler.cli.replay:replay", "Run the past of a hub again, under other policies."),
        "bench-router": Verb("ostler.cli.bench_router:bench_router", "Compare routers on recorded outcomes."),
        "simulate-host": Verb("ostler.cli.simulate:simulate_host", "Serve a simulated machine that holds models."),
        "simulate-cloud": Verb("ostler.cli.simulate:simulate_cloud", "Serve a simulated cloud provider."),
    }
)

HELP = """A model-aware scheduler and router for fleets of AI agents.

\b
Example:
  ostler up &
  ostler submit "name three horses"
  ostler status

Exit codes: 0 good, 1 the work failed, 2 bad input, 3 no hub answers, 4 refused by the hub, 130 interrupted.
"""


def program() -> click.Group:
    """The command line as a whole."""
    group = LazyGroup(
        "ostler",
        verbs=VERBS,
        help=HELP,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    return click.version_option(__version__, message="ostler %(version)s")(group)
