"""The exact solver in a process of its own: started with a time limit, killed when it is over, never needed.

    process (in whoever plans)  -- one line of JSON -->  python -m ostler.solver  -- one line of JSON -->  process

A solver is native code that may take all memory, hang or crash; none of that may reach a hub. The child ends by itself
when its standard input closes, so that it never outlives who started it.
"""
