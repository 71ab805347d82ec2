"""Hostile inputs from good ones: bytes, words and JSON trees are changed at places that a seed chooses.

A mutant depends on its seed and on nothing else, so a failure is found again by target and number. Sizes are bounded:
`GROWTH` times the largest good input and `EXTRA_BYTES`.
"""

import json
from collections.abc import Callable, Sequence
from random import Random

GROWTH = 4
EXTRA_BYTES = 64 * 1024

ODD_NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**40, 1e308, -1e-9, 0.5, 1e22)
ODD_TEXTS = (
    "", " ", "\0", "\n", "\r\n\r\n", "\u202e", "\ud7ff", "💥" * 3, "é", "../../etc/passwd", "/etc/passwd", "-rf",
    "--upload-pack=x",
    "true", "null", "NaN", "Infinity", "1e999", "0x10", "1" * 400, "a" * 5_000, "%s%n", "{}", "[]", "$HOME", "~",
    "${x}",
    "file:///etc/passwd", "http://169.254.169.254/", "data:image/png;base64,", "data:,", "\x1b[2J\x1b]0;x\x07",
    "<script>",
    "tier:", "auto", "text", "tool_use", "image", "assistant", "system", "none", "required", "stop", "length",
)  # fmt: skip
JUNK = (
    b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\r", b"\n",
    b"\n\n", b"\r\n\r\n",
    b"data: ", b"event: ", b"data: [DONE]\n\n", b"id: \n", b":", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800",
    b"\\u0000", b"null",
    b"true", b"1e999", b"-", b"99999999999999999999", b"0", b"NaN", b"[[[[[[[[", b'{"a":' * 40, b"[" * 5_000,
)  # fmt: skip
YAML_JUNK = (
    b"&a ", b"*a", b"<<: *a", b"!!python/object/apply:os.system [x]", b"!!binary x", b"!x ", b"---\n", b"...\n",
    b"%YAML 9.9\n", b"|\n", b">\n",
    b"- ", b": ", b"? ", b"{", b"}", b"[", b"]", b"\t", b"#", b"'", b'"', b"@", b"`", b"%", b"~", b"null", b"yes",
    b"0o17", b"1_000", b"0x1F",
    b"1:30", b"2001-01-01", b".inf", b".nan", b"- &a [*a]", b"a: &a\n  b: *a\n", b"x" * 3_000, b"[" * 300,
    b"  " * 200, b"99999999999999999999",
    b"-1s", b"1e9d", b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\0", b"\xff", b"__proto__", b"name", b"5 GB",
    b"*", b"!!merge <<",
)  # fmt: skip
HTTP_JUNK = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b"content-length: 5\r\n", b"content-length: -1\r\n",
    b"content-length: 0x5\r\n",
    b"content-length: 99999999999999999999\r\n", b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"ffffffffffffffff\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"connection: close\r\n", b"expect: 100-continue\r\n",
    b" folded\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT x:1", b"GET", b"POST",
    b"\0", b"\x80", b"x" * 5_000, b"a: b\r\n" * 300, b"http://evil/", b"*", b"//", b"?", b"%00", b"%zz",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"host: y\r\n", b"trailer: x\r\n",
)  # fmt: skip

Mutator = Callable[[bytes, Random], bytes]


def of_bytes(junk: Sequence[bytes] = JUNK) -> Mutator:
    """Cuts, repeats, swaps and overwrites stretches; puts in what is special to a format."""

    def mutate(data: bytes, random: Random) -> bytes:
        most = len(data) * GROWTH + EXTRA_BYTES
        for _ in range(random.choice((1, 1, 2, 4, 8))):
            at, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
            end = min(end, at + random.choice((1, 4, 40, 4_000)))
            match random.randrange(8):
                case 0:
                    data = data[:at] + data[end:]
                case 1:
                    data = data[:at] + data[at:end] * random.choice((2, 3, 20)) + data[end:]
                case 2:
                    data = data[:at] + random.randbytes(min(end - at, 8)) + data[end:]
                case 3:
                    data = data[:at]
                case 4:
                    other = random.randrange(len(data) + 1)
                    data = data[:other] + data[at:end] + data[other:]
                case 5:
                    flipped = bytes([data[at] ^ (1 << random.randrange(8))]) if at < len(data) else b""
                    data = data[:at] + flipped + data[at + 1 :]
                case _:
                    data = data[:at] + random.choice(junk) + data[random.choice((at, end)) :]
            data = data[:most]
        return data

    return mutate


def _nest(random: Random) -> object:
    value: object = random.choice(ODD_TEXTS)
    for _ in range(random.choice((3, 30, 400))):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def _odd(random: Random) -> object:
    text, number = random.choice(ODD_TEXTS), random.choice(ODD_NUMBERS)
    return random.choice((None, True, number, text, [], {}, _nest(random), [text] * 50, {text: number}))


def _changed(value: object, random: Random, share: float) -> object:
    """A tree with some of its nodes replaced, dropped, doubled or renamed."""
    if random.random() < share:
        return _odd(random)
    if isinstance(value, dict):
        found: dict[str, object] = {}
        for name, item in value.items():
            if random.random() < share:
                continue
            key = random.choice(ODD_TEXTS) if random.random() < share / 2 else name
            found[key] = _changed(item, random, share)
        return found
    if isinstance(value, list):
        items = [_changed(item, random, share) for item in value if random.random() >= share]
        return items * 2 if random.random() < share else items
    return value


def of_trees(junk: Sequence[bytes] = JUNK) -> Mutator:
    """JSON that is whole and odd, and sometimes what is none; of several lines each by itself."""
    raw = of_bytes(junk)

    def mutate(data: bytes, random: Random) -> bytes:
        if random.random() < 0.3:
            return raw(data, random)
        lines = []
        for line in data.split(b"\n"):
            lead, brace, rest = line.partition(b"{")
            try:
                tree = json.loads(brace + rest) if brace else None
            except ValueError:
                tree = None
            if tree is None:
                lines.append(line)
            else:
                lines.append(lead + json.dumps(_changed(tree, random, random.choice((0.02, 0.1)))).encode())
        if len(lines) > 1 and random.random() < 0.3:
            at = random.randrange(len(lines))
            lines = random.choice((lines[:at] + lines[at + 1 :], lines[:at], lines + lines[at:], lines[::-1]))
        mutated = b"\n".join(lines)
        return raw(mutated, random) if random.random() < 0.2 else mutated

    return mutate
