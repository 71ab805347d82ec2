"""What a model is given to read: how long it is, what goes when it is too long, and what is kept of what went.

Pure: messages in, messages and a record of what was left out come back. There is one rule of what may be parted from
what (`ostler.context.exchanges`); requests of the gateway (`trim`) and plain messages of a program (`fit`) both go by
it. Counting is by measured characters per token (`measure`), or by any function that counts.
"""
