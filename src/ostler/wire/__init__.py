"""Wire formats, pure: what is said to a model and by it, translated between the formats that clients and servers speak.

`talk` is the form all formats share; each codec translates one format to and from it. Bytes and values in, bytes and
values out: nothing here opens a connection, waits, or reads a clock.
"""
