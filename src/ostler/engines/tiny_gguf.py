"""Write a tiny llama model with random weights in GGUF form, so that a real engine runs without weights to fetch.

usage: python tiny_gguf.py OUT.gguf [--layers N] [--width N] [--context-tokens N] [--seed N]

Runs with the engine's interpreter (needs numpy and gguf), not with ours. Two layers of width 64 give 0.5 MB and
thousands of tokens per second on one core; width 1024 and 8 layers give 0.3 GB, which makes loading measurable. The
text it produces is noise: it shows protocol, token counts, streaming, memory and loading as they are, never quality.
"""

import argparse
from pathlib import Path

import gguf
import numpy as np

HEADS = 4
VOCABULARY = 320
BYTES = 256
SPECIAL = ("<unk>", "<s>", "</s>")


def main() -> None:
    """Parse the arguments and write the file."""
    cli = argparse.ArgumentParser(description="Write a tiny random-weight llama model in GGUF form.")
    cli.add_argument("out", type=Path)
    cli.add_argument("--layers", type=int, default=2)
    cli.add_argument("--width", type=int, default=64, help="a multiple of 8")
    cli.add_argument("--context-tokens", type=int, default=2048)
    cli.add_argument("--seed", type=int, default=0)
    args = cli.parse_args()
    # Written aside and moved, so that a file under its own name is always whole.
    partial = args.out.with_name(args.out.name + ".partial")
    writer = gguf.GGUFWriter(str(partial), "llama")
    describe(writer, layers=args.layers, width=args.width, context_tokens=args.context_tokens)
    add_weights(writer, layers=args.layers, width=args.width, seed=args.seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(args.out)


def describe(writer: gguf.GGUFWriter, *, layers: int, width: int, context_tokens: int) -> None:
    """Add the shape of the network and a byte-level vocabulary, so that any text can be tokenised."""
    words = [f"\u2581w{index}" for index in range(VOCABULARY - BYTES - len(SPECIAL))]
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(BYTES)), *words]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * BYTES + [gguf.TokenType.NORMAL] * len(words)
    writer.add_name("tiny-random")
    writer.add_context_length(context_tokens)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.encode() for piece in pieces])
    writer.add_token_scores([0.0] * (VOCABULARY - len(words)) + [-1.0] * len(words))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(SPECIAL.index("<unk>"))
    writer.add_bos_token_id(SPECIAL.index("<s>"))
    writer.add_eos_token_id(SPECIAL.index("</s>"))


def add_weights(writer: gguf.GGUFWriter, *, layers: int, width: int, seed: int) -> None:
    """Add every tensor a llama network needs: noise for the matrices, ones for the norms."""
    draw = np.random.default_rng(seed)

    def noise(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(name, (draw.standard_normal((rows, columns)) * 0.05).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    noise("token_embd.weight", VOCABULARY, width)
    ones("output_norm.weight")
    noise("output.weight", VOCABULARY, width)
    for layer in range(layers):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm.weight")
        ones(f"{block}.ffn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            noise(f"{block}.{part}.weight", width, width)
        noise(f"{block}.ffn_gate.weight", 2 * width, width)
        noise(f"{block}.ffn_up.weight", 2 * width, width)
        noise(f"{block}.ffn_down.weight", width, 2 * width)


if __name__ == "__main__":
    main()
