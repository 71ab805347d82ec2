"""Agent command lines behind one contract (see `contract`), and the runner that sees a run of one to its end.

    job -> adapter.start -> argv, environment, files -> process -> bytes -> lines -> adapter's reader -> events
                                                                                      end of process -> verdict

An adapter is pure: it neither starts nor reads anything itself, so every claim about a program is held against
recordings of the program (tests/workers/agents/recordings). An adapter knows one program, nothing else here knows any.
"""
