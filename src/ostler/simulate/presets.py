"""Ready-made simulated machines and a provider, for demos and for people without a GPU.

The numbers are of the order one meets on a 32 GB machine: 4-bit weights with a 4-bit cache, loads from a warm disk.
"""

from ostler.simulate.spec import SimulatedCloudModelSpec, SimulatedCloudSpec, SimulatedHostSpec, SimulatedModelSpec


def _coder_32b(name: str, num_ctx: int) -> SimulatedModelSpec:
    """The same weights under another name and context: to Ollama two models, never resident side by side here."""
    return SimulatedModelSpec(
        name=name,
        weights_gib=20.0,
        context_length=131_072,
        num_ctx=num_ctx,
        kv_bytes_per_token=65_536,
        load_s=22.5,
        unload_s=17.5,
        prefill_tokens_per_s=350,
        decode_tokens_per_s=14,
        output_tokens=400,
        family="qwen2",
        parameter_size="32.8B",
    )


CODER_7B = SimulatedModelSpec(
    name="qwen2.5-coder:7b-instruct",
    weights_gib=4.4,
    context_length=32_768,
    num_ctx=32_768,
    kv_bytes_per_token=16_384,
    load_s=7.5,
    unload_s=7.5,
    prefill_tokens_per_s=1400,
    decode_tokens_per_s=55,
    slots=2,
    output_tokens=300,
    family="qwen2",
    parameter_size="7.6B",
)
LLAMA_3B = SimulatedModelSpec(
    name="llama3.2:3b",
    weights_gib=1.9,
    context_length=131_072,
    kv_bytes_per_token=32_768,
    load_s=3.0,
    unload_s=1.5,
    prefill_tokens_per_s=2800,
    decode_tokens_per_s=95,
    slots=4,
    output_tokens=160,
    parameter_size="3.2B",
)
EMBED = SimulatedModelSpec(
    name="nomic-embed-text",
    weights_gib=0.26,
    context_length=2048,
    kv_bytes_per_token=0,
    load_s=1.0,
    unload_s=0.5,
    prefill_tokens_per_s=8000,
    family="nomic-bert",
    parameter_size="137M",
    quantization="F16",
    capabilities=("embedding",),
    embedding_length=768,
)

WORKSTATION = SimulatedHostSpec(
    name="simulated-workstation",
    memory_gib=32,
    reserve_gib=2,
    models=(
        _coder_32b("qwen2.5-coder:32b-instruct-128k", 131_072),
        _coder_32b("qwen2.5-coder:32b-instruct", 32_768),
        CODER_7B,
        LLAMA_3B,
        EMBED,
    ),
)
"""32 GB: the 128k coder fills it alone; the 32k coder leaves room for one small model."""

LAPTOP = SimulatedHostSpec(
    name="simulated-laptop", memory_gib=16, reserve_gib=4, models=(CODER_7B, LLAMA_3B, EMBED), keep_alive_s=120
)
"""16 GB with another 4 GB taken by its user."""

CLOUD = SimulatedCloudSpec(
    models=(
        SimulatedCloudModelSpec(
            name="gpt-simulated-mini",
            api="openai",
            input_usd_per_mtok=0.25,
            cached_input_usd_per_mtok=0.025,
            output_usd_per_mtok=2.0,
        ),
        SimulatedCloudModelSpec(
            name="deepseek-simulated",
            api="openai",
            first_token_ms=900,
            decode_tokens_per_s=45,
            input_usd_per_mtok=0.28,
            cached_input_usd_per_mtok=0.028,
            output_usd_per_mtok=0.42,
        ),
        SimulatedCloudModelSpec(
            name="claude-simulated-haiku",
            api="anthropic",
            context_length=200_000,
            decode_tokens_per_s=120,
            input_usd_per_mtok=1.0,
            cached_input_usd_per_mtok=0.1,
            output_usd_per_mtok=5.0,
        ),
        SimulatedCloudModelSpec(
            name="claude-simulated-sonnet",
            api="anthropic",
            context_length=200_000,
            max_output_tokens=64_000,
            output_tokens=350,
            first_token_ms=800,
            input_usd_per_mtok=3.0,
            cached_input_usd_per_mtok=0.3,
            output_usd_per_mtok=15.0,
        ),
    ),
)

HOSTS = {"workstation": WORKSTATION, "laptop": LAPTOP}
"""Presets of simulated hosts by the name a command line offers."""
