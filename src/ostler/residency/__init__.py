"""Which models are in which host's memory, and what to load next. Pure; live scheduling and planning use the same code.

The rule sees a state of small integers (hosts x models) and answers with one move at a time; whoever calls it keeps the
state: the scheduler from reports and its own books, the planner from its simulation.
"""
