"""An HTTP/1.1 server for one event loop: made for many small answers and long streams, on httptools.

A handler gets a `Request` and answers it; ASGI applications are served through `asgi.serve_asgi`. Nothing here knows
what is served.
"""
