"""Loops of autonomous agents: a state machine without a clock.

A step takes a loop, what happened and the time, and gives the loop after it with the events to tell. What has to be in
the queue follows from the loop alone (`machine.wanted`), with an id that is a function of loop, tick and step. So a
crash between any two writes is repaired by looking again: the same task is handed in under the same id, and the queue
takes it once.

Invariants: `running` <=> a run whose step is pending; a run has at most one step pending; the number of a run is never
given twice; every due instant is run, skipped (and counted), or still to come.
"""
