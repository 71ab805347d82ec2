"""Endpoints and machines as they really are: wire drivers, probing, load reports, discovery. All of it is adapter.

    framing                           pure: bytes to lines and events
    classify, error_body, retry_after pure: failures to classes
    answer                            pure: what every streamed answer adds up to, whatever its wire format
    transport                         the only module that knows the HTTP client
    driver, exchange                  what the three drivers share: probing as a template, one loop for streamed answers
    ollama, openai, anthropic         one wire protocol each
    drivers                           the set of them behind one shared session
    prober, cache                     when to probe, and how long a result may be reused
    hostload, gpu, discover           this machine: load, graphics memory, which servers run on it

Drivers hold no policy: no retries of work, no breaker, no choice. Keys are looked up by the name of their environment
variable at the moment of use and occur in no message, log or stored value.
"""
