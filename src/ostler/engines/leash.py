"""Run a Python module that ends with the process that started it.

usage: python leash.py MODULE [ARGUMENT...]

The starter holds the other end of standard input and never writes: when it ends, however it ends (`kill -9` too), the
pipe closes and this process leaves at once. Standard library only: the engine's interpreter runs it.
"""

import os
import runpy
import sys
import threading


def leave_with_starter() -> None:
    """Wait for the end of standard input, then leave without waiting for any thread or connection."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=leave_with_starter, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
