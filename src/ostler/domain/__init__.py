"""The leaf of the house: frozen data, states, money and errors. It imports nothing else of Ostler.

Every type here is immutable (`msgspec.Struct`, frozen) and can be written as JSON without loss, because the same
value is stored, sent to a worker, shown to a person and replayed. Times are integers of epoch milliseconds (`_ms`),
money is integer micro-dollars (`_micro_usd`), memory is bytes.
"""
