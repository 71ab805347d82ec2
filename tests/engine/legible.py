"""Make a tiny random model say words until it is stopped. Runs with the engine's interpreter.

usage: python legible.py MODEL.gguf [--ends]

Left to chance, a random model ends when it likes and says bytes that are no text, which the engine holds back, so that
a stream may have no piece for minutes. With a score of zero for every token but the words, one of those has the best.
With `--ends` the end of an answer is as likely as one of the words: drawn by chance, an answer has some dozens of them.
"""

import sys

import gguf

FIRST_WORD = 259
"""Below are the three special tokens and the 256 bytes."""
END = 2


def main() -> None:
    """Change the file in place."""
    reader = gguf.GGUFReader(sys.argv[1], "r+")
    (output,) = (tensor for tensor in reader.tensors if tensor.name == "output.weight")
    output.data[:FIRST_WORD] = 0
    if "--ends" in sys.argv:
        output.data[END] = output.data[FIRST_WORD]
    output.data.flush()


if __name__ == "__main__":
    main()
