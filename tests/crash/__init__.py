"""Real processes that are really killed: hubs, workers, a database; a client that asks again, a scripted provider.

    seed -> faults (who is killed, frozen, or finds the disk full, and when by the work done)  ->  evidence  ->  verdict

Everything runs as a user starts it. The evidence is taken from outside: a log that the commands of tasks append to
themselves, locks that the kernel frees when their holders die, the provider's own bill, and at the end the database.
What a seed fixes are the faults, their order, the work and the provider's script; processes and the kernel are as they
are, so a seed does not replay to the instant as the simulated world does.
"""
