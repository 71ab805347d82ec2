"""From work and machines to a plan: a schedule of loads and tasks, with a certificate of how good it is. Pure.

    Instance (what is to be done, where it can be)  ->  Plan (episodes of residency, placements of tasks)
                                                    ->  Certificate (lower bound with a witness, gap)

All instants and durations are whole milliseconds from the start of the plan; memory is whole bytes; money is whole
micro-dollars. Nothing here reads a clock or draws a random number: stopwatches and dice are handed in.
"""
