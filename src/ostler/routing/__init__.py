"""The routing decision: a task, a snapshot of the fleet and a policy in; a verdict with its whole reason out.

Everything here is a pure function: no clock, no randomness, no I/O, no state between calls. `decide.decide` holds the
order of the steps; each step has a module of its own:

    spec --facts--> TaskFacts                    once, at submit: names resolved, text classified, tokens estimated
    aim       steps 1-5   which tier the work asks for, from the task and the policy alone
    filters   step 6      which models of a tier can take it at all
    survey    step 7      which places can take it now; scoring says how good each one is
    fallback  step 8      what happens when no place of the tier can
    record                the decision as stored and shown; explain puts it into words

`classes.route_class` names what a verdict depends on besides the fleet, so that one decision can speak for many tasks.
"""
