"""The machines of the demo as an interface: simulated ones and real llama.cpp ones are started and read alike."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from ostler.domain.event import Event
from ostler.domain.tasks import Attempt


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How to start the process of a machine: a Python module and its arguments."""

    module: str
    arguments: tuple[str, ...]


class MachineState(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine says of itself since its process started. Times are simulated milliseconds."""

    residents: tuple[str, ...] = ()
    """Models in memory, those being loaded or unloaded with a remark."""
    loads: int = 0
    unloads: int = 0
    swaps: int = 0
    """Loads for which another model had to go."""
    lost_ms: int = 0
    """Time spent loading and unloading."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def plus(self, later: "MachineState") -> "MachineState":
        """Both lives of a machine that was switched off in between; the residents are those of now."""
        return MachineState(
            residents=later.residents,
            loads=self.loads + later.loads,
            unloads=self.unloads + later.unloads,
            swaps=self.swaps + later.swaps,
            lost_ms=self.lost_ms + later.lost_ms,
            calls=self.calls + later.calls,
            input_tokens=self.input_tokens + later.input_tokens,
            output_tokens=self.output_tokens + later.output_tokens,
        )


class Site(Protocol):
    """All machines of one kind, and the profile that goes with them."""

    names: tuple[str, ...]
    """Of the machines; the first one is switched off half-way."""
    engine: str
    """What they run, in words."""
    title: str
    """The machines in words."""
    preparation: str
    """What is done before anything answers, in words."""
    simulated: bool
    what_is_real: tuple[str, ...]
    what_is_simulated: tuple[str, ...]

    def prepare(self) -> None:
        """Write the files that the machines need. Raises `OstlerError` when they cannot run here."""
        ...

    def start(self, name: str, port: int) -> Start:
        """How to start a machine; port 0 = any free one."""
        ...

    def profile(self, urls: Mapping[str, str], log: Mapping[str, str]) -> str:
        """The profile for machines and cloud at these addresses. `log` has what each machine printed."""
        ...

    def load_ms(self, name: str) -> Mapping[str, int]:
        """What loading each model of a machine was measured to take, the one that it starts with first.

        Empty where the machine counts its loads itself.
        """
        ...

    def state(self, url: str) -> MachineState | None:
        """What the machine says of itself; `None` = it does not say, or does not answer."""
        ...


def with_swaps_of_hub(state: MachineState, name: str, events: Iterable[Event]) -> MachineState:
    """The machine's own count, and the loads for which the hub had another model go before: for the machine, these are
    an unload and a load that have nothing to do with each other.
    """
    swaps = sum(
        event.name == "model.loading" and event.metadata.get("host") == name and bool(event.metadata.get("evict"))
        for event in events
    )
    return msgspec.structs.replace(state, swaps=state.swaps + swaps)


def state_of_calls(attempts: Iterable[Attempt], load_ms: Mapping[str, int], starts_ms: Iterable[int]) -> MachineState:
    """What a machine that serves one call at a time and holds one model must have done for these calls.

    `load_ms` is what a load of a model was measured to take; its first model is loaded at each of `starts_ms`, before
    the machine answers. From then on each change of the model is an unload and a load.
    """
    calls = sorted((call for call in attempts if call.ok and call.started_ms is not None), key=_start_ms)
    first = next(iter(load_ms), "")
    starts = sorted(starts_ms)
    held, swaps = first, []
    for call in calls:
        while starts and starts[0] <= _start_ms(call):
            starts.pop(0)
            held = first
        if call.model is not None and call.model != held:
            swaps.append(call.model)
            held = call.model
    usages = [call.usage for call in calls if call.usage is not None]
    return MachineState(
        residents=(first if starts else held,),
        loads=len(swaps),
        unloads=len(swaps),
        swaps=len(swaps),
        lost_ms=sum(load_ms.get(model, 0) for model in swaps),
        calls=len(calls),
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
    )


def _start_ms(call: Attempt) -> int:
    return call.started_ms or 0
