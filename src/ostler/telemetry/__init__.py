"""What is seen of a hub from outside: metrics, traces, logs, and the delivery of alerts.

Everything here is told of what is durable already (`hub.pump.observers`); nothing decides, and nothing that works waits
for it. Prompts and answers are in none of it: what is not handed over cannot leak.
"""
