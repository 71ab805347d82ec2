"""Live model calls of any OpenAI, Anthropic or Ollama client through the same decision as tasks.

A call: head and body read (`inbound`) -> key checked -> peeked at -> offered to the scheduler -> dispatched -> sent in
the format of the endpoint (`dialects`) -> its answer relayed (`relay`) -> recorded. A failed attempt is judged by one
table (`moves`). Three facts hold at every instant of it, and all tests go back to them: its slot is taken exactly while
an attempt runs; nothing is repeated once a byte of an answer has left; the client's going away ends everything.
"""
