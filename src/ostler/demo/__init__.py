"""`ostler demo`: the whole of Ostler in about a minute, with real processes and real HTTP, watched from outside.

Two machines, a cloud, a hub and two remote workers are started as processes of their own; work is handed in over HTTP;
half-way one machine and its worker are killed and come back later. What happened is told at the end, with what was
simulated and what was real.
"""

from typing import Protocol

__all__ = ["Options", "run"]


class Options(Protocol):
    """What can be asked of the demo; the options of the command line are such."""

    @property
    def data_dir(self) -> str | None:
        """An empty or new folder that is kept; `None` = a temporary one."""
        ...

    @property
    def port(self) -> int:
        """Of the hub; 0 = any free one."""
        ...

    @property
    def engine(self) -> str | None:
        """`llama` = real llama.cpp servers instead of simulated machines."""
        ...

    @property
    def seed(self) -> int:
        """Mixes the order in which the work is handed in."""
        ...

    @property
    def speed(self) -> float:
        """Simulated seconds in one real second."""
        ...

    @property
    def as_json(self) -> bool:
        """Print nothing but the report, as JSON."""
        ...


def run(options: Options) -> int:
    """Run the demo and tell what happened; the exit code.

    0 only when every task that is not optional succeeded and nothing was left running. Raises `OstlerError` when it
    cannot be run at all.
    """
    from ostler.demo.stage import perform  # noqa: PLC0415 -- the command line reads this module for nothing but `run`

    return perform(options)
