"""What a simulated host or cloud is like: frozen data, decodable from a YAML or JSON mapping.

Sizes are GiB and speeds tokens per second because people write these by hand; the properties give bytes. A spec is
valid by construction: `spec_from` turns every mistake into one message with its place and the nearest valid name.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from ostler.domain.catalog import normal_model
from ostler.domain.errors import InvalidInputError, nearest
from ostler.simulate.faults import Fault

BYTES_PER_GIB = 2**30
NUM_CTX_MIN = 4
"""Ollama raises any smaller context to this."""

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Tokens = Annotated[int, Meta(ge=0)]
T = TypeVar("T")


class SimulatedModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model on a simulated host. A resident takes weights + slots x context x bytes per token of memory."""

    name: Annotated[str, Meta(min_length=1)]
    weights_gib: Positive
    context_length: Count = 32_768
    """The window it was trained for; a larger request is cut down to it."""
    num_ctx: Count | None = None
    """Context it is loaded with when the request names none (a Modelfile's PARAMETER); `None` = the host's default."""
    kv_bytes_per_token: Tokens = 65_536
    load_s: NotNegative = 5.0
    unload_s: NotNegative = 1.0
    prefill_tokens_per_s: Positive = 500.0
    decode_tokens_per_s: Positive = 30.0
    slots: Count = 1
    """Calls it works on at once, each at full speed."""
    output_tokens: Tokens = 120
    """Length of an answer that no limit cuts short."""
    thinking_tokens: Tokens = 0
    """Spent on thinking before the answer, out of the same limit; needs the capability `thinking`."""
    family: str = "llama"
    parameter_size: str = "7B"
    quantization: str = "Q4_K_M"
    capabilities: tuple[str, ...] = ("completion", "tools")
    embedding_length: Count = 64

    @property
    def key(self) -> str:
        """The name under which it is looked up: `x` and `x:latest` are one."""
        return normal_model(self.name)

    @property
    def listed_name(self) -> str:
        """The name with its tag, as Ollama lists it."""
        return self.name if ":" in self.name else f"{self.name}:latest"

    @property
    def weights_bytes(self) -> int:
        """Memory of the weights."""
        return int(self.weights_gib * BYTES_PER_GIB)

    def resident_bytes(self, num_ctx: int) -> int:
        """Memory of a resident that was loaded with `num_ctx`."""
        return self.weights_bytes + self.slots * num_ctx * self.kv_bytes_per_token

    def effective_num_ctx(self, requested: int | None, host_default: int) -> int:
        """The context a request gets: its own, else the model's, else the host's; never above the trained window."""
        wanted = requested or self.num_ctx or host_default
        return max(NUM_CTX_MIN, min(wanted, self.context_length))


class SimulatedHostSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine with a memory and some models. The defaults are Ollama's where Ollama has them."""

    name: str = "simulated-host"
    memory_gib: Positive = 32.0
    reserve_gib: NotNegative = 2.0
    models: tuple[SimulatedModelSpec, ...]
    max_loaded: Count = 3
    max_queue: Tokens = 512
    """Calls that may wait; one more is answered 503."""
    default_num_ctx: Count = 4096
    keep_alive_s: float = 300.0
    """How long an idle model stays; below 0 = for ever."""
    fit_percent: Annotated[int, Meta(ge=1, le=100)] = 80
    """Share of the free memory that a load may claim beside other residents; with none, it may claim all."""
    version: str = "0.24.0-simulated"
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.reserve_gib >= self.memory_gib:
            raise ValueError(f"`reserve_gib` ({self.reserve_gib:g}) leaves nothing of {self.memory_gib:g} GiB")
        _refuse_doubles(model.key for model in self.models)

    @property
    def capacity_bytes(self) -> int:
        """Memory for models: all but the reserve."""
        return int((self.memory_gib - self.reserve_gib) * BYTES_PER_GIB)


class SimulatedCloudModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of a simulated provider. Prices are informative: they appear in the report, nobody is billed."""

    name: Annotated[str, Meta(min_length=1)]
    api: Literal["openai", "anthropic"]
    context_length: Count = 128_000
    max_output_tokens: Count = 16_384
    output_tokens: Tokens = 150
    first_token_ms: Tokens = 400
    prefill_tokens_per_s: Positive = 20_000.0
    decode_tokens_per_s: Positive = 80.0
    input_usd_per_mtok: NotNegative = 0.0
    cached_input_usd_per_mtok: NotNegative = 0.0
    output_usd_per_mtok: NotNegative = 0.0


class SimulatedCloudSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider that speaks OpenAI's and Anthropic's protocols on one port."""

    name: str = "simulated-cloud"
    models: tuple[SimulatedCloudModelSpec, ...]
    keys: tuple[str, ...] = ("sk-simulated",)
    """Keys that are let in; empty = any key, but one must be sent."""
    requests_per_minute: Count = 500
    """Per model; a bucket that refills evenly."""
    tokens_per_minute: Count = 2_000_000
    concurrency: Count = 100
    """Calls under way at once, over all models."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        _refuse_doubles(f"{model.api} {model.name}" for model in self.models)


def spec_from(raw: object, kind: type[T], *, where: str) -> T:
    """Decode a mapping, as read from YAML or JSON, into a spec.

    Raises `InvalidInputError` that says what is wrong at which place (`where` names the file).
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `([^`]+)`", str(error))
        remedy = nearest(unknown[1], _field_names(kind)) if unknown else ""
        raise InvalidInputError(str(error), where=where, remedy=remedy) from error


def _field_names(kind: type) -> Iterator[str]:
    for owner in (kind, SimulatedModelSpec, SimulatedCloudModelSpec, Fault):
        yield from (field.name for field in msgspec.structs.fields(owner))


def _refuse_doubles(names: Iterator[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"model `{name}` is named twice")
        seen.add(name)
